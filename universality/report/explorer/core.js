"use strict";
// Data are script files, since browsers refuse fetch on file://; each calls universality.add(name, value) once.
const waiting = new Map();
globalThis.universality = {
  add(name, value) { waiting.get(name)?.done(unpack(value)); },
};

function load(name) {
  if (!waiting.has(name)) {
    const entry = {};
    entry.promise = new Promise((done, failed) => {
      entry.done = done;
      const script = document.createElement("script");
      script.src = `data/${name}.js`;
      script.addEventListener("load", () => script.remove());
      script.addEventListener("error", () => failed(new Error(`data/${name}.js is missing or truncated`)));
      document.head.append(script);
    });
    waiting.set(name, entry);
  }
  return waiting.get(name).promise;
}

// Turns {"type": "f4", "base64": …} into a typed array wherever it stands, except within lists.
const ARRAYS = {f4: Float32Array, i4: Int32Array, i2: Int16Array, i1: Int8Array, u1: Uint8Array};
function unpack(value) {
  if (Array.isArray(value) || value === null || typeof value !== "object") return value;
  if (value.base64 !== undefined) {
    const text = atob(value.base64), bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return new ARRAYS[value.type](bytes.buffer);
  }
  for (const key of Object.keys(value)) value[key] = unpack(value[key]);
  return value;
}

// Elements: strings are added as text nodes, so no token can become markup.
function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  set(element, attributes);
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}
function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  set(element, attributes);
  element.append(...children.flat());
  return element;
}
function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, v] of Object.entries(value)) element.style.setProperty(key, v);
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value === true ? "" : value);
  }
}

// Numbers as the report prints them; "–" for a missing number.
const known = (x) => x !== null && x !== undefined && Number.isFinite(x);
const minus = (text) => text.replace("-", Number(text) === 0 ? "" : "−"); // a zero is never negative
const fixed = (x, digits = 2) => known(x) ? minus(x.toFixed(digits)) : "–";
const whole = (x) => known(x) ? x.toLocaleString("en-US") : "–";
const small = (x) => !known(x) ? "–" : x === 0 || x >= 0.001 ? fixed(x, 3) : minus(x.toExponential(0));
const percent = (x, digits = 0) => known(x) ? `${(100 * x).toFixed(digits)}%` : "–";

// A single token: spaces are marked, an empty string is "(empty)", a lone combining mark stands on a dotted circle.
function marked(text) {
  const shown = text.replaceAll(" ", "␣") || "(empty)";
  return /^\p{M}/u.test(shown) ? `◌${shown}` : shown;
}
// Isolates written-out bytes and code points from right-to-left letters around them.
const isolated = (text) => text.split(/((?:\\x[0-9A-F]{2}|U\+[0-9A-F]{4,6})+)/).map((part, i) => i % 2 ? el("bdi", {class: "esc", dir: "ltr"}, part) : part);
const chip = (text) => el("bdi", {class: "tok", dir: "auto"}, isolated(marked(text)));
const chips = (words, ids) => [...ids].filter((id) => id >= 0).flatMap((id) => [chip(words[id]), " "]);
const bdi = (text) => el("bdi", {}, text);

// Views: hashes like #pair/12 or #explore/pairs?q=hebrew select one; any other hash shows the report.
const VIEWS = [];
let leaving = () => {};
function parse(hash) {
  const [path, query = ""] = hash.replace(/^#/, "").split("?");
  let parts = [];
  try { parts = path.split("/").map(decodeURIComponent); } catch { /* a stray percent sign selects no view */ }
  return {parts, query: new URLSearchParams(query)};
}
async function route() {
  const hash = location.hash, {parts, query} = parse(hash);
  const view = VIEWS.find(({matches}) => matches(parts));
  const report = document.getElementById("report"), explorer = document.getElementById("explorer");
  leaving();
  leaving = () => {};
  const was = report.hidden;
  report.hidden = Boolean(view);
  explorer.hidden = !view;
  for (const link of document.querySelectorAll(".views a"))
    link.toggleAttribute("aria-current", view ? view.tab === link.dataset.view : link.dataset.view === "report");
  for (const link of document.querySelectorAll(".views a[aria-current]")) link.setAttribute("aria-current", "page");
  // links to the pages of other comparisons open the same view
  for (const link of document.querySelectorAll(".others a")) link.hash = parts[0] === "explore" ? `explore/${parts[1]}` : "";
  if (!view) {
    explorer.dataset.shows = "";
    if (was) document.getElementById(parts[0])?.scrollIntoView();
    return;
  }
  explorer.setAttribute("aria-busy", "true");
  const mine = route.number = (route.number ?? 0) + 1;
  const done = () => { explorer.removeAttribute("aria-busy"); explorer.dataset.shows = hash; };
  try {
    const index = await load("index");
    const shown = await view.show(index, parts, query);
    if (mine !== route.number) return;  // another view was requested meanwhile
    done();
    explorer.replaceChildren(...shown.nodes);
    leaving = shown.leave ?? leaving;
    shown.ready?.();
    document.title = `${shown.title}: ${index.title}`;
    if (shown.focus !== false) explorer.querySelector("h1")?.focus({preventScroll: true});
    if (shown.focus !== false) scrollTo(0, 0);
  } catch (error) {
    if (mine !== route.number) return;
    done();
    explorer.replaceChildren(missing("This view cannot be shown", `${error.message}.`));
  }
}
const heading = (...text) => el("h1", {tabindex: "-1"}, ...text);
const missing = (title, text) => el("div", {class: "warnings", role: "note"}, el("h1", {tabindex: "-1"}, title), el("p", {}, text));

// Panning and zooming of a square canvas; draw(scale, x, y) shows [x, x + 1 / scale] of the unit square.
function zoomable(canvas, draw) {
  let scale = 1, x = 0, y = 0, asked = false, held = null;
  const redraw = () => {
    x = Math.min(Math.max(x, 0), 1 - 1 / scale);
    y = Math.min(Math.max(y, 0), 1 - 1 / scale);
    if (!asked) requestAnimationFrame(() => { asked = false; draw(scale, x, y); });
    asked = true;
  };
  const zoom = (factor, u = 0.5, v = 0.5) => {
    const next = Math.min(Math.max(scale * factor, 1), 64);
    x += u / scale - u / next;
    y += v / scale - v / next;
    scale = next;
    redraw();
  };
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoom(2 ** (-event.deltaY / 300), ...at(event)); }, {passive: false});
  canvas.addEventListener("pointerdown", (event) => { held = [...at(event), x, y, false]; });
  canvas.addEventListener("pointermove", (event) => {
    if (!held || !event.buttons) return;
    const [u, v] = at(event);
    held[4] ||= Math.hypot(u - held[0], v - held[1]) > 0.01;
    [x, y] = [held[2] - (u - held[0]) / scale, held[3] - (v - held[1]) / scale];
    redraw();
  });
  canvas.addEventListener("keydown", (event) => {
    const step = 0.1 / scale;
    const moves = {ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step]};
    if (moves[event.key] && scale > 1) { x += moves[event.key][0]; y += moves[event.key][1]; redraw(); }
    else if (event.key === "+" || event.key === "=") zoom(1.5);
    else if (event.key === "-") zoom(1 / 1.5);
    else if (event.key === "0") zoom(1 / scale);
    else return;
    event.preventDefault();
  });
  const buttons = [["Zoom in", "+", 1.5], ["Zoom out", "−", 1 / 1.5], ["All", "all", 0]].map(([name, sign, factor]) =>
    el("button", {type: "button", "aria-label": name, onclick: () => zoom(factor || 1 / scale)}, sign));
  return {
    buttons, redraw,
    unit: (event) => { const [u, v] = at(event); return [x + u / scale, y + v / scale]; },
    dragged: () => Boolean(held?.[4]),
  };
}
const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
// From r = 0 to 1: readable on white and on black, distinguishable with every common type of colour vision.
const SEQUENTIAL = [[160, 160, 160], [230, 159, 0], [0, 158, 115], [0, 114, 178]];
function shade(r) {
  if (!known(r)) return "rgb(128 128 128)";
  const place = Math.min(Math.max(r, 0), 0.999) * (SEQUENTIAL.length - 1), i = Math.floor(place), t = place - i;
  return `rgb(${SEQUENTIAL[i].map((c, k) => Math.round(c + t * (SEQUENTIAL[i + 1][k] - c))).join(" ")})`;
}
