// The map: features of both models as points, or those of one. A lasso chooses features for the table below it.
const FEW = 50;  // pairs of which a share is known within 14 percentage points, at 95%
// What the numbers beside the map say.
function believed(index, {map, chosen}) {
  const trust = map.trust.map(([value], s) => [bdi(index.models[chosen[s]]), ` ${fixed(value)}`]), sample = map.trust.map(([, n]) => whole(n)).join(" and ");
  const within = ["Trustworthiness (1: all neighbours on the map are neighbours by ", map.within === "activation" ? "activation r" : "decoder cosine", "; a random map: 0.5): ", trust.flatMap((one, s) => s ? [", ", one] : [one]), `, measured on ${sample} features.`];
  if (!map.ranks) return [el("p", {class: "wide"}, "Features of one model by UMAP of their decoder directions: near each other where they write alike. Axes have no meaning."), el("p", {class: "hint wide"}, within)];
  const {partners, held_out, by_chance} = map.ranks, near = (ranks) => percent(ranks.near, ranks.near < 0.1 ? 1 : 0);
  return [
    el("p", {class: "wide"}, "Features of both models, near each other where they are alike: within a model by ", map.within === "activation" ? "activation r" : "decoder cosine", ", across models by activation r above chance. ", el("strong", {}, "Nearness across models is the match"), ", not further evidence for it. Ringed features are alone: they resemble none of the other model above chance. Axes have no meaning. Features of ", bdi(index.models[0]), " are round, those of ", bdi(index.models[1]), " triangles."),
    partners.n < FEW ? el("p", {class: "hint wide"}, el("strong", {}, partners.n ? `Only ${whole(partners.n)} pairs could be ranked: shares of so few say little about how far the map can be believed. More text or wider SAEs give more pairs.` : "No pair could be ranked, so nothing says how far the map can be believed. More text or wider SAEs give pairs.")) : null,
    el("p", {class: "hint wide"}, `Across models, ${near(partners)} of ${whole(partners.n)} partners chosen on the other half of the text are among the ${map.near} nearest; without their own edges in the graph ${near(held_out)} (${whole(held_out.n)} pairs); with as many edges from re-paired text `,
      by_chance.n ? near(by_chance) : "not measured", `; anywhere at random ${percent(partners.chance, 1)}. ${whole(map.n_edges)} edges pass the thresholds, ${whole(map.n_null_edges)} of re-paired text. `, within),
  ].filter(Boolean);
}

function download(name, blob) {
  const url = URL.createObjectURL(blob);
  el("a", {href: url, download: name}).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

const MOST_RINGS = 2000;  // more of them hide the points and cost a picture its pace
async function showMap(index, _, query) {
  const available = [index.map ? "both" : null, ...index.sides.map((side, k) => side.files.includes("map") ? String(k) : null)].filter(Boolean);
  if (!available.length) throw new Error("this run has no maps: universality map CONFIG --out RUN draws them, unless map.draw is false; then universality report RUN");
  const of = available.includes(query.get("of")) ? query.get("of") : available[0];
  const points = await mapOf(index, of), choices = colourings(index, points);
  let colouring = choices.find(({key}) => key === query.get("colour")) ?? choices[0], marked = [], shown = [1, 0, 0], lasso = null, column, falling = true;
  let rows = Uint32Array.from({length: points.n}, (_, i) => i).filter(points.placed);
  const everything = rows;

  const canvas = el("canvas", {class: "square"}), over = el("canvas", {class: "square over", tabindex: "0", role: "img",
    "aria-label": `Map of ${whole(rows.length)} features. The table below lists them. Keys + and - zoom, arrows move, 0 shows all.`});
  const layer = pointLayer(canvas, points.place, points.counts.map((count, s) => ({start: points.starts[s], count, triangle: s === 1})));
  const context = over.getContext("2d"), read = el("output", {class: "readout", role: "status"}), legend = el("p", {class: "legend keys"}), found = el("output", {role: "status"});
  // Pixels of a canvas, and of one CSS pixel; a canvas with more would cost memory and time that nobody sees.
  let side = 0, dot = 1;
  function fit() {
    const pixels = Math.min(2048, Math.round((over.clientWidth || 560) * devicePixelRatio));
    if (pixels !== side) for (const one of [canvas, over]) one.width = one.height = pixels;
    [side, dot] = [pixels, pixels / (over.clientWidth || 560)];
  }
  const onto = (u, v) => { const [scale, x, y] = shown; return [(u - x) * scale * side, (v - y) * scale * side]; };
  const of2 = (i) => onto(points.place[2 * i], points.place[2 * i + 1]);
  const drawAll = (share) => layer.draw(...shown, dot * Math.max(1.7, Math.min(9, 250 / Math.sqrt(everything.length + 1) * Math.sqrt(shown[0]))), share), drawPoints = paced(drawAll);
  const view = zoomable(over, (...now) => {
    shown = now;
    fit();
    drawPoints();
    decorate();
  });
  function ring(i, radius, width) {
    context.lineWidth = width * dot;
    context.beginPath();
    context.arc(...of2(i), radius * dot, 0, 7);
    context.stroke();
  }
  const alone = everything.filter(points.alone), rings = el("p", {class: "hint wide", hidden: true}, `More than ${whole(MOST_RINGS)} features in view are alone: zoom in to see their rings.`);
  function decorate() {
    context.clearRect(0, 0, side, side);
    context.strokeStyle = ink("--ink");
    const [scale, x, y] = shown, seen = alone.filter((i) => { const u = (points.place[2 * i] - x) * scale, v = (points.place[2 * i + 1] - y) * scale; return u >= 0 && v >= 0 && u <= 1 && v <= 1; });
    rings.hidden = seen.length <= MOST_RINGS;
    if (rings.hidden) for (const i of seen) ring(i, 5, 0.8);
    if (colouring.key === "cluster") writeClusters();
    if (marked.length === 2) { context.lineWidth = 1.3 * dot; context.beginPath(); context.moveTo(...of2(marked[0])); context.lineTo(...of2(marked[1])); context.stroke(); }
    for (const i of marked) ring(i, 8, 2);
    if (!lasso || lasso.length < 2) return;
    context.lineWidth = 1.3 * dot;
    context.beginPath();
    lasso.forEach(([u, v]) => context.lineTo(...onto(u, v)));
    context.closePath();
    context.stroke();
  }
  // Names of the largest clusters at their middle, where they do not cover each other.
  const middles = new Map();
  for (const i of everything) if (points.cluster(i) >= 0) { const sum = middles.get(points.cluster(i)) ?? [0, 0, 0]; sum[0] += points.place[2 * i]; sum[1] += points.place[2 * i + 1]; sum[2]++; middles.set(points.cluster(i), sum); }
  function writeClusters() {
    context.font = `${13 * dot}px sans-serif`;
    context.textAlign = "center";
    context.lineWidth = 3 * dot;
    const taken = [];
    for (const [k, [x, y, n]] of [...middles].sort((one, two) => two[1][2] - one[1][2])) {
      const text = points.map.names[k].slice(0, 40), [u, v] = onto(x / n, y / n), half = context.measureText(text).width / 2;
      if (taken.length > 30 || u < half || u > side - half || v < 13 * dot || v > side || taken.some(([p, q, h]) => Math.abs(p - u) < h + half && Math.abs(q - v) < 16 * dot)) continue;
      taken.push([u, v, half]);
      context.strokeStyle = ink("--paper");
      context.strokeText(text, u, v);
      context.fillStyle = ink("--ink");
      context.fillText(text, u, v);
    }
    context.strokeStyle = ink("--ink");
  }
  function paint() {
    const faint = packedColour(ink("--line").match(/[0-9a-f]{2}/gi).map((part) => parseInt(part, 16))), chosen = new Uint8Array(points.n);
    for (const i of rows) chosen[i] = 1;
    layer.paint((i) => chosen[i] ? colourOf(colouring, i) | CHOSEN : faint);
    legend.replaceChildren(...colourLegend(colouring, points));
    view.redraw();
  }

  const name = (i) => [bdi(index.models[points.chosen[points.sideOf(i)]]), ` #${points.featureOf(i)}`];
  const link = (i) => el("a", {href: featureHref(index, points.sides[points.sideOf(i)], points.featureOf(i))}, name(i));
  const say = "Point at a feature; click to open it. Drag to move, wheel to zoom, or draw a lasso.";
  function choose(i) {
    const partner = i < 0 || points.pairOf[i] < 0 || points.chosen.length < 2 ? -1 : points.point(1 - points.sideOf(i), points.pairs[points.sideOf(i) ? "row" : "col"][points.pairOf[i]]);
    marked = i < 0 ? [] : partner >= 0 && points.placed(partner) ? [i, partner] : [i];
    if (i < 0) read.replaceChildren(say);
    else read.replaceChildren(...[name(i), points.alone(i) ? ", alone" : "", points.pairOf[i] >= 0 ? [", ", el("a", {href: index.href(`pair/${points.pairOf[i]}`)}, `pair ${points.pairOf[i]}`), `, r ${fixed(points.r(i))}`] : "", ": ", chips(points.words, points.tokens(i))].flat(Infinity));
    decorate();
  }
  const columnsShown = [
    {key: "feature", name: "feature", left: true, value: (i) => i, text: link},
    {key: "pair", name: "pair", value: (i) => points.pairOf[i] < 0 ? NaN : points.pairOf[i], text: (i) => points.pairOf[i] < 0 ? "–" : el("a", {href: index.href(`pair/${points.pairOf[i]}`)}, String(points.pairOf[i]))},
    {key: "r", name: "held-out r", value: points.r, text: (i) => fixed(points.r(i))},
    points.label ? {key: "label", name: "label", left: true, value: points.label, text: (i) => el("bdi", {class: "label"}, points.label(i))} : null,
    {key: "tokens", name: "top tokens", left: true, value: (i) => points.words[points.tokens(i)[0]] ?? "", text: (i) => chips(points.words, points.tokens(i))},
    points.chosen.length > 1 ? {key: "alone", name: "alone", value: points.alone, text: (i) => points.alone(i) ? "alone" : "–"} : null,
    {key: "density", name: "density", value: points.density, text: (i) => percent(points.density(i), 3)},
    {key: "cluster", name: "cluster", left: true, value: (i) => points.map.names[points.cluster(i)] ?? "", text: (i) => bdi(points.map.names[points.cluster(i)] ?? "–")},
    {key: "kind", name: "kind", left: true, value: (i) => index.kinds[points.kind(i)] ?? "", text: (i) => bdi(index.kinds[points.kind(i)] ?? "–")},
  ].filter(Boolean);
  let order = everything;
  const table = virtualTable({caption: "Features on the map", label: "Table of features on the map; arrow keys move from feature to feature", shown: columnsShown, n: points.n,
    open: (i) => featureHref(index, points.sides[points.sideOf(i)], points.featureOf(i)).slice(0), onSort: (one) => { falling = one === column ? !falling : !one.left; column = one; list(); }});
  const rowAt = (event) => { const k = event.target.closest?.("tr[data-k]")?.dataset.k; if (k !== undefined) choose(order[k]); };
  table.node.addEventListener("pointerover", rowAt);
  table.node.addEventListener("focusin", rowAt);
  function list() {
    const by = sorted(rows.length, {...column, value: (k) => column.value(rows[k])}, falling);
    order = by.map((k) => rows[k]);
    table.show(order, column, falling);
    found.textContent = rows.length < everything.length ? `${whole(rows.length)} of ${whole(everything.length)} features chosen` : `all ${whole(everything.length)} features`;
  }
  function select(chosen) { rows = chosen; lasso = null; list(); paint(); }

  const drawing = el("button", {type: "button", "aria-pressed": "false", onclick: () => drawing.setAttribute("aria-pressed", String(!isDrawing()))}, "lasso");
  const isDrawing = () => drawing.getAttribute("aria-pressed") === "true";
  over.addEventListener("pointerdown", (event) => { if (isDrawing()) { event.stopImmediatePropagation(); lasso = [view.unit(event)]; over.setPointerCapture(event.pointerId); } }, true);
  over.addEventListener("pointermove", (event) => {
    if (lasso && isDrawing()) { event.stopImmediatePropagation(); lasso.push(view.unit(event)); decorate(); } else if (!event.buttons) choose(nearestPoint(points.place, ...view.unit(event), 0.02 / shown[0]));
  }, true);
  over.addEventListener("pointerup", () => {
    if (!lasso || !isDrawing()) return;
    const chosen = lasso.length > 2 ? inside(points.place, lasso) : new Uint32Array(0);
    drawing.setAttribute("aria-pressed", "false");
    justDrawn = true;
    select(chosen.length ? chosen : everything);
  });
  let justDrawn = false;
  over.addEventListener("click", (event) => {
    if (justDrawn) { justDrawn = false; return; }
    const i = nearestPoint(points.place, ...view.unit(event), 0.02 / shown[0]);
    if (i >= 0 && !view.dragged()) location.hash = points.pairOf[i] >= 0 ? index.href(`pair/${points.pairOf[i]}`) : featureHref(index, points.sides[points.sideOf(i)], points.featureOf(i));
  });

  const go = (changes) => { const now = new URLSearchParams({of, colour: colouring.key, ...changes}); return index.href(`explore/map?${now}`); };
  const pickSide = el("select", {id: "map-of"}, available.map((key) => el("option", {value: key, selected: key === of}, key === "both" ? "both models" : index.models[key])));
  pickSide.addEventListener("change", () => { location.hash = go({of: pickSide.value}); });
  const pickColour = el("select", {id: "map-colour"}, choices.map(({key, name: text}) => el("option", {value: key, selected: key === colouring.key}, text)));
  pickColour.addEventListener("change", () => { colouring = choices[pickColour.selectedIndex]; history.replaceState(null, "", go({})); paint(); });
  function savePicture() {
    const picture = el("canvas", {width: side, height: side}), both = picture.getContext("2d");
    both.fillStyle = ink("--paper");
    both.fillRect(0, 0, side, side);
    drawAll(1);  // a canvas of WebGL can be read only before the browser has shown it
    for (const one of [canvas, over]) both.drawImage(one, 0, 0);
    picture.toBlob((blob) => download("map.png", blob));
  }
  const wanted = Number(query.get("pair") ?? NaN);
  column = columnsShown[2];
  return {
    title: "Map",
    nodes: [heading("Map of the features"), ...believed(index, points),
      el("div", {class: "tools"}, el("label", {for: "map-of"}, "Show"), pickSide, el("label", {for: "map-colour"}, "Colour"), pickColour, drawing, el("button", {type: "button", onclick: () => select(everything)}, "choose all"), view.buttons, el("button", {type: "button", onclick: savePicture}, "save as PNG")),
      legend, el("p", {class: "readout-line"}, read),
      el("div", {class: "map-and-table"}, el("div", {}, el("div", {class: "stack"}, canvas, over), rings),
        el("div", {}, el("div", {class: "tools"}, found, el("button", {type: "button", onclick: () => download("features.csv", new Blob([csvOf(index, points, order)], {type: "text/csv"}))}, "save as CSV")), table.node))],
    ready() {
      list();
      paint();
      addEventListener("resize", view.redraw);
      const i = Number.isInteger(wanted) && wanted >= 0 && wanted < index.n_pairs ? points.point(points.chosen[0], points.pairs[points.chosen[0] ? "col" : "row"][wanted]) : -1;
      choose(i >= 0 && points.placed(i) ? i : -1);
    },
    leave() { removeEventListener("resize", view.redraw); table.leave(); layer.leave(); },
  };
}
VIEWS.push({tab: "map", matches: (parts) => parts[0] === "explore" && parts[1] === "map", show: showMap});
