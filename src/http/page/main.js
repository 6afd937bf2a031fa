// Asks the daemon for its state once a second, and for moves when a token is there.

import { show, showAllPartitions } from "./view.js";

const STREAMING = "api/v1/streaming";
const INTERVAL_MS = 1000;
const TIMEOUT_MS = 5000;
/** How long the answer to an action stays. */
const SAID_MS = 15_000;
/** The token lives as long as the tab. It is sent as a header only. */
const TOKEN = "streamweir-token";
/** Moves that end something are asked about once more. */
const CONFIRMED = ["drain", "stop", "restart", "delete"];

const byId = id => document.getElementById(id);

let last = null;
let answeredMs = Date.now();
const said = new Map();

function redraw() {
  if (last == null) return;
  for (const [name, { atMs }] of said) if (Date.now() - atMs > SAID_MS) said.delete(name);
  show(last.status, last.nowMs, { mayAct: sessionStorage.getItem(TOKEN) != null, said });
}

async function refresh() {
  try {
    const answer = await fetch(STREAMING, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
    // Ages are told by the daemon's clock.
    const dated = Date.parse(answer.headers.get("date"));
    last = { status: await answer.json(), nowMs: Number.isNaN(dated) ? Date.now() : dated };
    answeredMs = Date.now();
    setLost(null);
    redraw();
  } catch (error) {
    setLost(error);
  }
}

function setLost(error) {
  const lost = byId("lost");
  lost.hidden = error == null;
  document.body.classList.toggle("lost", error != null);
  if (error == null) return;
  const since = new Date(answeredMs).toLocaleTimeString();
  lost.textContent = `The daemon does not answer. What is shown is of ${since}. (${error.message})`;
  document.title = "no answer · streamweir";
}

/** Sends a request with the token; the status, and the message of an error. */
async function ask(method, path, token, body) {
  try {
    const answer = await fetch(`${STREAMING}/${path}`, {
      method, body, signal: AbortSignal.timeout(TIMEOUT_MS), headers: { Authorization: `Bearer ${token}` },
    });
    const json = await answer.json().catch(() => ({}));
    return { status: answer.status, json, message: json.error?.message ?? answer.statusText };
  } catch (error) {
    return { status: 0, json: {}, message: `no answer: ${error.message}` };
  }
}

/** Whether the daemon has refused the token itself. */
const refusesToken = status => [0, 401, 403, 429].includes(status);

function setToken(token, text, level = "") {
  if (token == null) sessionStorage.removeItem(TOKEN);
  else sessionStorage.setItem(TOKEN, token);
  byId("token").value = "";
  for (const id of ["token", "forget"]) byId(id).hidden = (id === "token") === (token != null);
  byId("token").required = token == null;
  document.querySelector("#access label").hidden = token != null;
  document.querySelector("#access [type=submit]").hidden = token != null;
  byId("access-said").textContent = text;
  byId("access-said").className = level;
  redraw();
}

async function enterToken(event) {
  event.preventDefault();
  const token = byId("token").value.trim();
  if (!/^[\x21-\x7e]+$/.test(token)) return setToken(null, "A token is of visible ASCII characters.", "bad");
  // An empty pipeline is not valid; only whether the token is right is asked for.
  const { status, message } = await ask("POST", "validate", token, "{}");
  if (!refusesToken(status)) {
    setToken(token, "Actions are shown.");
    byId("forget").focus();
    return;
  }
  setToken(null, status === 401 ? `Wrong token: ${message}` : message, "bad");
  byId("token").focus();
}

async function act(name, move) {
  if (CONFIRMED.includes(move) && !window.confirm(`${move} ${name}?`)) return;
  const token = sessionStorage.getItem(TOKEN);
  say(name, `${move} …`);
  const path = encodeURIComponent(name);
  const { status, json, message } = move === "delete"
    ? await ask("DELETE", path, token)
    : await ask("POST", `${path}/${move}`, token);
  if (status === 401 || status === 403) setToken(null, message, "bad");
  if (status >= 200 && status < 300) say(name, `${move}: ${json.state}`);
  else say(name, `${move}: ${message}`, "bad");
  await refresh();
}

function say(name, text, level) {
  said.set(name, { text, level, atMs: Date.now() });
  redraw();
}

byId("access").addEventListener("submit", enterToken);
byId("forget").addEventListener("click", () => {
  setToken(null, "The token is forgotten.");
  byId("token").focus();
});
byId("pipelines").addEventListener("click", event => {
  const button = event.target.closest("button");
  if (button?.dataset.move) act(button.dataset.pipeline, button.dataset.move);
  if (button?.dataset.all) {
    showAllPartitions(button.dataset.all);
    redraw();
  }
});
document.addEventListener("visibilitychange", () => document.hidden || refresh());

setToken(sessionStorage.getItem(TOKEN), "");
await refresh();
for (;;) {
  await new Promise(done => setTimeout(done, INTERVAL_MS));
  if (!document.hidden) await refresh();
}
