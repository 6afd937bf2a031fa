// What is shown of the process and of each pipeline.

import { h, update } from "./dom.js";
import {
  duration, grouped, lag, lastError, moves, oldestMs, partitionLag, rate, sampleLag, silentTargets, size, worstFirst,
} from "./judge.js";

/** More partitions than this are folded. */
const PARTITIONS_OPEN_MAX = 8;
/** Of unfolded partitions those that are furthest behind are shown first. */
const PARTITIONS_SHOWN = 50;
const STUCK_SHOWN = 10;
/** A few are shown unfolded, whatever their state. */
const PIPELINES_OPEN_MAX = 3;

const CHART = { width: 300, height: 40 };

/** Names of pipelines whose worst is known, by standing: one that gets worse is unfolded. */
const ranks = new Map();
/** Pipelines all of whose partitions are shown. */
const unlimited = new Set();

/** Shows a state; `said` has what came of the last action, by pipeline. */
export function show(status, nowMs, { mayAct, said }) {
  const judged = worstFirst(status.pipelines, nowMs);
  text("process", processLine(status));
  update(document.getElementById("summary"), summary(judged));
  document.title = title(judged);
  const openAll = judged.length <= PIPELINES_OPEN_MAX;
  const cards = judged.map(each => card(each, nowMs, { mayAct, said: said.get(each.pipeline.name), openAll }));
  const main = document.getElementById("pipelines");
  update(main, cards.length > 0 ? cards : [h("p", { class: "quiet" }, "No pipelines.")]);
  unfoldWorsened(main, judged);
}

/** Shows all partitions of a pipeline from now on. */
export function showAllPartitions(name) {
  unlimited.add(name);
}

function text(id, value) {
  const element = document.getElementById(id);
  if (element.textContent !== value) element.textContent = value;
}

function processLine(status) {
  const memory = status.memory_bytes.resident;
  const limit = status.memory_bytes_max;
  const parts = [status.version, `up ${duration(status.uptime_seconds * 1000)}`];
  if (memory != null) parts.push(`memory ${size(memory)}${limit == null ? "" : ` of ${size(limit)}`}`);
  return parts.join(" · ");
}

function counts(judged) {
  const words = new Map();
  for (const { standing } of judged) {
    const known = words.get(standing.word) ?? { ...standing, count: 0 };
    words.set(standing.word, { ...known, count: known.count + 1 });
  }
  return [...words.values()];
}

function summary(judged) {
  return counts(judged).map(({ word, level, count }) =>
    h("span", { class: `badge ${level}` }, `${count} ${word}`));
}

function title(judged) {
  const [worst] = counts(judged);
  return worst == null || worst.level === "good" ? "streamweir" : `${worst.count} ${worst.word} · streamweir`;
}

function unfoldWorsened(main, judged) {
  const names = new Set(judged.map(({ pipeline }) => pipeline.name));
  for (const gone of [...ranks.keys()].filter(name => !names.has(name))) ranks.delete(gone);
  for (const { pipeline, standing } of judged) {
    const before = ranks.get(pipeline.name);
    if (standing.level === "bad" && before != null && standing.rank < before) {
      const shown = [...main.children].find(child => child.dataset.key === pipeline.name);
      shown.open = true;
    }
    ranks.set(pipeline.name, standing.rank);
  }
}

function card({ pipeline, standing }, nowMs, { mayAct, said, openAll }) {
  const open = openAll || standing.level === "bad";
  return h("details", { class: `pipeline ${standing.level}`, "data-key": pipeline.name, open },
    h("summary", {},
      h("span", { class: "name" }, pipeline.name, " ", h("span", { class: "quiet" }, pipeline.kind)),
      h("span", { class: `badge ${standing.level}`, "data-state": pipeline.state }, standing.word),
      figures(pipeline, nowMs)),
    h("div", { class: "body" },
      halt(pipeline),
      outages(pipeline, nowMs),
      stuck(pipeline),
      watermarks(pipeline),
      error(pipeline, nowMs),
      mayAct && actions(pipeline, said),
      charts(pipeline),
      deadLetters(pipeline, nowMs),
      partitions(pipeline),
      batches(pipeline, nowMs),
      lanes(pipeline, nowMs)));
}

function figure(label, value, beside) {
  return h("span", { class: "figure" },
    h("span", { class: "quiet" }, label), " ",
    h("span", { class: "value" }, value), " ",
    h("span", { class: "quiet beside" }, beside ?? ""));
}

function figures(pipeline, nowMs) {
  const { records, beside } = lag(pipeline);
  const oldest = oldestMs(pipeline, nowMs);
  return h("span", { class: "figures" },
    figure("lag", grouped(records), beside),
    figure("rows/s", rate(pipeline.rows_per_second_minute), "over a minute"),
    figure("oldest", oldest == null ? (records > 0 ? "?" : "–") : duration(oldest), "uncommitted record"),
    figure("dead letters", grouped(pipeline.dead_letters), `${grouped(pipeline.rows_written)} rows written`));
}

function halt(pipeline) {
  if (pipeline.halt == null) {
    const level = pipeline.state === "halted" ? "bad" : "quiet";
    return pipeline.reason && h("p", { class: `said ${level}` }, pipeline.reason);
  }
  const { reason, advice } = pipeline.halt;
  return h("div", { class: "said bad", role: "alert" },
    h("strong", {}, `halted: ${reason}`),
    h("p", { class: "lines" }, advice));
}

function outages(pipeline, nowMs) {
  return silentTargets(pipeline).map(target => h("div", { class: "said bad", role: "alert" },
    h("strong", {}, `${target.target} does not answer`),
    target.last_answer && ` · last answer ${duration(nowMs - Date.parse(target.last_answer))} ago`,
    target.last_error && h("p", {}, target.last_error)));
}

function stuck(pipeline) {
  const lines = pipeline.stuck.slice(0, STUCK_SHOWN).map(stuck => {
    const place = stuck.partition == null ? stuck.topic : `${stuck.topic}:${stuck.partition}`;
    const range = stuck.range == null ? "" : ` ${stuck.range}`;
    const what = stuck.what.replaceAll("_", " ");
    return h("p", { class: "said warn" },
      h("strong", {}, `${place}${range} ${what} for ${duration(stuck.seconds * 1000)}`), `: ${stuck.why}`);
  });
  const more = pipeline.stuck.length - STUCK_SHOWN;
  return more > 0 ? [...lines, h("p", { class: "said warn" }, `and ${grouped(more)} more, see the JSON`)] : lines;
}

function watermarks(pipeline) {
  const ahead = pipeline.partitions.filter(partition => partition.watermark_ahead_seconds != null);
  return ahead.slice(0, STUCK_SHOWN).map(({ topic, partition, watermark_ahead_seconds }) =>
    h("p", { class: "said warn" }, `The watermark of ${topic}:${partition} is `
      + `${duration(watermark_ahead_seconds * 1000)} ahead of the wall clock: records of now are late.`));
}

function error(pipeline, nowMs) {
  const error = lastError(pipeline, nowMs);
  // What halted it, or the server that does not answer, says it already.
  const isSaid = pipeline.halt != null || silentTargets(pipeline).length > 0;
  if (error == null || (isSaid && error.phase === "active")) return null;
  const since = error.phase === "over" ? ", recovered since" : "";
  return h("p", { class: `said error ${error.phase}` }, `Last error ${duration(error.ageMs)} ago${since}: ${error.text}`);
}

function actions(pipeline, said) {
  const buttons = moves(pipeline).map(move => h("button", {
    type: "button", "data-move": move, "data-pipeline": pipeline.name, "data-key": move,
    "aria-label": `${move} ${pipeline.name}`,
  }, move));
  return h("div", { class: "actions" }, ...buttons,
    h("span", { role: "status", class: `answer ${said?.level ?? ""}`, "data-key": "answer" }, said?.text ?? ""));
}

function charts(pipeline) {
  const { history } = pipeline;
  if (history.length < 2) return null;
  return h("div", { class: "charts" },
    chart("rows/s", history.map(sample => sample.rows_per_second), rate),
    chart("lag", history.map(sample => sampleLag(pipeline, sample)), grouped));
}

function chart(what, values, shown) {
  const highest = Math.max(...values);
  const step = CHART.width / (values.length - 1);
  const y = value => CHART.height * (1 - value / Math.max(highest, 1)) + 1;
  const points = values.map((value, at) => `${(step * at).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  const caption = `${what}, 15 minutes, at most ${shown(highest)}`;
  return h("figure", { "data-key": what },
    h("figcaption", { class: "quiet" }, caption),
    h("svg", { viewBox: `0 0 ${CHART.width} ${CHART.height + 2}`, preserveAspectRatio: "none", role: "img",
      "aria-label": caption },
      h("line", { x1: 0, x2: CHART.width, y1: CHART.height + 1, y2: CHART.height + 1 }),
      h("polyline", { points })));
}

function folded(key, label, ...children) {
  return h("details", { class: "fold", "data-key": key }, h("summary", {}, label), ...children);
}

/** `kind` is `numbers`, whose first column names what they are of, or `texts`. */
function table(kind, heads, rows) {
  return h("div", { class: "scroll" }, h("table", { class: kind },
    h("thead", {}, h("tr", {}, ...heads.map(head => h("th", { scope: "col" }, head)))),
    h("tbody", {}, ...rows.map(cells => h("tr", {}, ...cells.map(cell => h("td", {}, cell)))))));
}

function deadLetters(pipeline, nowMs) {
  const reasons = Object.entries(pipeline.dead_letters_by_reason).sort(([, a], [, b]) => b - a);
  if (reasons.length === 0) return null;
  const counted = reasons.map(([reason, count]) => `${reason} ${grouped(count)}`).join(" · ");
  const rows = pipeline.last_dead_letters.map(letter => [
    letter.address, letter.reason, letter.detail, `${duration(nowMs - Date.parse(letter.at))} ago`,
  ]);
  const filled = table("texts", ["address", "reason", "detail", "when"], rows);
  return folded("letters", `Dead letters: ${counted}`, filled);
}

function partitions(pipeline) {
  const all = pipeline.partitions;
  if (all.length === 0) return h("p", { class: "quiet", "data-key": "partitions" }, "No partitions assigned.");
  const isMany = all.length > PARTITIONS_OPEN_MAX;
  const behind = [...all].sort((a, b) => partitionLag(b) - partitionLag(a));
  const shown = !isMany || unlimited.has(pipeline.name) ? all : behind.slice(0, PARTITIONS_SHOWN);
  const known = offset => offset == null ? "–" : grouped(offset);
  const rows = shown.map(partition => [
    `${partition.topic}:${partition.partition}`, known(partition.position), known(partition.committed),
    known(partition.end), grouped(partitionLag(partition)),
  ]);
  const filled = table("numbers partitions", ["partition", "position", "committed", "end", "lag"], rows);
  if (!isMany) return h("div", { "data-key": "partitions" }, filled);
  const [worst] = behind;
  const lagging = partitionLag(worst);
  const label = `${grouped(all.length)} partitions`
    + (lagging > 0 ? ` · furthest behind ${worst.topic}:${worst.partition} by ${grouped(lagging)}` : "");
  const rest = all.length - shown.length;
  return folded("partitions", label, filled, rest > 0
    && h("button", { type: "button", "data-all": pipeline.name }, `Show all ${grouped(all.length)}`));
}

function batches(pipeline, nowMs) {
  if (pipeline.batches.length === 0) return null;
  const rows = pipeline.batches.map(batch => [
    batch.table, grouped(batch.rows), size(batch.bytes), batch.seconds.toFixed(3),
    `${duration(nowMs - Date.parse(batch.at))} ago`,
  ]);
  return folded("batches", "Last batches", table("numbers", ["to", "rows", "size", "seconds", "when"], rows));
}

function lanes(pipeline, nowMs) {
  const lanes = pipeline.lanes.map(({ lane, joined, turned_ms_ago }) =>
    `lane ${lane} ${joined ? "in its group" : "not in its group"}, turned ${duration(turned_ms_ago)} ago`);
  const targets = pipeline.targets.filter(target => target.up && target.last_answer).map(target =>
    `${target.target} answered ${duration(nowMs - Date.parse(target.last_answer))} ago`);
  const from = pipeline.source === "api" ? "created over HTTP" : "of the configuration file";
  return h("p", { class: "quiet lanes", "data-key": "lanes" },
    [`${pipeline.state}, ${from}`, ...targets, ...lanes].join(" · "), " · ",
    h("a", { href: `api/v1/streaming/${encodeURIComponent(pipeline.name)}` }, "JSON"));
}
