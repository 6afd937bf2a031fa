// What a pipeline's state means: decisions over values, without the page and without a clock.

/** Older uncommitted records than this make a pipeline lag. */
const LAGGING_MS = 60_000;
/** An error that is over is shown for as long as the history reaches. */
const ERROR_SHOWN_MS = 15 * 60_000;
/** Kinds whose commits stay behind by as much as their windows are open. */
const HOLDS_COMMITS = ["aggregation", "stream_join"];

/** From the worst on. `level` is what is coloured, `word` what is said. */
const STANDINGS = [
  { word: "halted", level: "bad" },
  { word: "outage", level: "bad" },
  { word: "stuck", level: "warn" },
  { word: "lagging", level: "warn" },
  { word: "starting", level: "warn" },
  { word: "paused", level: "idle" },
  { word: "draining", level: "idle" },
  { word: "stopped", level: "idle" },
  { word: "running", level: "good" },
];

/** How a pipeline is: the worst that can be said of it. */
export function standing(pipeline, nowMs) {
  const word = worstWord(pipeline, nowMs);
  const rank = STANDINGS.findIndex(standing => standing.word === word);
  return rank < 0 ? { word, level: "warn", rank: 2 } : { ...STANDINGS[rank], rank };
}

function worstWord(pipeline, nowMs) {
  const { state } = pipeline;
  if (state === "halted" || state === "stopped") return state;
  if (silentTargets(pipeline).length > 0) return "outage";
  if (pipeline.stuck.length > 0) return "stuck";
  if (state === "running" && isLagging(pipeline, nowMs)) return "lagging";
  return state;
}

/** The servers that do not answer. */
export function silentTargets(pipeline) {
  return pipeline.targets.filter(target => !target.up);
}

function isLagging(pipeline, nowMs) {
  if (HOLDS_COMMITS.includes(pipeline.kind)) {
    const minute = pipeline.history.filter(sample => nowMs - Date.parse(sample.at) < LAGGING_MS);
    const unread = minute.map(sample => sample.lag);
    return unread.length > 4 && Math.min(...unread) > 0 && unread.at(-1) >= unread[0];
  }
  return lag(pipeline).records > 0 && (oldestMs(pipeline, nowMs) ?? 0) > LAGGING_MS;
}

/** Worst first, then by lag, then by name. */
export function worstFirst(pipelines, nowMs) {
  const judged = pipelines.map(pipeline => ({
    pipeline, standing: standing(pipeline, nowMs), lag: lag(pipeline).records,
  }));
  return judged.sort((a, b) => a.standing.rank - b.standing.rank || b.lag - a.lag
    || a.pipeline.name.localeCompare(b.pipeline.name));
}

/**
 * Records that are not written for good. Where open windows hold commits back it is the records that are not
 * read; `beside` is the other number.
 */
export function lag(pipeline) {
  const { unread, uncommitted } = pipeline.partitions.reduce(addLag, { unread: 0, uncommitted: 0 });
  return HOLDS_COMMITS.includes(pipeline.kind)
    ? { records: unread, beside: `${grouped(uncommitted)} not committed` }
    : { records: uncommitted, beside: `${grouped(unread)} not read` };
}

/** The same of a sample of the history. */
export function sampleLag(pipeline, sample) {
  return HOLDS_COMMITS.includes(pipeline.kind) ? sample.lag : sample.uncommitted;
}

function addLag(sum, partition) {
  const unread = partition.lag ?? 0;
  return { unread: sum.unread + unread, uncommitted: sum.uncommitted + partitionLag(partition) };
}

/** Records of a partition that are not committed. */
export function partitionLag({ lag, end, committed }) {
  return end == null || committed == null ? lag ?? 0 : Math.max(end - committed, 0);
}

/** The age of the oldest record that is not committed; `null`: there is none. */
export function oldestMs(pipeline, nowMs) {
  const at = pipeline.oldest_uncommitted;
  return at == null ? null : Math.max(nowMs - Date.parse(at), 0);
}

/** The newest error: `active` while things do not work, `over` afterwards, later nothing. */
export function lastError(pipeline, nowMs) {
  if (!pipeline.last_error) return null;
  const works = ["running", "paused"].includes(pipeline.state)
    && silentTargets(pipeline).length === 0 && pipeline.stuck.length === 0;
  const ageMs = nowMs - Date.parse(pipeline.last_error_at);
  if (works && ageMs > ERROR_SHOWN_MS) return null;
  return { text: pipeline.last_error, ageMs, phase: works ? "over" : "active" };
}

/** The moves that make sense from a state. */
export function moves(pipeline) {
  const of = {
    starting: ["drain"],
    running: ["pause", "drain", "restart", "stop"],
    paused: ["resume", "drain", "restart", "stop"],
    draining: [],
    stopped: ["start"],
    halted: ["start"],
  };
  const known = of[pipeline.state] ?? [];
  return pipeline.source === "api" ? [...known, "delete"] : known;
}

/** Thousands set apart. */
export function grouped(number) {
  return Math.round(number).toString().replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

/** Rows a second: small rates keep a digit. */
export function rate(rowsPerSecond) {
  return rowsPerSecond > 0 && rowsPerSecond < 10 ? rowsPerSecond.toFixed(1) : grouped(rowsPerSecond);
}

/** A duration in its two largest units. */
export function duration(ms) {
  const s = Math.max(Math.floor(ms / 1000), 0);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor(s / 3600) % 24} h`;
}

/** A size in the largest unit that leaves a number above 1. */
export function size(bytes) {
  const unit = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), 4);
  return unit === 0 ? `${bytes} B` : `${(bytes / 1024 ** unit).toFixed(1)} ${["KiB", "MiB", "GiB", "TiB"][unit - 1]}`;
}
