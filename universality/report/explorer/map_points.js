// Features as points: those of both models on one map, or those of one. Where they lie, and what colours them.
const NOWHERE = -32768, CATEGORIES = [[0, 114, 178], [213, 94, 0], [0, 158, 115], [230, 159, 0], [204, 121, 167], [86, 180, 233], [150, 110, 60], [110, 110, 200]].map(packedColour);
const PALE = packedColour([150, 150, 150]), STEPS = 256;
// Colours of a scale, so that none is mixed anew for each of very many points.
const SCALE = Array.from({length: STEPS}, (_, k) => {
  const t = Math.min(k / (STEPS - 1), 0.9999) * (SEQUENTIAL.length - 1), i = Math.floor(t);
  return packedColour(SEQUENTIAL[i].map((c, j) => Math.round(c + (t - i) * (SEQUENTIAL[i + 1][j] - c))));
});

// Everything that the view shows of its points, numbered through: those of the first dictionary, then of the second.
async function mapOf(index, of) {
  const chosen = of === "both" ? [0, 1] : [Number(of)], sides = chosen.map((k) => index.sides[k]);
  const file = of === "both" ? index.load("map") : loadSide(sides[0], "map");
  const [map, pairs, words, ...abouts] = await Promise.all([file, loadMatched(index), load("words"), ...sides.map((side) => loadSide(side, "about"))]);
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
    map, pairs, words, chosen, sides, counts, starts, n, place, pairOf, sideOf, featureOf,
    placed: (i) => place[2 * i] > -1, cluster: at(map.cluster), kind: at(abouts.map(({kind}) => kind)), alone: map.alone ? at(map.alone) : () => 0,
    density: at(abouts.map(({density}) => density)),
    tokens(i) { const f = featureOf(i), {tokens} = abouts[sideOf(i)]; return tokens.subarray(index.tokens_shown * f, index.tokens_shown * (f + 1)); },
    label: labels.some(Boolean) ? (i) => labels[sideOf(i)]?.text[featureOf(i)] ?? "" : null,
    r: (i) => pairs.held_out[pairOf[i]], effect: pairs.effect_r ? (i) => pairs.effect_r[pairOf[i]] : null,
    family: grown.every(Boolean) ? (i) => { const {starts: first, widths, parent} = grown[sideOf(i)]; let node = first[widths.length - 1] + featureOf(i); while (parent[node] >= 0) node = parent[node]; return node; } : null,
    point: (k, feature) => chosen.includes(k) ? starts[chosen.indexOf(k)] + feature : -1,
    // Where the map itself places a point, in the coordinates of the run's maps/*.csv.
    coordinates: (i) => [0, 1].map((k) => map.middle[k] + map.unit * map.xy[sideOf(i)][2 * featureOf(i) + k]),
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
  let least = Infinity, most = 0;
  for (let i = 0; i < points.n; i++) { const x = points.density(i); if (x > 0) [least, most] = [Math.min(least, x), Math.max(most, x)]; }
  return [
    scale("r", "held-out r", points.r, 0, 1),
    points.chosen.length > 1 ? category(points, "model", "model", points.sideOf, index.models) : null,
    category(points, "kind", "kind", points.kind, index.kinds),
    category(points, "cluster", "cluster", points.cluster, points.map.names, true),
    points.family ? {key: "family", name: "family", value: points.family, names: null, shade: (x) => x >= 0 ? CATEGORIES[x % CATEGORIES.length] : PALE} : null,
    points.effect ? scale("effect", "effect r", points.effect, 0, 1) : null,
    most ? scale("density", "density", (i) => Math.log10(points.density(i)), Math.log10(least), Math.log10(most), (x) => percent(10 ** x, 3)) : null,
  ].filter(Boolean);
}
function colourOf({value, low, high, shade}, i) {
  const x = value(i);
  if (shade) return shade(x);
  return known(x) ? SCALE[Math.round(Math.min(Math.max((x - low) / (high - low || 1), 0), 1) * (STEPS - 1))] : PALE;
}
function colourLegend(colouring, points) {
  if (colouring.names === undefined) return [`${colouring.name} from ${colouring.text(colouring.low)} `, el("span", {class: "ramp sequential"}), ` to ${colouring.text(colouring.high)}; grey: lowest or none`];
  if (colouring.names === null) return ["features of one family have one colour; of two families of one colour, none is meant"];
  const {order, repeats, names, shade} = colouring, shown = order.slice(0, CATEGORIES.length), n_smaller = order.length - shown.length;
  const key = (colour, ...text) => el("span", {class: "key"}, el("span", {class: "swatch", style: {background: `rgb(${colour & 255} ${colour >> 8 & 255} ${colour >> 16 & 255})`}}), text);
  const coloured = (repeats ? order : shown).reduce((sum, [, size]) => sum + size, 0);
  let pale = -coloured;
  for (let i = 0; i < points.n; i++) if (points.placed(i)) pale++;
  return [...shown.map(([x, size]) => key(shade(x), bdi(names[x] ?? String(x)), ` ${whole(size)}`)),
    pale ? key(PALE, n_smaller && !repeats ? "others or none" : "none", ` ${whole(pale)}`) : null,
    n_smaller && repeats ? `${whole(n_smaller)} smaller ones repeat these colours` : null].filter(Boolean);
}

// Points as a table for other programs: a row a feature, in the table's order.
function csvOf(index, points, rows) {
  const cell = (x) => { const text = String(x ?? ""), safe = /^[=+\-@＝＋－＠']/.test(text) && !/^-?[\d.]+(e[+-]?\d+)?$/.test(text) ? `'${text}` : text; return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe; };
  const number = (x, digits) => known(x) ? String(Number(x.toPrecision(digits))) : "";
  const columns = {
    model: (i) => index.models[points.chosen[points.sideOf(i)]], feature: points.featureOf,
    x: (i) => points.coordinates(i)[0].toFixed(3), y: (i) => points.coordinates(i)[1].toFixed(3),
    cluster: (i) => points.map.names[points.cluster(i)], alone: (i) => points.map.alone ? Number(Boolean(points.alone(i))) : "",
    pair: (i) => points.pairOf[i] < 0 ? "" : points.pairOf[i], held_out_r: (i) => number(points.r(i), 5),
    ...points.effect ? {effect_r: (i) => number(points.effect(i), 5)} : {},
    density: (i) => number(points.density(i), 5), kind: (i) => index.kinds[points.kind(i)], ...points.label ? {label: points.label} : {},
    tokens: (i) => [...points.tokens(i)].filter((t) => t >= 0).map((t) => points.words[t].replaceAll("|", "\\x7c")).join("|"),
  };
  const lines = [Object.keys(columns), ...Array.from(rows, (i) => Object.values(columns).map((column) => column(i)))];
  return `${lines.map((line) => line.map(cell).join(",")).join("\n")}\n`;
}
