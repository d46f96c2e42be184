"use strict";

const SVG = "http://www.w3.org/2000/svg";
const TROUBLED = ["retrying", "failing", "failed", "silent"];

const number = (value) => Math.round(value).toLocaleString("en");

function size(bytes) {
  for (const [unit, factor] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]]) {
    if (bytes >= factor) return `${(bytes / factor).toFixed(1)} ${unit}`;
  }
  return `${Math.round(bytes)} B`;
}

function duration(seconds) {
  if (seconds === null) return "–";
  for (const [unit, length] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= 2 * length) return `${Math.round(seconds / length)} ${unit}`;
  }
  return `${Math.round(seconds)} s`;
}

// Everything that comes from outside is set as text, never as markup.
function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function chart(points, kind, label) {
  const figure = shape("svg", { viewBox: "0 0 300 52", preserveAspectRatio: "none", role: "img", "aria-label": label });
  figure.append(shape("line", { x1: 0, x2: 300, y1: 51, y2: 51, class: "grid" }));
  const known = points.filter(([, value]) => value !== null);
  if (known.length > 1) {
    const from = Math.min(known[0][0], -60);
    const most = Math.max(...known.map(([, value]) => value), 1);
    const place = ([time, value]) => `${(300 * (1 - time / from)).toFixed(1)},${(49 - (45 * value) / most).toFixed(1)}`;
    const line = known.map(place).join(" ");
    const begin = place(known[0]).split(",")[0];
    figure.append(shape("polygon", { points: `${begin},51 ${line} 300,51`, class: `${kind}-area` }));
    figure.append(shape("polyline", { points: line, class: kind, "vector-effect": "non-scaling-stroke" }));
  }
  return figure;
}

function drawing(title, value, points, kind) {
  const figure = element("figure");
  const caption = element("figcaption");
  caption.append(element("span", "", title), element("b", "", value));
  figure.append(caption, chart(points, kind, `${title}: ${value}`));
  return figure;
}

function facts(entries) {
  const list = element("dl", "facts");
  for (const [name, value] of entries) {
    const entry = element("div");
    entry.append(element("dt", "", name), element("dd", "", value));
    list.append(entry);
  }
  return list;
}

function card(stream) {
  const made = element("article", "stream");
  const head = element("div", "head");
  head.append(element("h2", "", `${stream.pipeline}/${stream.name}`), element("span", `state ${stream.state}`, stream.state));
  made.append(head);
  const rates = stream.history.map(([time, rate]) => [time, rate]);
  const readLags = stream.history.map(([time, , lag]) => [time, lag]);
  const deliveryLags = stream.history.map(([time, , , lag]) => [time, lag]);
  made.append(drawing("events a second", number(stream.events_rate), rates, "rate"));
  made.append(drawing("read lag", duration(stream.read_lag), readLags, "lag"));
  made.append(drawing("delivery lag", duration(stream.delivery_lag), deliveryLags, "lag"));
  const lease = stream.lease_held === null ? "none" : stream.lease_held ? "held" : "waits";
  made.append(facts([
    ["events", number(stream.events)], ["batches", number(stream.batches)], ["bytes a second", size(stream.bytes_rate)],
    ["checkpoint", duration(stream.checkpoint_age)], ["buffer", size(stream.buffered_bytes)], ["lease", lease],
    ["process", String(stream.process)], ["dead letters", number(stream.dead_letters)], ["found", number(stream.found)], ["realigned", number(stream.realigned)],
    ["retries", number(stream.retries)], ["rejected", number(stream.rejected)], ["gaps", number(stream.gaps)],
  ]));
  if (stream.last_error) {
    const { message, time, recovered } = stream.last_error;
    const age = `${duration((Date.now() - Date.parse(time)) / 1000)} ago${recovered ? ", recovered" : ""}`;
    made.append(element("p", recovered ? "error past" : "error", `last error ${age}: ${message}`));
  }
  return made;
}

function show(figures) {
  const { streams, silent } = figures;
  const sum = (key) => streams.reduce((total, stream) => total + stream[key], 0);
  const greatest = (key) => {
    const known = streams.map((stream) => stream[key]).filter((value) => value !== null);
    return known.length ? duration(Math.max(...known)) : "–";
  };
  const troubled = streams.filter((stream) => TROUBLED.includes(stream.state)).length;
  const tiles = [
    ["streams", number(streams.length)], ["in trouble", number(troubled)], ["events a second", number(sum("events_rate"))],
    ["greatest read lag", greatest("read_lag")], ["greatest delivery lag", greatest("delivery_lag")],
    ["gaps", number(sum("gaps"))],
  ].map(([name, value]) => {
    const tile = element("dl", "total");
    tile.append(element("dt", "", name), element("dd", "", value));
    return tile;
  });
  document.getElementById("totals").replaceChildren(...(streams.length ? tiles : []));
  const list = document.getElementById("streams");
  const rank = (stream) => (TROUBLED.includes(stream.state) ? 0 : 1);
  const name = (stream) => `${stream.pipeline}/${stream.name}`;
  streams.sort((a, b) => rank(a) - rank(b) || name(a).localeCompare(name(b)));
  list.replaceChildren(...streams.map(card), ...silent.map(({ reason }) => {
    const made = element("article", "stream");
    made.append(element("p", "error", reason));
    return made;
  }));
  document.getElementById("nothing").hidden = streams.length > 0 || silent.length > 0;
  const time = new Date().toLocaleTimeString("en-GB");
  document.getElementById("summary").textContent =
    `${troubled ? `${troubled} of ${streams.length} in trouble` : streams.length ? "all well" : "nothing runs"}, at ${time}`;
}

async function look() {
  let pause = 1000;
  try {
    const answer = await fetch("/figures.json");
    const figures = await answer.json();
    pause = 1000 * figures.interval;
    show(figures);
  } catch (error) {
    document.getElementById("summary").textContent = "rigatoni top does not answer any more: start it again";
  }
  setTimeout(look, pause);
}

look();
