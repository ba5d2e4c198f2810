// One feature, matched or not: what it fires on, its partner, its neighbours within the model, and steering.
async function showFeature(index, parts, query) {
  const which = "AB".indexOf(parts[1]);
  if (which < 0 || !/^\d{1,9}$/.test(parts[2] ?? "")) throw new Error(`there is no feature ${parts.slice(1).join("/")}: expected A/12 or B/7`);
  const answer = await ask(`feature/${which}/${parts[2]}`), {view, words, feature, pair} = answer;
  const grown = index.families?.[which] && typeof linked === "function" ? await load(`families-${which}`).catch(() => null) : null;
  const all = grown ? await load("words") : null, model = index.models[which], steering = steeringForm(index, which, feature, query);
  const kind = index.kinds?.includes(view.kind) ? view.kind : "";
  const fires = view.strongest === null ? "Never fires on held-out text." : `Fires on ${percent(view.density, 2)} of tokens, with activations up to ${fixed(view.strongest)}`;
  return {
    title: `${model} #${feature}`,
    nodes: [
      heading(bdi(model), ` #${feature}`),
      partnerLine(index, which, pair),
      view.strongest !== null && !pair ? null : el("p", {class: "legend"}, el("span", {class: "w", style: {"--s": 0.9}}, "shaded"), ": activation of this feature, relative to its strongest", pair ? ["; ", el("span", {class: "w", style: {"--p": 0.9}}, "underlined"), ": activation of its partner"] : null, "."),
      el("div", {class: "sides"},
        el("section", {class: "side", "aria-labelledby": "fires"}, el("h2", {id: "fires"}, "What it fires on"),
          el("p", {}, fires, kind && view.strongest !== null ? ["; ", percent(view.purity), " of its activation on ", bdi(kind), "."] : null),
          el("p", {}, wordsOf(words, view.tokens)),
          labelBlock(view.label, model), histogram(view.histogram, view.strongest), weights(words, view),
          block("Strongest examples", view.top.map((excerpt) => example(index, words, excerpt, view))),
          block("Examples across the range of activations", view.range.map((excerpt) => example(index, words, excerpt, view)))),
        el("section", {class: "side", "aria-labelledby": "similar"}, el("h2", {id: "similar"}, "Similar features"),
          nearestInModel(index, which, answer), nearestInOther(index, which, view), grown ? relatives(index, all, grown, which, feature) : null,
          steering.node)),
    ].filter(Boolean),
    ready() { if (query.get("tokens") !== null) steering.write(); },
    leave: steering.stop,
  };
}

function partnerLine(index, which, pair) {
  const other = 1 - which;
  if (!pair) return el("p", {}, "No partner in ", bdi(index.models[other]), ": it never fires on the documents that choose partners, or the other dictionary has fewer features.");
  const effect = known(pair.effect_r) ? `; effect r ${fixed(pair.effect_r)} (q ${small(pair.effect_q)})` : "";
  return el("p", {}, "Partner: ", bdi(index.models[other]), " ", featureLink(other, pair.features[other]), `, held-out r ${rangeText(pair)}, q ${small(pair.q)}${effect}. `, el("a", {href: `#pair/${pair.pair}`}, "Both side by side"));
}
function nearestInModel(index, which, {nearest, words}) {
  const title = el("h3", {}, "Nearest in ", bdi(index.models[which]), ", by cosine of decoder rows");
  if (!nearest) return el("div", {}, title, el("p", {class: "hint"}, "This run stores no decoder."));
  return el("div", {}, title, el("ol", {class: "near"}, nearest.map((one) => el("li", {}, featureLink(which, one.feature), ` ${fixed(one.cosine)} `, about(words, one)))));
}
function nearestInOther(index, which, view) {
  if (!view.near.length) return null;
  return el("div", {}, el("h3", {}, "Most similar in ", bdi(index.models[1 - which]), ", by activation"), el("ul", {class: "plain"}, view.near.map(([other, r]) => el("li", {}, featureLink(1 - which, other), ` r ${fixed(r)}`))));
}
VIEWS.push({tab: "search", matches: (parts) => parts[0] === "feature", show: showFeature});
