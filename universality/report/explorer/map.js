// One map per dictionary, side by side. The maps share no axes; only the pairing links them.
async function showMap(index) {
  const [pairs, ...maps] = await Promise.all([loadPairs(index), index.side(0, "map"), index.side(1, "map")]);
  const SIDE = 720, partner = [["row", "col"], ["col", "row"]];
  const read = el("output", {class: "readout", role: "status"}, "Point at a feature to see its partner; click to open the pair.");
  let chosen = null;  // index of a pair
  const sides = index.models.map((name, k) => {
    const xy = maps[k].xy, n = xy.length / 2, own = pairs[partner[k][0]];
    const pairOf = new Int32Array(n).fill(-1);
    own.forEach((feature, i) => { pairOf[feature] = i; });
    const canvas = el("canvas", {width: SIDE, height: SIDE, class: "square", tabindex: "0", role: "img",
      "aria-label": `Map of ${name}'s features: two principal axes of their decoder directions; the field above selects a feature by number.`});
    const context = canvas.getContext("2d");
    let last = [1, 0, 0];
    const place = (feature) => [0, 1].map((axis) => 0.5 + xy[2 * feature + axis] / 65534 * 0.96);
    const onto = (feature) => { const [scale, x, y] = last, [u, v] = place(feature); return [(u - x) * scale * SIDE, (v - y) * scale * SIDE]; };
    const view = zoomable(canvas, (...now) => {
      last = now;
      context.clearRect(0, 0, SIDE, SIDE);
      const size = Math.max(2, Math.min(7, 180 / Math.sqrt(n) * Math.sqrt(now[0])));
      for (let feature = 0; feature < n; feature++) {
        if (xy[2 * feature] === -32768) continue;
        const [u, v] = onto(feature);
        context.fillStyle = shade(pairOf[feature] >= 0 ? pairs.held_out[pairOf[feature]] : NaN);
        context.fillRect(u - size / 2, v - size / 2, size, size);
      }
      if (chosen === null) return;
      const [u, v] = onto(own[chosen]);
      context.strokeStyle = ink("--ink");
      context.lineWidth = 3;
      context.beginPath();
      context.arc(u, v, 12, 0, 7);
      context.stroke();
    });
    const nearest = (event) => {
      const [u, v] = view.unit(event);
      let best = -1, least = (0.03 / last[0]) ** 2;
      for (let feature = 0; feature < n; feature++) {
        const [x, y] = place(feature), d = (x - u) ** 2 + (y - v) ** 2;
        if (d < least && pairOf[feature] >= 0) [best, least] = [feature, d];
      }
      return best < 0 ? null : pairOf[best];
    };
    canvas.addEventListener("pointermove", (event) => { if (!event.buttons) choose(nearest(event)); });
    canvas.addEventListener("click", (event) => { const pair = nearest(event); if (pair !== null && !view.dragged()) location.hash = index.href(`pair/${pair}`); });
    canvas.addEventListener("keydown", (event) => { if (event.key === "Enter" && chosen !== null) location.hash = index.href(`pair/${chosen}`); });
    const pick = el("input", {type: "number", min: 0, max: n - 1, id: `pick-${k}`});
    pick.addEventListener("input", () => choose(pairOf[pick.value] >= 0 ? pairOf[pick.value] : null));
    return {view, node: el("section", {"aria-labelledby": `map-${k}`}, el("h2", {id: `map-${k}`}, bdi(name)),
      el("p", {class: "tools"}, el("label", {for: `pick-${k}`}, "Feature"), pick, view.buttons), canvas)};
  });
  function choose(pair) {
    if (pair === chosen) return;
    chosen = pair;
    if (pair !== null) read.replaceChildren(el("a", {href: index.href(`pair/${pair}`)}, `Pair ${pair}`), ": ", bdi(index.models[0]), ` #${pairs.row[pair]} and `, bdi(index.models[1]), ` #${pairs.col[pair]}, r ${fixed(pairs.held_out[pair])}`);
    for (const {view} of sides) view.redraw();
  }
  return {
    title: "Map",
    nodes: [heading("Map of the features"),
      el("p", {}, "Living features of each dictionary by the first two principal axes of their decoder directions, which explain ", maps.map(({explained}) => percent(explained)).join(" and "),
        " of the variance. The maps share no axes, so positions cannot be compared between them; the ring marks the same pair in both."),
      el("p", {class: "legend"}, "held-out r from 0 ", el("span", {class: "ramp sequential"}), " to 1"), el("p", {}, read),
      el("div", {class: "sides"}, sides.map(({node}) => node))],
    ready() { for (const {view} of sides) view.redraw(); },
  };
}
VIEWS.push({tab: "map", matches: (parts) => parts[0] === "explore" && parts[1] === "map", show: showMap});
