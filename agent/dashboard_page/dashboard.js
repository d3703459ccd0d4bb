"use strict";
// Everything is written with textContent: descriptions come from models.

const byId = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const POLL_MS = 3000;
const MOST_MESSAGES = 200;
let session = null;
let proposals = new Map();
let stream = null;
let chosen = new URLSearchParams(location.search).get("session") || "";
let painting = false;

async function getJson(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

function setState(text, kind) {
  byId("state").textContent = text;
  byId("state").className = `pill ${kind}`;
}

function element(name, text, className) {
  const node = document.createElement(name);
  node.textContent = text;
  if (className) node.className = className;
  return node;
}

function score(value) {
  return value === null || value === undefined ? "–" : value.toFixed(6);
}

function schedulePaint() {
  if (painting) return;
  painting = true;
  requestAnimationFrame(() => {
    painting = false;
    paintCards();
    paintChart();
    paintTable();
  });
}

function paintCards() {
  if (!session) return;
  const facts = [
    ["best", score(session.best_val_bpb)],
    ["baseline", score(session.baseline_val_bpb)],
    ["noise (1σ)", session.noise_sigma === null ? "–" : session.noise_sigma.toFixed(4)],
    ["kept", `${session.kept_count} of ${session.proposal_count}`],
    ["training runs", String(session.run_count)],
    ["cost", `$${session.cost_usd.toFixed(2)}`],
    ["seeds from", session.entropy_source || "–"],
    ["device", session.device_class || "–"],
  ];
  byId("cards").replaceChildren(...facts.map(([name, value]) => {
    const card = element("div", "", "card");
    card.append(element("b", value), element("span", name));
    return card;
  }));
}

function paintTable() {
  const rows = [...proposals.values()].sort((a, b) => b.number - a.number).map((p) => {
    const row = document.createElement("tr");
    const error = p.difference_error === null ? "" : ` ± ${p.difference_error.toFixed(4)}`;
    const difference = p.difference === null ? "–"
      : `${p.difference > 0 ? "+" : ""}${p.difference.toFixed(4)}${error}`;
    row.append(
      element("td", String(p.number)),
      element("td", p.verdict || p.state, p.verdict),
      element("td", score(p.val_bpb)),
      element("td", difference),
      element("td", String(p.runs.filter((run) => !run.void).length)),
      element("td", p.description),
      element("td", p.reason),
    );
    return row;
  });
  byId("proposals").replaceChildren(...rows);
}

function shape(name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

const isKept = (p) => p.verdict === "keep" || p.verdict === "equivalent";

// The baseline's mean, and from there on paired differences: means over other seeds do not compare.
function chartPoints() {
  const points = [];
  let incumbent = 0;
  for (const p of [...proposals.values()].sort((a, b) => a.number - b.number)) {
    if (p.number === 0 && p.val_bpb !== null) {
      incumbent = p.val_bpb;
      points.push({ ...p, place: incumbent });
    } else if (p.number > 0 && p.difference !== null) {
      const place = incumbent + p.difference;
      points.push({ ...p, place });
      if (isKept(p)) incumbent = place;
    }
  }
  return points;
}

function paintChart() {
  const chart = byId("chart");
  const points = chartPoints();
  if (!points.length) {
    chart.replaceChildren(shape("text", { x: 480, y: 130, "text-anchor": "middle" }, "no score yet"));
    return;
  }
  const last = Math.max(1, points[points.length - 1].number);
  const values = points.map((p) => p.place).sort((a, b) => a - b);
  const low = values[0];
  // A few very bad scores must not flatten the rest.
  const high = Math.max(values[Math.floor((values.length - 1) * 0.95)], low + 1e-4);
  const room = (high - low) * 0.12;
  const x = (number) => 60 + (number / last) * 880;
  const y = (value) => 16 + (1 - (Math.min(value, high) - low + room) / (high - low + 2 * room)) * 212;
  const nodes = [];
  for (let step = 0; step <= 4; step++) {
    const value = low + ((high - low) * step) / 4;
    nodes.push(shape("line", { x1: 60, x2: 940, y1: y(value), y2: y(value), class: "grid" }));
    nodes.push(shape("text", { x: 54, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(4)));
  }
  const path = [];
  let best = null;
  for (const p of points) {
    const kept = isKept(p) || p.number === 0;
    if (best !== null) path.push([x(p.number), y(best)]);
    if (kept) best = p.place;
    if (best !== null) path.push([x(p.number), y(best)]);
  }
  if (best !== null && session && session.noise_sigma) {
    const top = y(best + session.noise_sigma);
    const height = Math.max(0, y(best - session.noise_sigma) - top);
    nodes.push(shape("rect", { x: 60, width: 880, y: top, height, class: "noise" }));
  }
  nodes.push(shape("polyline", { points: path.map((point) => point.join(",")).join(" "), class: "best" }));
  const radius = points.length > 200 ? 2 : 4;
  for (const p of [...points].sort((a, b) => isKept(a) - isKept(b))) {
    const size = isKept(p) ? radius + 1 : radius;
    const dot = shape("circle", { cx: x(p.number), cy: y(p.place), r: size, class: p.verdict });
    dot.append(shape("title", {}, `#${p.number} ${p.verdict} ${score(p.place)}: ${p.description}`));
    nodes.push(dot);
  }
  nodes.push(shape("text", { x: 940, y: 250, "text-anchor": "end" }, `proposal ${last}`));
  chart.replaceChildren(...nodes);
}

function addMessage(text) {
  const list = byId("messages");
  list.prepend(element("li", text));
  while (list.childElementCount > MOST_MESSAGES) list.lastElementChild.remove();
}

function showProgress(progress) {
  byId("now").hidden = false;
  byId("now-bar").value = progress.progress;
  const loss = progress.loss ? `, loss ${progress.loss.toFixed(3)}` : "";
  const speed = progress.tokens_per_second ? `, ${Math.round(progress.tokens_per_second)} tokens/s` : "";
  byId("now-text").textContent =
    `Proposal ${progress.proposal_number}: ${progress.stage} ${Math.round(progress.progress * 100)} %${loss}${speed}`;
}

function showSession(value) {
  session = value;
  const stopped = session.state === "stopped";
  const why = session.stop_reason ? `: ${session.stop_reason.replaceAll("_", " ")}` : "";
  setState(session.state.replaceAll("_", " ") + (stopped ? why : ""), stopped ? "" : "live");
  if (stopped) byId("now").hidden = true;
  schedulePaint();
}

async function follow(id) {
  if (stream) stream.close();
  const answer = await getJson(`/api/sessions/${encodeURIComponent(id)}`);
  proposals = new Map(answer.proposals.map((p) => [p.number, p]));
  byId("messages").replaceChildren();
  showSession(answer.session);
  stream = new EventSource(`/api/sessions/${encodeURIComponent(id)}/events?after=${session.last_sequence}`);
  const on = (name, show) => stream.addEventListener(name, (event) => show(JSON.parse(event.data)));
  on("session", (value) => showSession(value.session));
  on("proposal", (value) => { proposals.set(value.proposal.number, value.proposal); schedulePaint(); });
  on("progress", (value) => showProgress(value.progress));
  on("message", (value) => { if (value.message !== undefined) addMessage(value.message); });
  on("end", () => stream.close());
  stream.onopen = () => { if (session) showSession(session); };
  stream.onerror = () => { if (stream.readyState !== EventSource.CLOSED) setState("connection lost", "lost"); };
}

async function poll() {
  try {
    const { sessions } = await getJson("/api/sessions");
    const newest = [...sessions].sort((a, b) => (b.start_time || "").localeCompare(a.start_time || ""))[0];
    const select = byId("sessions");
    const wanted = chosen || (newest ? newest.session_id : "");
    select.replaceChildren(...sessions.map((s) => {
      const option = element("option", `${s.lab} · ${s.tag}`);
      option.value = s.session_id;
      option.selected = s.session_id === wanted;
      return option;
    }));
    const now = sessions.find((s) => s.session_id === wanted);
    if (!now) setState("no session yet", "");
    else if (!session || session.session_id !== wanted || (stream.readyState === EventSource.CLOSED
      && now.state !== "stopped")) await follow(wanted);
  } catch {
    setState("connection lost", "lost");
  }
  setTimeout(poll, POLL_MS);
}

byId("sessions").addEventListener("change", (event) => {
  chosen = event.target.value;
  follow(chosen).catch(() => setState("connection lost", "lost"));
});
poll();
