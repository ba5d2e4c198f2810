// One pair: both features side by side.
async function showPair(index, parts) {
  const i = Number(parts[1]);
  if (!Number.isInteger(i) || i < 0 || i >= index.n_pairs)
    throw new Error(`there is no pair ${parts[1]}: pairs are numbered 0 to ${index.n_pairs - 1}`);
  const chunk = Math.floor(i / index.chunk);
  const [pairs, words, labels, transfer, partners, tokens, effects] = await Promise.all([
    loadPairs(index), load("words"), labelsOf(index), transferOf(index), index.load(`partners-${chunk}`),
    index.pair_effects?.tokens ? index.load(`token-effects-${chunk}`) : null, index.pair_effects?.loss ? index.load("effects") : null]);
  const numbers = [pairs.row[i], pairs.col[i]];
  const opened = await Promise.all(numbers.map((number, k) => openFeature(index.study, index.sides[k], number)));
  const place = i - chunk * index.chunk, [a, b] = index.models;
  const card = (k) => featureCard(index, words, opened[k], `side-${"ab"[k]}`, {
    partner: partnerShares(index.study, partners["ab"[k]], place),
    after: [neighbours(index, partners["ab"[k]], k, place, pairs, labels[1 - k])],
  });
  const order = lastOrder.of === index && lastOrder.order.includes(i) ? lastOrder.order : null;
  const at = order ? order.indexOf(i) : i, total = order ? order.length : index.n_pairs;
  const all = lastOrder.of === index ? lastOrder.href : index.href("explore/pairs");
  const go = (k) => k >= 0 && k < total ? index.href(`pair/${order ? order[k] : k}`) : null;
  const link = (href, text, key) => el("a", {href, "aria-keyshortcuts": key, "aria-disabled": href ? null : "true"}, text);
  const keys = (event) => {
    if (event.target.matches?.("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
    const href = {ArrowLeft: go(at - 1), ArrowRight: go(at + 1), Escape: all}[event.key];
    if (href) location.hash = href;
  };
  addEventListener("keydown", keys);
  const scores = [
    ["held-out r", fixed(pairs.held_out[i]), known(pairs.ci_low[i]) ? `${fixed(pairs.ci_low[i])} to ${fixed(pairs.ci_high[i])}, 95% over works` : ""],
    ["chosen r", fixed(pairs.score[i]), ""],
    [`q, ${index.nulls[0] ?? "no null"}`, small(pairs.q[i]), ""],
    ...(index.nulls.length > 1 ? [["q within kinds", small(pairs.q_kind[i]), ""]] : []),
    ...["a", "b"].flatMap((side, k) => index.ceilings[k] ? [[`ceiling, ${index.models[k]}`, fixed(pairs[`ceiling_${side}`][i]), ""]] : []),
    ["logit r", fixed(pairs.logit[i]), index.logit_chance],
    ...transferScores(index, transfer, i),
  ];
  return {
    title: `Pair ${i}`,
    nodes: [
      el("p", {class: "steps"}, link(go(at - 1), "← previous", "ArrowLeft"), " ", link(all, "all pairs", "Escape"), " ", link(go(at + 1), "next →", "ArrowRight")),
      index.map ? el("p", {class: "steps"}, el("a", {href: index.href(`explore/map?pair=${i}`)}, "on the map")) : null,
      heading(`Pair ${i}: `, bdi(a), ` #${pairs.row[i]} and `, bdi(b), ` #${pairs.col[i]}`),
      el("ul", {class: "scores"}, scores.map(([name, value, range]) => el("li", {}, `${name} `, el("b", {}, value), range ? ` (${range})` : ""))),
      el("p", {class: "legend"}, el("span", {class: "w", style: {"--s": 0.9}}, "shaded"), ": activation of this feature, relative to its strongest; ",
        el("span", {class: "w", style: {"--p": 0.9}}, "underlined"), ": activation of its partner; ", el("mark", {class: "w"}, "outlined"), ": the token in focus."),
      el("div", {class: "sides"}, card(0), card(1)),
      transferBlock(index, transfer, i),
      index.pair_effects ? pairEffects(index, words, pairs, tokens?.[place], effects && lossOf(effects, i), i) : null,
      sourceOf(index, pairs.row[i], pairs.col[i]),
    ].filter((node) => node !== null),
    leave() { removeEventListener("keydown", keys); },
  };
}
// Where the run keeps the numbers of a pair for other programs.
function sourceOf(index, row, col) {
  const file = (path) => el("a", {href: `../${path.split("/").map(encodeURIComponent).join("/")}`}, path);
  return el("p", {class: "hint wide"}, "The pair’s numbers, those on the loss included, are in ", file(`matches/${index.name}.activation.csv`), ` where row is ${row} and col ${col}. `,
    "Largest activations and histograms are made from the stores in features/", index.pair_effects?.tokens ? [", changes of probabilities from ", `effects/${index.name}.pairs.npz`] : null, ".");
}
const lossOf = (effects, i) => Object.fromEntries(Object.entries(effects).map(([name, values]) => [name, values[i]]));
VIEWS.push({tab: "pairs", matches: (parts) => parts[0] === "pair", show: showPair});
