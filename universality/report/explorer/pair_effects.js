// What the two features of a pair do to the next token, and to the loss, where both fire.
function pairEffects(index, words, pairs, tokens, loss, i) {
  return el("section", {class: "pair-effects", "aria-labelledby": "pair-effects"},
    el("h2", {id: "pair-effects"}, "What the two do"),
    index.pair_effects.tokens ? tokenEffects(index, words, pairs, tokens, i) : null,
    index.pair_effects.loss ? lossEffects(index, loss) : null);
}

function tokenEffects(index, words, pairs, found, i) {
  if (!found) return el("p", {class: "hint"}, "What this pair raises and lowers was not measured.");
  if (!found.n) return el("p", {class: "hint"}, "The two fire together nowhere in the half of the text that reports, so nothing was changed.");
  const top = clampedTo(index);
  return [
    el("p", {class: "hint"}, `At ${found.n} ${found.n === 1 ? "token" : "tokens"} of text where both fire, each feature is set to 0 (ablated), then to ${top} (clamped). `,
      "Numbers are the mean change of the next token’s probability, in percentage points. Tokens in the partner’s list, too, have a ",
      el("span", {class: "both"}, el("span", {class: "tok"}, "blue border")), "."),
    agreement(index, pairs, found),
    el("div", {class: "sides"}, [0, 1].map((which) => changed(index, words, found, which, pairs[which ? "col" : "row"][i]))),
  ];
}
const clampedTo = (index) => index.pair_effects.tokens.times === 1 ? "its maximum" : `${index.pair_effects.tokens.times} × its maximum`;

function agreement(index, pairs, found) {
  const other = index.models[1], pair = pairs.col.indexOf(found.control), name = `#${found.control}`;
  const control = found.control < 0 ? "No other feature of it fires at any of these tokens." : [
    bdi(other), " ", pair >= 0 ? el("a", {href: index.href(`pair/${pair}`)}, name) : name,
    `, a feature other than the partner, at the same tokens. It fires at ${percent(found.share)} of them, and about as often elsewhere as the partner.`];
  const rows = ["Both ablated", "Both clamped"].flatMap((how, k) => ["all tokens alike", "weighted by probability"].map((weights, w) =>
    el("tr", {}, el("th", {scope: "row"}, how, el("small", {}, weights)),
      [found.r[k][w], found.control_r[k][w], index.pair_effects.tokens.chance[k][w]].map((r) => el("td", {}, fixed(r))))));
  return [
    el("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": "Agreement"}, el("table", {},
      el("caption", {}, "Agreement: r between the two features’ mean changes of log-probabilities, over the tokens that both models have"),
      el("thead", {}, el("tr", {}, ["", "Partner", "Control", "95% of controls below"].map((text) => text ? el("th", {scope: "col"}, text) : el("td")))),
      el("tbody", {}, rows))),
    el("p", {class: "hint"}, "Control: ", control),
  ];
}

function changed(index, words, found, which, number) {
  const [own, partner] = [found.sides[which], found.sides[1 - which]];
  const list = (how, direction) => {
    const there = new Set(partner[how][direction].map(([word]) => word)), items = own[how][direction];
    const title = `${how ? "Clamped" : "Ablated"}: ${direction ? "lowered" : "raised"}`;
    return el("div", {}, el("h4", {}, title), items.length
      ? el("ul", {class: "weights"}, items.map(([word, change]) => el("li", {class: there.has(word) ? "both" : null},
        chip(words[word]), " ", el("small", {}, points(change)), there.has(word) ? el("span", {class: "unseen"}, " (both)") : null)))
      : el("p", {class: "hint"}, "none by 0.001 or more"));
  };
  return el("div", {}, el("h3", {}, bdi(index.models[which]), ` #${number}`),
    [0, 1].map((how) => el("div", {class: "logits"}, list(how, 0), list(how, 1))));
}
const points = (change) => {
  const size = Math.abs(100 * change);
  return `${change < 0 ? "−" : "+"}${size >= 10 ? size.toFixed(0) : Number(size.toPrecision(2))}`;
};

function lossEffects(index, loss) {
  const title = el("h3", {}, "Effects on the loss where both fire");
  if (!known(loss.r)) return [title, el("p", {class: "hint"}, `Both fire on ${known(loss.n) ? whole(loss.n) : "too few"} of the measured tokens, too few to compare.`)];
  const scores = [
    ["r of effects", fixed(loss.r), known(loss.low) ? `${fixed(loss.low)} to ${fixed(loss.high)}, 95% over documents` : ""],
    ["by equal firing alone", fixed(loss.null), ""],
    ["q", small(loss.q), ""],
    ["q, disagreement", small(loss.opposite), ""],
    ["equal signs", percent(loss.sign), `${percent(loss.sign_chance)} by chance`],
    ...(loss.n_controls ? [["median of controls", fixed(loss.control_r), ""], ["rank among controls", whole(loss.rank), `of ${loss.n_controls + 1}`]] : []),
    ...["a", "b"].flatMap((side, k) => known(loss[`ceiling_${side}`]) ? [[`ceiling, ${index.models[k]}`, fixed(loss[`ceiling_${side}`]), ""]] : []),
    ["tokens", whole(loss.n), ""],
  ];
  return [title, el("p", {class: "hint"}, "First-order effects of single firings, divided by the norm of the loss gradient, which all features at a token share. Controls are features of ",
    bdi(index.models[1]), " that fire with the first feature about as often as the partner does."),
  el("ul", {class: "scores"}, scores.map(([name, value, range]) => el("li", {}, `${name} `, el("b", {}, value), range ? ` (${range})` : "")))];
}
