// Two dictionaries that were compared, as views show them. The hash names the comparison; the first one needs no name.
function comparisonOf(study, query) {
  const name = query.get("comparison") ?? study.comparisons[0].name;
  const found = study.comparisons.find((one) => one.name === name);
  if (!found) throw new Error(`there is no comparison ${name}`);
  found.context ??= context(study, found);
  return found.context;
}
function context(study, found) {
  const sides = found.sides.map((k) => study.sides[k]);
  const side = (k, file) => fileOf(sides[k], file);
  return {
    ...found, study, title: study.title, kinds: study.kinds, chunk: study.chunk, tokens_shown: study.tokens_shown,
    sides, models: sides.map(({name}) => name), labels: sides.some(({files}) => files.includes("labels")) ? {score: study.label_score} : null,
    families: sides.map(({files}) => files.includes("families")),
    load: (file) => load(`comparisons/${found.name}/${file}`),
    side,
    href: (path) => hrefOf(study, found, path),
  };
}
const loadSide = (side, file) => load(`sides/${side.folder}/${file}`);
const fileOf = (side, file) => side.files.includes(file) ? loadSide(side, file) : null;
function hrefOf(study, found, path) {
  if (found.name === study.comparisons[0].name) return `#${path}`;
  return `#${path}${path.includes("?") ? "&" : "?"}comparison=${encodeURIComponent(found.name)}`;
}
// The comparison of two dictionaries, by their places; and whether their order is the other way round.
function between(study, a, b) {
  const found = study.comparisons.find(({sides: [x, y]}) => (x === a && y === b) || (x === b && y === a));
  return found ? {found, swapped: found.sides[0] !== a} : null;
}
// The present comparison if it has the dictionary, else the first that has it.
function comparisonWith(index, side) {
  const {study} = index;
  const found = index.sides.includes(study.sides[side]) ? index : study.comparisons.find(({sides}) => sides.includes(side));
  found.context ??= found === index ? index : context(study, found);
  return found.context;
}

// Who is matched with whom in a comparison, and how well: all that the map needs.
const loadMatched = (index) => index.load("matched");
// The pairs of a comparison with the kind and tokens of their features, by pair.
function loadPairs(index) {
  index.pairs ??= Promise.all([loadMatched(index), index.load("pairs"), index.side(0, "about"), index.side(1, "about"), index.effects.length ? index.load("effects") : null])
    .then(([matched, others, a, b, effects]) => {
      const pairs = {...matched, ...others}, shown = index.tokens_shown;
      for (const [letter, about, features] of [["a", a, pairs.row], ["b", b, pairs.col]]) {
        pairs[`kind_${letter}`] = Int16Array.from(features, (feature) => about.kind[feature]);
        const tokens = pairs[`tokens_${letter}`] = new Int32Array(shown * features.length);
        features.forEach((feature, i) => tokens.set(about.tokens.subarray(shown * feature, shown * (feature + 1)), shown * i));
      }
      if (effects) for (const [key, column] of Object.entries({effect_q: "q", effect_sign_agreement: "sign", effect_control_rank: "rank", effect_n: "n"})) pairs[key] = effects[column];
      return pairs;
    });
  return index.pairs;
}

// The choice among comparisons, above every view that shows one; views without one say so by `everything`.
function chooser(index, shown, parts) {
  const {study} = index;
  if (study.comparisons.length < 2 || shown.everything) return [];
  const target = parts[0] === "explore" ? `explore/${parts[1]}` : "explore/pairs";
  const select = el("select", {id: "comparison"}, study.comparisons.map((one) =>
    el("option", {value: one.name, selected: one.name === index.name}, one.sides.map((k) => study.sides[k].name).join(" and "))));
  select.addEventListener("change", () => { location.hash = hrefOf(study, study.comparisons[select.selectedIndex], target); });
  return [el("p", {class: "tools choose"}, el("label", {for: "comparison"}, "Compared"), select)];
}
// The tabs lead to the same comparison.
function keepComparison(index) {
  for (const link of document.querySelectorAll(".views a[data-view]")) {
    if (link.dataset.view !== "report" && link.dataset.view !== "compare") link.setAttribute("href", index.href(`explore/${link.dataset.view}`));
  }
}
