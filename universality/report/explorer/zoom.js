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
