"use strict";
// Everything that comes in is put on the page as text, never as markup.

const $ = (id) => document.getElementById(id);
const ENTITIES = ["users", "organizations", "memberships", "invitations"];
const DRIFT = ["missing", "stale", "gone"];
const KEPT = 500;
const SHOWN = 200;
const SILENCE_MS = 3600e3;

function el(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "onclick") node.addEventListener("click", value);
    else if (value !== undefined) node.setAttribute(key === "class" ? "class" : key, value);
  }
  node.append(...children.map((child) => (child instanceof Node ? child : String(child ?? ""))));
  return node;
}

const state = {
  status: null, trouble: null, ahead: 0, passes: [], dead: [], events: new Map(), fresh: new Set(),
  open: new Set(), paused: false, token: sessionStorage.getItem("token"), rate: null,
};

// --- words for numbers and times ---------------------------------------------------------------------------

const now = () => Date.now() + state.ahead;
const number = new Intl.NumberFormat("en");
const dated = new Intl.DateTimeFormat("en", { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const clock = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

function span(ms) {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  for (const [unit, length, limit] of [["s", 1e3, 120], ["min", 60e3, 120], ["h", 3600e3, 48], ["d", 86400e3, Infinity]]) {
    const count = ms / length;
    if (count < limit) return `${count < 10 && unit === "s" ? count.toFixed(1) : Math.round(count)} ${unit}`;
  }
}
const ago = (iso) => {
  const ms = now() - Date.parse(iso);
  return ms < 2000 ? "now" : `${span(ms)} ago`;
};
const when = (iso) => {
  const at = new Date(iso);
  const today = new Date(now()).toDateString() === at.toDateString();
  return el("time", { datetime: iso, title: iso }, (today ? clock : dated).format(at));
};
const count = (value) => el("td", { class: value ? "n" : "n zero" }, number.format(value));
const id = (text) => el("span", { class: "id", title: text ?? "" }, text ?? "–");
const sum = (pass, what) => ENTITIES.reduce((total, entity) => total + pass.entities[entity][what], 0);

// --- the verdict and the tiles -----------------------------------------------------------------------------

function reasons() {
  const { status, trouble, passes } = state;
  const found = [];
  if (trouble) found.push(trouble);
  if (!status) return found;
  if (status.deadLetters > 0) found.push(`${number.format(status.deadLetters)} ${status.deadLetters === 1 ? "event" : "events"} could not be used: see the dead letters.`);
  if (!status.lastEventAt) found.push("No event has ever come in: add the endpoint in Clerk's dashboard, under Webhooks.");
  else if (now() - Date.parse(status.lastEventAt) > SILENCE_MS) found.push(`No event has come in for ${span(now() - Date.parse(status.lastEventAt))}: is the endpoint enabled in Clerk's dashboard?`);
  const untold = passes.find((pass) => pass.finishedAt && pass.finishedAt > (status.lastEventAt ?? "") && sum(pass, "missing") + sum(pass, "stale"));
  if (status.lastEventAt && untold && now() - Date.parse(status.lastEventAt) > SILENCE_MS / 2) found.push("Passes find changes that no webhook told of: the endpoint is probably disabled.");
  if (status.passes && !status.filling) {
    const ended = passes.find((pass) => pass.finishedAt);
    if (!status.lastPassAt) found.push("No pass has been completed yet.");
    else if (now() - Date.parse(status.lastPassAt) > SILENCE_MS) found.push(`No pass was completed for ${span(now() - Date.parse(status.lastPassAt))}: the log says why.`);
    const full = passes.find((pass) => pass.finishedAt && pass.kind === "full");
    if (full?.outcome === "braked") found.push("More is gone at Clerk than a pass may remove, so nothing of it was removed. If the table is right, allow deletes.");
    if (ended?.outcome === "failed") found.push("The last pass failed: the log says why, and so may `roster doctor`.");
  }
  return found;
}

function tile(name, value, sub, warn) {
  $(name).textContent = value;
  $(name).dataset.state = warn ? "warn" : "";
  if (sub !== undefined) { $(`${name}-sub`).textContent = sub; $(`${name}-sub`).title = sub; }
}

function drawStatus() {
  const { status, passes } = state;
  const found = reasons();
  $("reasons").hidden = !found.length;
  const shown = [...$("reasons").children].map((item) => item.textContent);
  if (String(shown) !== String(found)) $("reasons").replaceChildren(...found.map((text) => el("li", {}, text)));
  const [word, mood] = !status ? ["connecting", ""] : found.length ? ["Needs attention", "warn"] : status.filling ? ["Filling", "busy"] : ["In sync", "good"];
  if ($("verdict").textContent !== word) $("verdict").textContent = word;
  $("verdict").dataset.state = mood;
  document.title = found.length ? `(${found.length}) Roster` : "Roster";
  if (!status) return;

  $("as-of").textContent = status.asOf ? `true as of ${ago(status.asOf)}` : "nothing is known yet";
  $("as-of").title = status.asOf ?? "";
  $("version").textContent = `Roster ${status.version}`;
  const silent = !status.lastEventAt || now() - Date.parse(status.lastEventAt) > SILENCE_MS;
  tile("last-event", status.lastEventAt ? ago(status.lastEventAt) : "never", newest()?.type ?? "", silent);
  const lags = [...state.events.values()].filter((event) => event.outcome === "applied" && event.occurredAt)
    .sort((one, other) => other.receivedAt.localeCompare(one.receivedAt)).slice(0, 50)
    .map((event) => Date.parse(event.receivedAt) - Date.parse(event.occurredAt)).sort((one, other) => one - other);
  tile("lag", lags.length ? span(lags[lags.length >> 1]) : "–", lags.length ? `at most ${span(lags[lags.length - 1])}, last ${lags.length}` : "no applied event yet");
  const last = passes.find((pass) => pass.finishedAt);
  const late = status.passes && (!status.lastPassAt || now() - Date.parse(status.lastPassAt) > SILENCE_MS);
  tile("last-pass", status.lastPassAt ? ago(status.lastPassAt) : status.passes ? "never" : "off",
    status.passes || last ? (last ? `${last.kind}, ${last.outcome}` : "none has ended") : "no CLERK_SECRET_KEY", late);
  tile("dead-count", number.format(status.deadLetters), undefined, status.deadLetters > 0);
  $("dead-sub").textContent = status.deadLetters ? "could not be used" : "every event was used";

  $("unlock").hidden = !status.actions;
  $("unlock").textContent = state.token ? "Lock actions" : "Unlock actions";
  $("read-only").hidden = status.actions;
  const may = Boolean(status.actions && state.token);
  $("pass-tools").hidden = !may || !status.passes;
  $("dead-tools").hidden = !may || !state.dead.length;
}

const newest = () => [...state.events.values()].reduce((best, event) => (!best || event.receivedAt > best.receivedAt ? event : best), null);

// --- metrics: the same numbers as Prometheus sees -----------------------------------------------------------

async function readMetrics() {
  try {
    const text = await (await fetch("/metrics")).text();
    const samples = text.split("\n").map((line) => line.match(/^(roster_\w+)(?:\{(.*)\})? (\S+)$/)).filter(Boolean);
    const total = (name, test = "") => samples.filter((sample) => sample[1] === name && (sample[2] ?? "").match(test)).reduce((all, sample) => all + Number(sample[3]), 0);
    for (const entity of ENTITIES) $(`rows-${entity}`).textContent = number.format(total("roster_read_model_rows", `entity="${entity}"`));
    const hits = total("roster_cache_requests_total", 'outcome="hit"');
    const asked = total("roster_cache_requests_total");
    tile("cache", asked ? `${((100 * hits) / asked).toFixed(hits === asked ? 0 : 1)} %` : "–", asked ? `of ${number.format(asked)} since the start` : "not asked yet");
    const requests = total("roster_http_requests_total");
    const errors = total("roster_http_requests_total", 'status="5');
    const at = performance.now();
    const rate = state.rate && requests >= state.rate.requests ? (1000 * (requests - state.rate.requests)) / (at - state.rate.at) : null;
    state.rate = { requests, at };
    tile("requests", rate === null ? number.format(requests) : `${rate < 10 ? rate.toFixed(1) : Math.round(rate)} /s`, `${number.format(requests)} in all, ${number.format(errors)} failed`, errors > 0 && errors / requests > 0.01);
  } catch { /* The line says that nobody answers. */ }
}

// --- passes --------------------------------------------------------------------------------------------------

function svg(name, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function drawPlot() {
  const plot = $("plot");
  const width = plot.clientWidth, height = plot.clientHeight;
  if (!width) return;
  const [left, right, top, bottom] = [34, 6, 8, 20];
  const group = 15;
  const shown = state.passes.filter((pass) => pass.finishedAt).slice(0, Math.floor((width - left - right) / group)).reverse();
  plot.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const most = Math.max(10, ...shown.flatMap((pass) => DRIFT.map((what) => sum(pass, what))));
  const scale = (value) => (value ? ((Math.log10(value) + 0.3) / (Math.log10(most) + 0.3)) * (height - top - bottom) : 0);
  const floor = height - bottom;
  const parts = [];
  for (let tick = 1; tick <= most; tick *= 10) {
    const y = floor - scale(tick);
    parts.push(svg("line", { x1: left, x2: width - right, y1: y, y2: y }), svg("text", { x: left - 6, y: y + 4, "text-anchor": "end" }, tick >= 1000 ? `${tick / 1000}k` : tick));
  }
  parts.push(svg("line", { x1: left, x2: width - right, y1: floor, y2: floor }));
  shown.forEach((pass, place) => {
    const x = left + 4 + place * group;
    const counts = DRIFT.map((what) => `${what} ${sum(pass, what)}`).join(", ");
    const bars = DRIFT.map((what, index) => {
      const tall = scale(sum(pass, what));
      return svg("rect", { class: what, x: x + index * 4, y: floor - tall, width: 3.4, height: tall, rx: 1 });
    });
    if (!DRIFT.some((what) => sum(pass, what))) bars.push(svg("circle", { class: "none", cx: x + 6, cy: floor - 4, r: 2 }));
    parts.push(svg("g", {}, svg("title", {}, `${pass.kind}, ${pass.outcome}, ${dated.format(new Date(pass.startedAt))}: ${counts}`), svg("rect", { class: "hit", x: x - 2, y: top, width: group, height: floor - top }), ...bars));
  });
  const label = (pass, x, anchor) => parts.push(svg("text", { x, y: height - 5, "text-anchor": anchor }, dated.format(new Date(pass.startedAt))));
  if (shown.length) label(shown[0], left, "start");
  if (shown.length * group > 320) label(shown[shown.length - 1], left + shown.length * group, "end");
  plot.replaceChildren(...parts);
  const drifting = shown.filter((pass) => DRIFT.some((what) => sum(pass, what))).length;
  plot.setAttribute("aria-label", `Drift found by the last ${shown.length} passes: ${drifting} of them found some. The table has the numbers.`);
}

function drawPasses() {
  const { passes, status } = state;
  $("no-passes").hidden = passes.length > 0;
  $("no-passes").textContent = status?.passes ? "None yet." : "Passes are off: set CLERK_SECRET_KEY, and what webhooks miss is put right.";
  $("passes").hidden = !passes.length;
  $("figure").hidden = !passes.some((pass) => pass.finishedAt);
  const rows = passes.slice(0, 20).flatMap((pass) => {
    const open = state.open.has(pass.id);
    const toggle = () => { if (!state.open.delete(pass.id)) state.open.add(pass.id); drawPasses(); $("passes").querySelector(`[data-id="${CSS.escape(pass.id)}"]`)?.focus(); };
    const began = el("button", { class: "open", type: "button", "aria-expanded": open, "data-id": pass.id, title: "Drift of each entity", onclick: toggle }, open ? "▾ " : "▸ ", when(pass.startedAt));
    const row = el("tr", {}, el("td", {}, began), el("td", {}, pass.kind), el("td", {}, el("span", { class: `word ${pass.outcome}` }, pass.outcome)),
      el("td", { class: "n" }, pass.finishedAt ? span(Date.parse(pass.finishedAt) - Date.parse(pass.startedAt)) : "–"),
      ...["seen", ...DRIFT, "repaired", "refused"].map((what) => count(sum(pass, what))));
    if (!open) return [row];
    return [row, ...ENTITIES.map((entity) => el("tr", { class: "more" }, el("td", {}, entity), el("td"), el("td"), el("td"), ...["seen", ...DRIFT, "repaired", "refused"].map((what) => count(pass.entities[entity][what]))))];
  });
  $("passes").tBodies[0].replaceChildren(...rows);
  const running = passes.find((pass) => pass.outcome === "running");
  $("progress").hidden = !running;
  if (running) {
    $("progress-text").textContent = `A ${running.kind} pass is at ${running.stage}: ${number.format(running.seen)} of ${number.format(Math.max(running.total, running.seen))} objects`;
    $("bar").value = running.total ? Math.min(1, running.seen / running.total) : 0;
  }
  drawPlot();
}

// --- dead letters and events ---------------------------------------------------------------------------------

function drawDead() {
  const may = Boolean(state.status?.actions && state.token);
  $("no-dead").hidden = state.dead.length > 0;
  $("dead").hidden = !state.dead.length;
  $("dead").tBodies[0].replaceChildren(...state.dead.map((event) => el("tr", {},
    el("td", { class: "c-time" }, when(event.receivedAt)), el("td", { class: "c-type" }, event.type), el("td", { class: "c-subject" }, id(event.subject)),
    el("td", { class: "reason wide" }, event.error ?? ""), el("td", { class: "c-message wide" }, id(event.id)),
    el("td", { class: "n" }, may ? el("button", { type: "button", "data-retry": event.id, onclick: (click) => retry(event.id, click.currentTarget) }, "Retry") : ""))));
}

function filter() {
  return { outcome: $("outcome").value, type: $("type").value, subject: $("subject").value.trim() };
}

function drawEvents() {
  if (state.paused) return;
  const { outcome, type, subject } = filter();
  const all = [...state.events.values()].sort((one, other) => other.receivedAt.localeCompare(one.receivedAt) || other.id.localeCompare(one.id));
  for (const event of all.splice(KEPT)) state.events.delete(event.id);
  const fitting = all.filter((event) => (!outcome || event.outcome === outcome) && (!type || event.type === type) && (!subject || (event.subject ?? "").includes(subject) || event.id.includes(subject)));
  $("events").tBodies[0].replaceChildren(...fitting.slice(0, SHOWN).map((event) => el("tr", { class: state.fresh.has(event.id) ? "new" : undefined },
    el("td", { class: "c-time" }, when(event.receivedAt)), el("td", { class: "c-outcome" }, el("span", { class: `word ${event.outcome}` }, event.outcome)),
    el("td", { class: "c-type" }, event.type), el("td", { class: "c-subject subject" }, id(event.subject)),
    el("td", { class: "n c-lag" }, event.occurredAt ? span(Date.parse(event.receivedAt) - Date.parse(event.occurredAt)) : "–"), el("td", { class: "c-message" }, id(event.id)))));
  state.fresh.clear();
  $("no-events").hidden = fitting.length > 0;
  $("events").hidden = !fitting.length;
  $("events-note").textContent = `${fitting.length > SHOWN ? `the newest ${SHOWN}` : fitting.length} shown, as they come in`;
  const types = [...new Set(all.map((event) => event.type))].sort();
  const known = [...$("type").options].map((option) => option.value);
  for (const name of types) if (!known.includes(name)) $("type").append(el("option", { value: name }, name));
}

let asked = 0;
async function lookBack() {
  drawEvents();
  const { outcome, type, subject } = filter();
  if (!outcome && !type && !subject) return;
  const mine = ++asked;
  const query = new URLSearchParams({ outcome, type, subject });
  try {
    const { events } = await (await fetch(`/console/events?${query}`)).json();
    if (mine !== asked) return;
    for (const event of events) state.events.set(event.id, event);
    drawEvents();
  } catch { /* What is here is shown. */ }
}

// --- the stream ------------------------------------------------------------------------------------------------

function line(word, mood) {
  $("line").textContent = word;
  $("line").dataset.state = mood;
}

function listen() {
  const source = new EventSource("/console/stream");
  const on = (name, take) => source.addEventListener(name, (message) => take(JSON.parse(message.data)));
  let first = true;
  source.onopen = () => line(state.paused ? "paused" : "live", state.paused ? "paused" : "live");
  source.onerror = () => {
    line("offline", "off");
    first = true;
    if (source.readyState === EventSource.CLOSED) { source.close(); setTimeout(listen, 5000); }
  };
  on("clock", (at) => { state.ahead = at - Date.now(); });
  on("status", (status) => { state.status = status; state.trouble = null; drawStatus(); drawDead(); });
  on("trouble", (trouble) => { state.trouble = trouble; drawStatus(); });
  on("passes", (passes) => { state.passes = passes; drawPasses(); drawStatus(); });
  on("dead", (dead) => { state.dead = dead; drawDead(); drawStatus(); });
  on("events", (events) => {
    for (const event of events) { state.events.set(event.id, event); if (!first) state.fresh.add(event.id); }
    first = false;
    drawEvents(); drawStatus();
  });
}

// --- actions ---------------------------------------------------------------------------------------------------

let hush;
function say(text) {
  $("toast").textContent = text;
  $("toast").hidden = false;
  clearTimeout(hush);
  hush = setTimeout(() => { $("toast").hidden = true; }, 6000);
}

async function act(path, body, token = state.token) {
  const headers = { Authorization: `Bearer ${token}` };
  if (body) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, { method: "POST", headers, body: body && JSON.stringify(body) });
  const content = answer.status === 204 ? {} : await answer.json();
  if (answer.status === 401 && token === state.token) lock();
  if (!answer.ok) throw new Error(answer.status === 401 ? "That is not the token." : content.detail);
  return content;
}

function lock() {
  state.token = null;
  sessionStorage.removeItem("token");
  drawStatus(); drawDead();
}

async function retry(message, button) {
  button.disabled = true;
  try {
    const { outcome, error } = await act(`/console/events/${encodeURIComponent(message)}/retry`);
    say(error ? `Still ${outcome}: ${error}` : `${message}: ${outcome}`);
  } catch (error) { say(error.message); }
  button.disabled = false;
}

async function pass(kind, allowDeletes) {
  try {
    await act("/console/passes", { kind, allowDeletes });
    say(`A ${kind} pass was asked for.`);
  } catch (error) { say(error.message); }
}

$("retry-all").addEventListener("click", async () => {
  try {
    const { events } = await act("/console/dead-letters/retry");
    const taken = events.filter((event) => !event.error).length;
    say(`${taken} of ${events.length} could be used now.`);
  } catch (error) { say(error.message); }
});
$("pass-tools").addEventListener("click", (click) => {
  const kind = click.target.dataset.pass;
  if (kind === "deletes") $("deletes-dialog").showModal();
  else if (kind) pass(kind, false);
});
$("deletes-dialog").addEventListener("submit", () => pass("full", true));
$("unlock").addEventListener("click", () => {
  if (state.token) return lock();
  $("token").value = "";
  $("token-error").textContent = "";
  $("token-dialog").showModal();
});
$("token-dialog").addEventListener("submit", async (submit) => {
  submit.preventDefault();
  const token = $("token").value;
  try {
    await act("/console/token", undefined, token);
    state.token = token;
    sessionStorage.setItem("token", token);
    $("token").value = "";
    $("token-dialog").close();
    drawStatus(); drawDead();
  } catch (error) { $("token-error").textContent = error.message; }
});
for (const button of document.querySelectorAll("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close());

// --- the page itself -------------------------------------------------------------------------------------------

function theme(name) {
  if (name) { document.documentElement.dataset.theme = name; localStorage.setItem("theme", name); }
}
theme(localStorage.getItem("theme"));
$("theme").addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  theme(dark ? "light" : "dark");
});
$("keys").addEventListener("click", () => $("keys-dialog").showModal());
$("pause").addEventListener("click", () => {
  state.paused = !state.paused;
  $("pause").textContent = state.paused ? "Go on" : "Pause";
  $("pause").setAttribute("aria-pressed", state.paused);
  if ($("line").dataset.state !== "off") line(state.paused ? "paused" : "live", state.paused ? "paused" : "live");
  drawEvents();
});
for (const name of ["outcome", "type"]) $(name).addEventListener("change", lookBack);
let typing;
$("subject").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(lookBack, 200); });
$("filter").addEventListener("submit", (submit) => { submit.preventDefault(); lookBack(); });

document.addEventListener("keydown", (press) => {
  if (press.ctrlKey || press.metaKey || press.altKey || document.querySelector("dialog[open]")) return;
  if (press.target.closest("input, select")) { if (press.key === "Escape") press.target.blur(); return; }
  const jump = (name) => { $(name).focus(); $(name).scrollIntoView({ block: "center" }); };
  const keys = {
    p: () => jump("passes-title"), d: () => jump("dead-title"), e: () => jump("events-title"), "/": () => jump("subject"),
    t: () => $("theme").click(), u: () => $("unlock").hidden || $("unlock").click(), "?": () => $("keys").click(), " ": () => $("pause").click(),
  };
  if (press.key === " " && press.target.closest("button, [tabindex='0']")) return;
  if (keys[press.key]) { press.preventDefault(); keys[press.key](); }
});

listen();
readMetrics();
setInterval(readMetrics, 5000);
setInterval(drawStatus, 1000);
new ResizeObserver(drawPlot).observe($("plot"));
