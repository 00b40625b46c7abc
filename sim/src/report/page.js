"use strict";
// Draws `data`, which stands before this: calls as bars above the callers' lane and as arrows from host to
// host, segments as thin arrows, faults as shaded spans, the broken promise as a line. Times are in
// milliseconds; the first host is where all calls come from.

const PAD = 26, TOP = 28, BANNER = 24, ROW = 9, ROWS_MAX = 24, GAP = 124, FAULT = 24;
const $ = id => document.getElementById(id);
const ms = time => time.toFixed(0) + " ms";
const outcome = call => call.end === null ? "wait" : call.ok ? "ok" : "bad";
const isNamed = id => Boolean(data.violation?.detail.includes(id));
const byId = new Map(data.calls.map(call => [call.id, call]));
const logsById = Map.groupBy(data.logs.filter(log => log.id), log => log.id);

// ---- The words around the drawing

function head() {
  document.title = "rehearsal: " + data.title;
  $("title").textContent = data.title;
  $("outcome").textContent = data.outcome;
  $("outcome").classList.add(data.outcome);
  $("summary").textContent = data.summary;
  $("command").textContent = data.command;
  if (!data.violation) return;
  const name = document.createElement("b");
  name.textContent = data.violation.promise;
  $("violation").append("Broken at " + ms(data.violation.at) + ": ", name, ". " + data.violation.detail + " ");
  const why = document.createElement("ol");
  why.id = "why";
  for (const line of data.violation.why) why.appendChild(document.createElement("li")).textContent = line;
  const call = data.calls.find(call => isNamed(call.id));
  if (call) {
    const button = document.createElement("button");
    button.textContent = "follow " + call.id;
    button.addEventListener("click", () => choose(call.id));
    $("violation").append(button);
  }
  $("violation").append(why);
  $("violation").hidden = $("brokenkey").hidden = false;
}

function table() {
  for (const call of data.calls) {
    const row = $("calls").insertRow();
    row.dataset.id = call.id;
    row.classList.toggle("named", isNamed(call.id));
    row.insertCell().textContent = ms(call.start);
    row.insertCell().textContent = call.id;
    const pill = document.createElement("span");
    pill.className = "pill " + outcome(call);
    pill.textContent = call.status;
    row.insertCell().append(pill);
    row.insertCell().textContent = call.end === null ? "" : ms(call.end - call.start);
    const what = row.insertCell();
    what.className = "wide";
    what.textContent = call.what + (call.probe ? " (probe)" : "");
  }
}

function detail(wanted) {
  const call = byId.get(wanted);
  $("detailname").textContent = call ? call.id : "The plan";
  if (!call) { $("detail").textContent = data.plan; return; }
  const width = Math.max(...data.hosts.map(host => host.length)) + 2;
  const line = (time, host, text) => ms(time).padStart(9) + "  " + data.hosts[host].padEnd(width) + text;
  const lines = [line(call.start, 0, `calls ${call.what}, within ${ms(call.due - call.start)}`)];
  const said = late => (logsById.get(call.id) ?? []).filter(log => log.late === late).map(log => line(log.at, log.host, log.text));
  lines.push(...said(false));
  if (call.end !== null) lines.push(line(call.end, 0, `got ${call.status} ${call.value}`));
  lines.push(...said(true));
  $("detail").textContent = lines.join("\n");
}

// ---- From time to place

// The stretches of time, of which those where nothing happens for long are drawn short.
function stretches() {
  const times = [data.start, data.end, ...data.faults.flatMap(fault => [fault.from, fault.until])];
  for (const call of data.calls) times.push(call.start, call.end ?? call.start);
  for (const log of data.logs) times.push(log.at);
  for (const [, , sent, delivered] of data.messages) times.push(sent, delivered ?? sent);
  const inside = times.filter(time => time >= data.start && time <= data.end).sort((a, b) => a - b);
  const long = (data.end - data.start) * 0.3, found = [];
  let from = data.start;
  for (let n = 1; n < inside.length; n++) {
    if (inside[n] - inside[n - 1] < Math.max(long, 100)) continue;
    found.push({ from, until: inside[n - 1], drawn: inside[n - 1] - from, quiet: false });
    found.push({ from: inside[n - 1], until: inside[n], drawn: long / 6, quiet: true });
    from = inside[n];
  }
  found.push({ from, until: data.end, drawn: data.end - from, quiet: false });
  return found;
}

const parts = stretches();
const drawn = Math.max(1, parts.reduce((sum, part) => sum + part.drawn, 0));

// Where each moment is, in pixels, if a millisecond has `scale` of them.
function placesOf(scale) {
  let left = PAD;
  for (const part of parts) {
    part.left = left;
    left += part.drawn * scale;
  }
  return time => {
    const moment = Math.min(Math.max(time, data.start), data.end);
    const part = parts.findLast(part => part.from <= moment) ?? parts[0];
    const share = part.until > part.from ? (moment - part.from) / (part.until - part.from) : 0;
    return part.left + share * part.drawn * scale;
  };
}

// The row of each call's bar: the first that is free.
function rowsOf(x) {
  const free = [];
  return data.calls.map(call => {
    const from = x(call.start), found = free.findIndex(end => end < from);
    const row = found >= 0 ? found : free.length < ROWS_MAX ? free.length : free.indexOf(Math.min(...free));
    free[row] = Math.max(x(call.end ?? data.end), from + 1) + 9;
    return row;
  });
}

// ---- The drawing

function element(parent, tag, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

function draw() {
  const room = Math.max(600, $("drawing").clientWidth - 114);
  const scale = (room - 2 * PAD) / drawn * 2 ** Number($("zoom").value);
  const x = placesOf(scale), rows = rowsOf(x);
  const first = TOP + (data.violation ? BANNER : 0) + ROW * Math.max(3, rows.reduce((a, b) => Math.max(a, b + 1), 0)) + 14;
  const y = host => first + host * GAP;
  const width = Math.max(room, drawn * scale + 2 * PAD), height = y(Math.max(0, data.hosts.length - 1)) + 74;
  const middle = ($("scroll").scrollLeft + room / 2) / Math.max(1, $("scroll").scrollWidth);
  $("scroll").replaceChildren();
  const svg = element($("scroll"), "svg", { width, height, role: "img", "aria-label": data.summary });
  const view = { svg, x, y, rows, width, height };
  // Where calls lie closer than arrows are wide, arrows must let through what is behind.
  svg.classList.toggle("dense", data.calls.length * 8 > width);
  drawAxis(view, scale);
  drawLanes(view);
  drawFaults(view);
  if ($("segments").checked) data.messages.forEach(message => drawMessage(view, message));
  data.calls.forEach((call, n) => drawCall(view, call, n));
  data.logs.forEach(log => drawLog(view, log));
  drawViolation(view);
  drawFaultNames(view);
  $("scroll").scrollLeft = middle * width - room / 2;
  filter();
}

function drawAxis({ svg, x, height }, scale) {
  const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 60000];
  const step = steps.find(step => step * scale >= 74) ?? 600000;
  let free = 0;
  for (const part of parts) {
    if (part.quiet) {
      const from = x(part.from), size = x(part.until) - from;
      element(svg, "rect", { class: "pause", x: from, y: 0, width: size, height });
      const place = { x: from + size / 2, "text-anchor": "middle" };
      element(svg, "text", { ...place, y: height - 20 }, ((part.until - part.from) / 1000).toFixed(1) + " s");
      element(svg, "text", { ...place, y: height - 7 }, "quiet");
      continue;
    }
    for (let time = Math.ceil(part.from / step) * step; time <= part.until; time += step) {
      element(svg, "line", { class: "grid", x1: x(time), x2: x(time), y1: 22, y2: height });
      if (x(time) < free) continue;
      element(svg, "text", { x: x(time) + 4, y: 16 }, time >= 1000 ? time / 1000 + " s" : time + " ms");
      free = x(time) + 60;
    }
  }
}

function drawLanes({ svg, y, width, height }) {
  const defs = element(svg, "defs", {});
  for (const [name, colour] of [["ok", "--ok"], ["bad", "--bad"], ["wait", "--wait"], ["message", "--link"]]) {
    const marker = element(defs, "marker", { id: "arrow-" + name, viewBox: "0 0 8 8", refX: 8, refY: 4, markerWidth: 7, markerHeight: 7, markerUnits: "userSpaceOnUse", orient: "auto" });
    element(marker, "path", { d: "M0,0.5 L8,4 L0,7.5 z", style: `fill:var(${colour})` });
  }
  $("names").replaceChildren();
  $("names").style.height = height + "px";
  data.hosts.forEach((host, n) => {
    element(svg, "line", { class: "lane", x1: 0, x2: width, y1: y(n), y2: y(n) });
    const name = document.createElement("div");
    name.textContent = name.title = host;
    name.style.top = y(n) + "px";
    $("names").append(name);
  });
}

function spanOf({ y }, fault) {
  const lanes = fault.hosts.map(y);
  return fault.link ? [Math.min(...lanes) + 9, Math.max(...lanes) - 9] : [lanes[0] - FAULT, lanes[0] + FAULT];
}

function drawFaults(view) {
  for (const fault of data.faults) {
    const [top, bottom] = spanOf(view, fault), from = view.x(fault.from), size = view.x(fault.until) - from;
    const state = (fault.effective ? "" : " inert") + (size < 3 ? " instant" : "");
    const box = element(view.svg, "rect", { class: "fault" + state, x: from, y: top, width: Math.max(3, size), height: bottom - top, rx: 3 });
    box.tip = `${fault.what}, ${ms(fault.from)} to ${ms(fault.until)}` + (fault.effective ? "" : ", touched no call");
  }
}

// Names do not cover each other: each moves down until there is room.
function drawFaultNames(view) {
  const taken = [];
  for (const fault of data.faults) {
    const [top, bottom] = spanOf(view, fault), size = fault.what.length * 6.4 + 12;
    const left = Math.min(view.x(fault.from) + 5, view.width - size);
    let line = fault.link ? top + 14 : bottom + 13;
    const covers = other => Math.abs(other.line - line) < 13 && left < other.left + other.size && other.left < left + size;
    while (taken.some(covers)) line += 13;
    taken.push({ left, size, line });
    element(view.svg, "text", { class: "faultname" + (fault.effective ? "" : " inert"), x: left, y: line }, fault.what);
  }
}

function drawMessage({ svg, x, y }, [from, to, sent, delivered, what, held]) {
  const lost = delivered === null;
  const x1 = x(sent), y1 = y(from), x2 = lost ? x1 + 14 : x(delivered), y2 = lost ? (y(from) * 2 + y(to)) / 3 : y(to);
  const state = lost ? " lost" : held ? " held" : "";
  const line = element(svg, "line", { class: "message" + state, x1, y1, x2, y2 });
  if (lost) element(svg, "path", { class: "message cross", d: `M${x2 - 3},${y2 - 3}l6,6m0,-6l-6,6` });
  else if (!held) line.setAttribute("marker-end", "url(#arrow-message)");
  line.tip = `${what} ${data.hosts[from]} → ${data.hosts[to]}, sent ${ms(sent)}, ` + (lost ? "did not arrive" : "arrived " + ms(delivered)) + (held ? ", held on its way" : "");
}

function drawCall({ svg, x, y, rows }, call, n) {
  const state = outcome(call) + (isNamed(call.id) ? " named" : ""), end = call.end ?? data.end;
  const add = (tag, kind, place) => {
    const node = element(svg, tag, { class: `${kind} ${state}`, "data-id": call.id, ...place });
    node.tip = `${call.id} ${call.what}: ${call.status} after ${ms(end - call.start)}`;
  };
  const row = y(0) - 13 - ROW * rows[n];
  add("line", "bar", { x1: x(call.start), x2: Math.max(x(end), x(call.start) + 1), y1: row, y2: row });
  const move = ([time, host], [at, next]) => {
    const place = { x1: x(time), y1: y(host), x2: x(at), y2: y(next) };
    if (next !== host) add("line", "hop", { ...place, "marker-end": `url(#arrow-${outcome(call)})` });
    else if (next !== 0 && at > time) add("line", "stay", place);
    return [at, next];
  };
  const logs = logsById.get(call.id) ?? [], steps = late => logs.filter(log => log.late === late);
  // What hosts still do when the caller has its answer goes on from where it was.
  const last = steps(false).map(log => [Math.min(log.at, end), log.host]).reduce(move, [call.start, 0]);
  if (call.end !== null) move(last, [end, 0]);
  steps(true).map(log => [log.at, log.host]).reduce(move, last);
}

function drawLog({ svg, x, y }, log) {
  const call = byId.get(log.id);
  const dot = element(svg, "circle", { class: "dot " + (call ? outcome(call) : "none"), cx: x(log.at), cy: y(log.host), r: 3, "data-id": log.id ?? "" });
  dot.tip = `${ms(log.at)} ${data.hosts[log.host]} ${log.id ?? ""} ${log.text}`;
}

function drawViolation({ svg, x, width, height }) {
  if (!data.violation) return;
  const at = x(data.violation.at), words = "✗ " + data.violation.promise, size = words.length * 6.3 + 16;
  const left = Math.max(0, Math.min(at, width - size));
  element(svg, "line", { class: "broken", x1: at, x2: at, y1: TOP - 4, y2: height });
  element(svg, "rect", { class: "brokenbox", x: left, y: TOP - 4, width: size, height: 19, rx: 3 });
  element(svg, "text", { class: "brokenname", x: left + 8, y: TOP + 10 }, words);
}

// ---- What the reader does

function choose(id) {
  $("filter").value = $("filter").value === id ? "" : id;
  filter();
}

function filter() {
  const wanted = $("filter").value.trim().toLowerCase();
  const belongs = id => !wanted || id.toLowerCase().includes(wanted);
  for (const node of document.querySelectorAll("svg [data-id]")) node.classList.toggle("off", !belongs(node.dataset.id));
  // A segment belongs to a connection, which many calls share.
  for (const node of document.querySelectorAll("svg .message")) node.classList.toggle("off", Boolean(wanted));
  let shown = 0;
  for (const row of $("calls").rows) {
    row.hidden = !belongs(row.dataset.id);
    row.classList.toggle("chosen", Boolean(wanted) && !row.hidden);
    shown += row.hidden ? 0 : 1;
  }
  const cut = data.start > 0 ? `, what ended before ${ms(data.start)} is left out` : "";
  $("count").textContent = `${shown} of ${data.calls.length} calls${cut}`;
  detail(wanted);
}

function tip(event) {
  const text = event.target.tip, box = $("tip");
  box.style.display = text ? "block" : "none";
  if (!text) return;
  box.textContent = text;
  box.style.left = Math.max(0, Math.min(event.clientX + 14, innerWidth - 430)) + "px";
  box.style.top = Math.min(event.clientY + 16, innerHeight - 60) + "px";
}

function click(event) {
  const id = event.target.closest("[data-id]")?.dataset.id;
  if (id) choose(id);
}

head();
table();
draw();
$("filter").addEventListener("input", filter);
$("zoom").addEventListener("input", draw);
$("segments").addEventListener("change", draw);
$("scroll").addEventListener("mousemove", tip);
$("scroll").addEventListener("mouseleave", tip);
$("scroll").addEventListener("click", click);
$("calls").addEventListener("click", click);
addEventListener("resize", draw);
