// The player: rows -> a list, a timeline, details, and a clock that moves through them. No network, no markup from messages: all text is text.
"use strict";
const ROW = 20, PAUSE = 2, TEXTS = 20;
const byId = (id) => document.getElementById(id);
const header = JSON.parse(byId("header").textContent);
const rows = readRows();
const state = { shown: rows, chosen: 0, clock: 0, playing: false, last: 0 };

function readRows() {
  const found = [];
  for (const block of document.querySelectorAll("script.rows")) {
    for (const line of block.textContent.split("\n")) if (line.trim()) found.push(decoded(line));
    block.textContent = "";
  }
  return found;
}

// Numbers that JavaScript cannot hold stay as they were spelled, where the browser knows how (others show the nearest one).
function decoded(line) {
  if (!JSON.rawJSON || !/\d{16}/.test(line)) return JSON.parse(line);
  return JSON.parse(line, (key, value, { source } = {}) => (typeof value === "number" && source && String(value) !== source ? JSON.rawJSON(source) : value));
}

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// ------------------------------------------------ what a row says
const arrow = (frame) => (frame.dir === "c2s" ? "→" : "←");
const seconds = (t) => t.toFixed(3);
const took = (row) => (row.duration == null ? "" : row.duration < 1 ? `${Math.round(row.duration * 1000)}ms` : `${row.duration.toFixed(2)}s`);
const SIMPLE = ["request", "notification", "response"], SUBJECTS = ["tools/call", "prompts/get", "resources/read", "resources/subscribe", "resources/unsubscribe"];
const subject = (row) => SUBJECTS.includes(row.method) && (row.tool || row.prompt || row.resource);
const what = (row) => [!SIMPLE.includes(row.frame.kind) && row.frame.kind, row.method, subject(row)].filter(Boolean).join(" ");
const outcome = (row) => (row.error ? "error" : row.frame.kind === "response" ? "ok" : "");

const said = new WeakMap(); // what a row says does not change, and large messages are slow to spell

function payload(frame) {
  if (!said.has(frame)) said.set(frame, spelled(frame).slice(0, 400));
  return said.get(frame);
}

function spelled(frame) {
  const message = frame.message;
  if (!message) return frame.text || frame.error || frame.sse?.data || frame.sse?.comment || "";
  const part = message.params ?? message.result ?? message.error;
  return part === undefined ? "" : JSON.stringify(part);
}

function rowElement(row, index) {
  const frame = row.frame, made = element("div", `row ${frame.dir}`);
  made.setAttribute("role", "option");
  made.setAttribute("aria-selected", String(index === state.chosen));
  made.classList.toggle("later", frame.t > state.clock);
  made.classList.toggle("chosen", index === state.chosen);
  made.classList.toggle("kin", frame.exchange !== undefined && frame.exchange === state.shown[state.chosen]?.frame.exchange);
  made.classList.toggle("wrong", Boolean(row.error));
  made.style.top = `${index * ROW}px`;
  const cells = [["time", seconds(frame.t)], ["arrow", arrow(frame) + (frame.leg ? frame.leg[0] : "")], ["session", frame.session || ""], ["exchange", frame.exchange ?? ""], ["what", what(row)],
    ["took", took(row)], ["outcome", outcome(row)], ["payload", payload(frame)]];
  for (const [className, text] of cells) made.append(element("span", className, text));
  made.addEventListener("click", () => choose(index));
  return made;
}

// ------------------------------------------------ the list: only what is in view exists
function drawList() {
  const list = byId("list"), tall = byId("tall");
  tall.style.height = `${state.shown.length * ROW}px`;
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 5);
  const end = Math.min(state.shown.length, first + Math.ceil(list.clientHeight / ROW) + 10);
  const made = [];
  for (let index = first; index < end; index += 1) made.push(rowElement(state.shown[index], index));
  tall.replaceChildren(...made);
}

function reveal(index) {
  const list = byId("list"), height = list.clientHeight - ROW; // the head stands above the rows
  if (index * ROW < list.scrollTop) list.scrollTop = index * ROW;
  else if ((index + 1) * ROW > list.scrollTop + height) list.scrollTop = (index + 1) * ROW - height;
}

// ------------------------------------------------ details
let detailed;

function drawDetails() {
  const row = state.shown[state.chosen], place = byId("details");
  if (row === detailed) return;
  detailed = row;
  place.scrollTop = 0;
  if (!row) return place.replaceChildren();
  const { message, http, sse, ...rest } = row.frame, facts = element("dl");
  const told = { ...rest, tool: row.tool, prompt: row.prompt, resource: row.resource, took: took(row), outcome: row.error, wall: new Date((header.origin + row.frame.t) * 1000).toISOString() };
  for (const [name, value] of Object.entries(told)) if (value != null && value !== "") facts.append(element("dt", "", name), element("dd", "", typeof value === "string" ? value : JSON.stringify(value)));
  for (const [name, value] of (http && http.headers) || []) facts.append(element("dt", "", name), element("dd", "", value));
  if (http && (http.method || http.status)) facts.append(element("dt", "", "http"), element("dd", "", String(http.method || http.status)));
  if (sse) facts.append(element("dt", "", "sse"), element("dd", "", JSON.stringify(sse)));
  place.replaceChildren(element("h2", "", `${arrow(row.frame)} ${what(row) || row.frame.kind}`), facts);
  if (message === undefined) return;
  place.append(element("pre", "", JSON.stringify(message, null, 2)));
  for (const [pointer, text] of texts(message, "").slice(0, TEXTS)) place.append(element("h3", "", pointer), element("pre", "text", text));
}

// The strings of several lines, which nobody can read as JSON, with their pointers.
function texts(value, pointer) {
  if (typeof value === "string") return value.includes("\n") ? [[pointer, value]] : [];
  if (!value || typeof value !== "object") return [];
  return Object.entries(value).flatMap(([name, part]) => texts(part, `${pointer}/${name.replace(/~/g, "~0").replace(/\//g, "~1")}`));
}

// ------------------------------------------------ the timeline
const end = rows.length ? rows[rows.length - 1].frame.t : 0;

function drawTimeline() {
  const canvas = byId("timeline"), ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const pen = canvas.getContext("2d"), drawn = new Set();
  pen.scale(ratio, ratio);
  const inks = { c2s: ink("--out"), s2c: ink("--in"), bad: ink("--bad") };
  for (const bad of [false, true]) { // what went wrong is seen among all the rest
    for (const row of state.shown) {
      const x = Math.round(place(row.frame.t, width)), up = row.frame.dir === "c2s", key = `${x}${up}${bad}`;
      if (Boolean(row.error) !== bad || drawn.has(key)) continue;
      drawn.add(key);
      pen.fillStyle = bad ? inks.bad : inks[row.frame.dir];
      pen.fillRect(x, up ? 8 : height / 2 + 2, 1.5, height / 2 - 10);
    }
  }
}

function ink(name) {
  const probe = element("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

const place = (t, width) => 8 + (end ? t / end : 0) * (width - 16);

// ------------------------------------------------ moving
function draw() {
  drawList();
  drawDetails();
  byId("now").style.left = `${place(state.clock, byId("timeline").clientWidth)}px`;
  byId("play").textContent = state.playing ? "Pause" : "Play";
  byId("position").textContent = `${seconds(state.clock)} / ${seconds(end)} s`;
  byId("count").textContent = state.shown.length === rows.length ? `${rows.length} messages` : `${state.shown.length} of ${rows.length} messages`;
}

function choose(index) {
  state.chosen = Math.max(0, Math.min(index, state.shown.length - 1));
  if (state.shown.length) state.clock = state.shown[state.chosen].frame.t;
  reveal(state.chosen);
  draw();
}

function lastBefore(t) {
  let low = 0, high = state.shown.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (state.shown[middle].frame.t <= t) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

function seek(t) {
  state.clock = Math.max(0, Math.min(t, end));
  state.chosen = Math.max(0, lastBefore(state.clock));
  reveal(state.chosen);
  draw();
}

function step(now) {
  if (!state.playing) return;
  const passed = (now - state.last) / 1000, next = state.shown[lastBefore(state.clock) + 1];
  state.last = now;
  let clock = state.clock + passed * Number(byId("speed").value);
  if (byId("skip").checked && next && next.frame.t - state.clock > PAUSE) clock = Math.max(clock, next.frame.t - PAUSE);
  if (!next || clock >= end) state.playing = false;
  seek(next ? clock : end);
  requestAnimationFrame(step);
}

function play() {
  state.playing = !state.playing;
  if (state.playing && lastBefore(state.clock) >= state.shown.length - 1) state.clock = 0;
  state.last = performance.now();
  draw();
  requestAnimationFrame(step);
}

function filter() {
  try {
    state.shown = rows.filter(compileFilter(byId("filter").value));
    byId("wrong").textContent = "";
  } catch (error) {
    byId("wrong").textContent = error.message;
    return;
  }
  drawTimeline();
  seek(state.clock);
}

// ------------------------------------------------ the page
byId("title").textContent = document.title;
const about = rows.slice(0, 50).find((row) => row.frame.kind === "about"), server = header.server || (about && about.frame.message.server);
byId("server").textContent = [server && `${server.name || ""} ${server.version || ""}`.trim(), header.upstream].filter(Boolean).join(" · ");
byId("when").textContent = new Date(header.origin * 1000).toISOString().replace("T", " ").slice(0, 19) + " UTC";
byId("redaction").textContent = header.redaction && header.redaction !== "none" ? "secrets replaced" : "nothing replaced";
byId("play").addEventListener("click", play);
byId("filter").addEventListener("input", filter);
byId("list").addEventListener("scroll", drawList);
byId("timeline").addEventListener("click", (event) => seek(((event.offsetX - 8) / (byId("timeline").clientWidth - 16)) * end));
byId("filter").addEventListener("keydown", (event) => { if (event.key === "Escape") byId("list").focus(); });
for (const name of ["time", "", "session", "exch", "what", "took", "outcome", "message"]) byId("head").append(element("span", { exch: "exchange", message: "payload" }[name] || name, name));
const redraw = () => { drawTimeline(); draw(); };
window.addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
document.addEventListener("keydown", (event) => {
  if (event.target.closest("input[type=search], select")) return;
  const keys = { " ": play, ArrowDown: () => choose(state.chosen + 1), ArrowUp: () => choose(state.chosen - 1), "/": () => byId("filter").focus(),
    Home: () => choose(0), End: () => choose(state.shown.length - 1) };
  if (!(event.key in keys) || event.ctrlKey || event.metaKey || (event.key === " " && event.target.closest("button, input"))) return;
  event.preventDefault();
  keys[event.key]();
});
state.clock = end; // nothing is still to come until it is played, or gone to
redraw();
