// The map: features of both models as points, or those of one. A lasso chooses features for the table below it.
const NOWHERE = -32768, CATEGORIES = [[0, 114, 178], [213, 94, 0], [0, 158, 115], [230, 159, 0], [204, 121, 167], [86, 180, 233], [150, 110, 60], [110, 110, 200]];
const PALE = [150, 150, 150];

// Everything that the view shows of its points, numbered through: those of the first dictionary, then of the second.
async function mapOf(index, of) {
  const chosen = of === "both" ? [0, 1] : [Number(of)], sides = chosen.map((k) => index.sides[k]);
  const file = of === "both" ? index.load("map") : loadSide(sides[0], "map");
  const [map, pairs, words, ...abouts] = await Promise.all([file, loadPairs(index), load("words"), ...sides.map((side) => loadSide(side, "about"))]);
  const grown = await Promise.all(sides.map((side) => fileOf(side, "families"))), labels = await Promise.all(sides.map((side) => fileOf(side, "labels")));
  const counts = sides.map(({width}) => width), starts = [0, counts[0]], n = counts.reduce((x, y) => x + y, 0);
  const place = new Float32Array(2 * n).fill(-9), pairOf = new Int32Array(n).fill(-1);
  chosen.forEach((k, s) => {
    const xy = map.xy[s];
    for (let f = 0; f < counts[s]; f++) if (xy[2 * f] !== NOWHERE) [place[2 * (starts[s] + f)], place[2 * (starts[s] + f) + 1]] = [0.5 + xy[2 * f] / 65536, 0.5 - xy[2 * f + 1] / 65536];
    pairs[k ? "col" : "row"].forEach((feature, i) => { pairOf[starts[s] + feature] = i; });
  });
  const sideOf = (i) => i >= counts[0] ? 1 : 0, featureOf = (i) => i - starts[sideOf(i)];
  const at = (columns) => (i) => columns[sideOf(i)]?.[featureOf(i)];
  return {
    map, pairs, words, chosen, sides, counts, starts, n, place, pairOf, sideOf, featureOf, labels,
    placed: (i) => place[2 * i] > -1, cluster: at(map.cluster), kind: at(abouts.map(({kind}) => kind)), alone: map.alone ? at(map.alone) : () => 0,
    density: at(abouts.map(({density}) => density)),
    tokens(i) { const f = featureOf(i), {tokens} = abouts[sideOf(i)]; return tokens.subarray(index.tokens_shown * f, index.tokens_shown * (f + 1)); },
    r: (i) => pairs.held_out[pairOf[i]], effect: pairs.effect_r ? (i) => pairs.effect_r[pairOf[i]] : null,
    family: grown.every(Boolean) ? (i) => { const {starts: first, widths, parent} = grown[sideOf(i)]; let node = first[widths.length - 1] + featureOf(i); while (parent[node] >= 0) node = parent[node]; return node; } : null,
    point: (k, feature) => chosen.includes(k) ? starts[chosen.indexOf(k)] + feature : -1,
  };
}

// A colouring by category. The largest have colours of their own, where there are more of them than colours; smaller ones
// are pale, or repeat the colours where their names stand on the map.
function category(points, key, name, value, names, repeats = false) {
  const sizes = new Map(), n = CATEGORIES.length;
  for (let i = 0; i < points.n; i++) if (points.placed(i) && value(i) >= 0) sizes.set(value(i), (sizes.get(value(i)) ?? 0) + 1);
  const order = [...sizes].sort(([x, one], [y, other]) => other - one || x - y);
  const place = new Map(order.map(([x], k) => [x, names.length > n ? k : x]));
  const shade = (x) => place.has(x) && (repeats || place.get(x) < n) ? CATEGORIES[place.get(x) % n] : PALE;
  return {key, name, value, names, shade, order, repeats};
}
// Ways to colour points: value(i) → a number on a scale from low to high, or the number of a category.
function colourings(index, points) {
  const scale = (key, name, value, low, high, text = fixed) => ({key, name, value, low, high, text});
  const densities = Array.from({length: points.n}, (_, i) => points.density(i)).filter((x) => x > 0);
  const log = [Math.log10(Math.min(...fewest(densities))), Math.log10(Math.max(...fewest(densities.map((x) => -x)).map((x) => -x)))];
  return [
    scale("r", "held-out r", points.r, 0, 1),
    points.chosen.length > 1 ? category(points, "model", "model", points.sideOf, index.models) : null,
    category(points, "kind", "kind", points.kind, index.kinds),
    category(points, "cluster", "cluster", points.cluster, points.map.names, true),
    points.family ? {key: "family", name: "family", value: points.family, names: null, shade: (x) => x >= 0 ? CATEGORIES[x % CATEGORIES.length] : PALE} : null,
    points.effect ? scale("effect", "effect r", points.effect, 0, 1) : null,
    densities.length ? scale("density", "density", (i) => Math.log10(points.density(i)), ...log, (x) => percent(10 ** x, 3)) : null,
  ].filter(Boolean);
}
// Least values without the spread of a long array into arguments.
const fewest = (values) => [values.reduce((x, y) => Math.min(x, y), Infinity)];
function colourOf({value, low, high, shade}, i) {
  const x = value(i);
  if (shade) return shade(x);
  if (!known(x)) return PALE;
  const t = Math.min(Math.max((x - low) / (high - low || 1), 0), 0.999) * (SEQUENTIAL.length - 1), k = Math.floor(t);
  return SEQUENTIAL[k].map((c, j) => Math.round(c + (t - k) * (SEQUENTIAL[k + 1][j] - c)));
}
function colourLegend(colouring, points) {
  if (colouring.names === undefined) return [`${colouring.name} from ${colouring.text(colouring.low)} `, el("span", {class: "ramp sequential"}), ` to ${colouring.text(colouring.high)}; grey: lowest or none`];
  if (colouring.names === null) return ["features of one family have one colour; of two families of one colour, none is meant"];
  const {order, repeats, names, shade} = colouring, shown = order.slice(0, CATEGORIES.length), n_smaller = order.length - shown.length;
  const key = (colour, ...text) => el("span", {class: "key"}, el("span", {class: "swatch", style: {background: `rgb(${colour.join(" ")})`}}), text);
  const coloured = (repeats ? order : shown).reduce((sum, [, size]) => sum + size, 0);
  let pale = -coloured;
  for (let i = 0; i < points.n; i++) if (points.placed(i)) pale++;
  return [...shown.map(([x, size]) => key(shade(x), bdi(names[x] ?? String(x)), ` ${whole(size)}`)),
    pale ? key(PALE, n_smaller && !repeats ? "others or none" : "none", ` ${whole(pale)}`) : null,
    n_smaller && repeats ? `${whole(n_smaller)} smaller ones repeat these colours` : null].filter(Boolean);
}

// What the numbers beside the map say.
function believed(index, {map, chosen}) {
  const trust = map.trust.map(([value], s) => [bdi(index.models[chosen[s]]), ` ${fixed(value)}`]), sample = map.trust.map(([, n]) => whole(n)).join(" and ");
  const within = ["Trustworthiness (1: all neighbours on the map are neighbours by ", map.within === "activation" ? "activation r" : "decoder cosine", "; a random map: 0.5): ", trust.flatMap((one, s) => s ? [", ", one] : [one]), `, measured on ${sample} features.`];
  if (!map.ranks) return [el("p", {class: "wide"}, "Features of one model by UMAP of their decoder directions: near each other where they write alike. Axes have no meaning."), el("p", {class: "hint wide"}, within)];
  const {partners, held_out, by_chance} = map.ranks, near = (ranks) => percent(ranks.near, ranks.near < 0.1 ? 1 : 0);
  return [
    el("p", {class: "wide"}, "Features of both models, near each other where they are alike: within a model by ", map.within === "activation" ? "activation r" : "decoder cosine", ", across models by activation r above chance. ", el("strong", {}, "Nearness across models is the match"), ", not further evidence for it. Ringed features are alone: they resemble none of the other model above chance. Axes have no meaning."),
    el("p", {class: "hint wide"}, `Across models, ${near(partners)} of ${whole(partners.n)} partners chosen on the other half of the text are among the ${map.near} nearest; without their own edges in the graph ${near(held_out)} (${whole(held_out.n)} pairs); with as many edges from re-paired text `,
      by_chance.n ? near(by_chance) : "not measured", `; anywhere at random ${percent(partners.chance, 1)}. ${whole(map.n_edges)} edges pass the thresholds, ${whole(map.n_null_edges)} of re-paired text. `, within),
  ];
}

function csvOf(index, points, rows) {
  const cell = (x) => { const text = String(x ?? ""), safe = /^[=+\-@＝＋－＠']/.test(text) && !/^-?[\d.]+$/.test(text) ? `'${text}` : text; return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe; };
  const head = ["model", "feature", "x", "y", "cluster", "alone", "pair", "held_out_r", "kind", "tokens"];
  const lines = Array.from(rows, (i) => [index.models[points.chosen[points.sideOf(i)]], points.featureOf(i), points.place[2 * i].toFixed(5), (1 - points.place[2 * i + 1]).toFixed(5),
    points.map.names[points.cluster(i)] ?? "", points.map.alone ? Number(Boolean(points.alone(i))) : "", points.pairOf[i] < 0 ? "" : points.pairOf[i], known(points.r(i)) ? points.r(i).toFixed(4) : "", index.kinds[points.kind(i)] ?? "",
    [...points.tokens(i)].filter((t) => t >= 0).map((t) => points.words[t].replaceAll("|", "\\x7c")).join("|")]);
  return [head, ...lines].map((line) => line.map(cell).join(",")).join("\n") + "\n";
}
function download(name, text) {
  const url = URL.createObjectURL(new Blob([text], {type: "text/csv"}));
  el("a", {href: url, download: name}).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

async function showMap(index, _, query) {
  const available = [index.map ? "both" : null, ...index.sides.map((side, k) => side.files.includes("map") ? String(k) : null)].filter(Boolean);
  if (!available.length) throw new Error("this run has no maps: universality map CONFIG --out RUN draws them, unless map.draw is false; then universality report RUN");
  const of = available.includes(query.get("of")) ? query.get("of") : available[0];
  const points = await mapOf(index, of), choices = colourings(index, points), SIDE = 960;
  let colouring = choices.find(({key}) => key === query.get("colour")) ?? choices[0], marked = [], shown = [1, 0, 0], lasso = null, column, falling = true;
  let rows = Uint32Array.from({length: points.n}, (_, i) => i).filter(points.placed);
  const everything = rows;

  const canvas = el("canvas", {width: SIDE, height: SIDE, class: "square"}), over = el("canvas", {width: SIDE, height: SIDE, class: "square over", tabindex: "0", role: "img",
    "aria-label": `Map of ${whole(rows.length)} features. The table below lists them. Keys + and - zoom, arrows move, 0 shows all.`});
  const layer = pointLayer(canvas, points.place, points.counts.map((count, s) => ({start: points.starts[s], count, triangle: s === 1})));
  const context = over.getContext("2d"), read = el("output", {class: "readout", role: "status"}), legend = el("p", {class: "legend keys"}), found = el("output", {role: "status"});
  const onto = (u, v) => { const [scale, x, y] = shown; return [(u - x) * scale * SIDE, (v - y) * scale * SIDE]; };
  const of2 = (i) => onto(points.place[2 * i], points.place[2 * i + 1]);
  const drawPoints = paced((share) => layer.draw(...shown, Math.max(2.5, Math.min(14, 320 / Math.sqrt(everything.length + 1) * Math.sqrt(shown[0]))), share));
  const view = zoomable(over, (...now) => {
    shown = now;
    drawPoints();
    decorate();
  });
  function ring(i, radius, width) {
    context.lineWidth = width;
    context.beginPath();
    context.arc(...of2(i), radius, 0, 7);
    context.stroke();
  }
  const alone = everything.filter(points.alone);
  function decorate() {
    context.clearRect(0, 0, SIDE, SIDE);
    context.strokeStyle = ink("--ink");
    for (const i of alone) if (alone.length < 5000) ring(i, 8, 1.2);
    if (colouring.key === "cluster") writeClusters();
    if (marked.length === 2) { context.lineWidth = 2; context.beginPath(); context.moveTo(...of2(marked[0])); context.lineTo(...of2(marked[1])); context.stroke(); }
    for (const i of marked) ring(i, 13, 3);
    if (!lasso || lasso.length < 2) return;
    context.lineWidth = 2;
    context.beginPath();
    lasso.forEach(([u, v]) => context.lineTo(...onto(u, v)));
    context.closePath();
    context.stroke();
  }
  // Names of the largest clusters at their middle, where they do not cover each other.
  const middles = new Map();
  for (const i of everything) if (points.cluster(i) >= 0) { const sum = middles.get(points.cluster(i)) ?? [0, 0, 0]; sum[0] += points.place[2 * i]; sum[1] += points.place[2 * i + 1]; sum[2]++; middles.set(points.cluster(i), sum); }
  function writeClusters() {
    context.font = "20px sans-serif";
    context.textAlign = "center";
    context.lineWidth = 4;
    const taken = [];
    for (const [k, [x, y, n]] of [...middles].sort((one, two) => two[1][2] - one[1][2])) {
      const text = points.map.names[k].slice(0, 40), [u, v] = onto(x / n, y / n), half = context.measureText(text).width / 2;
      if (taken.length > 30 || u < half || u > SIDE - half || v < 20 || v > SIDE || taken.some(([p, q, h]) => Math.abs(p - u) < h + half && Math.abs(q - v) < 24)) continue;
      taken.push([u, v, half]);
      context.strokeStyle = ink("--paper");
      context.strokeText(text, u, v);
      context.fillStyle = ink("--ink");
      context.fillText(text, u, v);
    }
    context.strokeStyle = ink("--ink");
  }
  function paint() {
    const faint = ink("--line").match(/[0-9a-f]{2}/gi).map((part) => parseInt(part, 16));
    const bytes = new Uint8Array(3 * points.n), chosen = rows.length < everything.length ? new Uint8Array(points.n) : null;
    if (chosen) for (const i of rows) chosen[i] = 1;
    for (let i = 0; i < points.n; i++) bytes.set(chosen && !chosen[i] ? faint : colourOf(colouring, i), 3 * i);
    layer.paint(bytes);
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
  const labelOf = (i) => points.labels[points.sideOf(i)]?.text[points.featureOf(i)] ?? "";
  const columnsShown = [
    {key: "feature", name: "feature", left: true, value: (i) => i, text: link},
    {key: "pair", name: "pair", value: (i) => points.pairOf[i] < 0 ? NaN : points.pairOf[i], text: (i) => points.pairOf[i] < 0 ? "–" : el("a", {href: index.href(`pair/${points.pairOf[i]}`)}, String(points.pairOf[i]))},
    {key: "r", name: "held-out r", value: points.r, text: (i) => fixed(points.r(i))},
    points.chosen.length > 1 ? {key: "alone", name: "alone", value: points.alone, text: (i) => points.alone(i) ? "alone" : "–"} : null,
    {key: "density", name: "density", value: points.density, text: (i) => percent(points.density(i), 3)},
    {key: "cluster", name: "cluster", left: true, value: (i) => points.map.names[points.cluster(i)] ?? "", text: (i) => bdi(points.map.names[points.cluster(i)] ?? "–")},
    {key: "kind", name: "kind", left: true, value: (i) => index.kinds[points.kind(i)] ?? "", text: (i) => bdi(index.kinds[points.kind(i)] ?? "–")},
    points.labels.some(Boolean) ? {key: "label", name: "label", left: true, value: labelOf, text: (i) => el("bdi", {class: "label"}, labelOf(i))} : null,
    {key: "tokens", name: "top tokens", left: true, value: (i) => points.words[points.tokens(i)[0]] ?? "", text: (i) => chips(points.words, points.tokens(i))},
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
  const wanted = Number(query.get("pair") ?? NaN);
  column = columnsShown[2];
  return {
    title: "Map",
    nodes: [heading("Map of the features"), ...believed(index, points),
      el("div", {class: "tools"}, el("label", {for: "map-of"}, "Show"), pickSide, el("label", {for: "map-colour"}, "Colour"), pickColour, drawing, el("button", {type: "button", onclick: () => select(everything)}, "choose all"), view.buttons),
      legend, el("p", {class: "readout-line"}, read),
      el("div", {class: "map-and-table"}, el("div", {class: "stack"}, canvas, over),
        el("div", {}, el("div", {class: "tools"}, found, el("button", {type: "button", onclick: () => download("features.csv", csvOf(index, points, order))}, "save as CSV")), table.node))],
    ready() {
      list();
      paint();
      const i = Number.isInteger(wanted) && wanted >= 0 && wanted < index.n_pairs ? points.point(points.chosen[0], points.pairs[points.chosen[0] ? "col" : "row"][wanted]) : -1;
      choose(i >= 0 && points.placed(i) ? i : -1);
    },
    leave() { table.leave(); layer.leave(); },
  };
}
VIEWS.push({tab: "map", matches: (parts) => parts[0] === "explore" && parts[1] === "map", show: showMap});
