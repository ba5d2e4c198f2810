// Explanations by a language model: untrusted text, which enters the page as text nodes only.
// Labels of the pairs' features, by pair.
function labelsOf(index) {
  index.label_columns ??= Promise.all([loadPairs(index), index.side(0, "labels"), index.side(1, "labels")]).then(([pairs, ...sides]) =>
    sides.map((labels, k) => {
      if (!labels) return null;
      const features = Array.from(pairs[k ? "col" : "row"]), by = (values) => features.map((feature) => values[feature]);
      return {text: by(labels.text), score: by(labels.score), floor: by(labels.floor)};
    }));
  return index.label_columns;
}
async function familyLabels(side) {
  const file = await fileOf(side, "family-labels");
  return file && {...file, at: new Map(Array.from(file.node, (node, i) => [node, i]))};
}
const labelText = (labels, i) => labels?.text[i] ?? "";
const labelMatches = (labels, i, wanted) => labelText(labels, i).toLowerCase().includes(wanted);

// One line: the explanation, and its score beside the highest of its floors and baselines.
function labelLine(index, labels, i) {
  if (!labelText(labels, i)) return null;
  const score = labels.score[i], floor = labels.floor[i];
  const beside = known(floor) ? `${index.labels.score} ${fixed(score)}, highest floor ${fixed(floor)}` : `${index.labels.score} ${fixed(score)}`;
  return el("span", {class: "explained"}, el("bdi", {class: "label"}, labels.text[i]), known(score) ? [" ", el("small", {}, beside)] : null);
}

// A's explanation on A's feature and on its partner in B, where `universality label-transfer` has measured it.
const transferOf = (index) => index.transfer ? index.load("label-transfer") : null;
function transferColumns(index, transfer) {
  if (!transfer) return [];
  const [a, b] = index.models, {own, score} = transfer.scores[transfer.main];
  const column = (key, name, values, what) => ({key, name, what, value: (i) => values[i], text: (i) => fixed(values[i])});
  return [
    column("label_partner", `${a}'s label on ${b}`, score, `${transfer.main} score of the explanation of ${a}'s feature, on its partner in ${b}`),
    column("label_loss", `loss on ${b}`, own.map((value, i) => value - score[i]), `how much worse ${a}'s explanation predicts ${b}'s feature than its own: the two ${transfer.main} scores' difference`),
  ];
}
function transferScores(index, transfer, i) {
  const {own, score} = transfer?.scores[transfer.main] ?? {};
  return known(score?.[i]) ? [[`${transfer.main} score of ${index.models[0]}'s label`, `${fixed(own[i])} → ${fixed(score[i])}`, `on ${index.models[0]}, then on ${index.models[1]}`]] : [];
}
function transferBlock(index, transfer, i) {
  const rows = Object.entries(transfer?.scores ?? {}).filter(([, scores]) => known(scores.score[i]));
  if (!rows.length) return null;
  const [a, b] = index.models, same = {0: "not to describe the same thing", 1: "to describe the same thing"}[transfer.same[i]];
  const range = ({low, high}) => known(low[i]) ? el("small", {}, `${fixed(low[i])} to ${fixed(high[i])}`) : null;
  return el("section", {class: "explained carried", "aria-labelledby": "carried"}, el("h2", {id: "carried"}, "Does the explanation carry over?"),
    same ? el("p", {}, `The two explanations were judged ${same}.`) : null,
    el("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": "Scores of the explanation on both features"}, el("table", {},
      el("caption", {}, "Scores of ", bdi(a), "'s explanation on both features, with 95% intervals over works"),
      el("thead", {}, el("tr", {}, [el("th", {scope: "col"}, "score"), ...[["on ", bdi(a)], ["on ", bdi(b)], ["loss"], [bdi(b), "'s own explanation on ", bdi(b)]].map((name) => el("th", {scope: "col"}, name))])),
      el("tbody", {}, rows.map(([name, scores]) => el("tr", {}, [el("th", {scope: "row"}, name), el("td", {}, fixed(scores.own[i])),
        el("td", {}, fixed(scores.score[i]), range(scores)), el("td", {}, fixed(scores.own[i] - scores.score[i])), el("td", {}, fixed(scores.others_own[i]))]))))));
}

// Mean score of the explanations of a feature's children beside its own: the split's gain.
function splitLine(index, grown, labels, node) {
  const scoreOf = (member) => labels?.score[labels.at.get(member)], own = scoreOf(node);
  const children = grown.children.get(node) ?? [], scored = children.map(scoreOf).filter(known);
  if (!known(own) || !scored.length) return null;
  const mean = scored.reduce((x, y) => x + y, 0) / scored.length, gain = mean - own;
  return el("small", {class: "split"}, `children's explanations: ${index.labels.score} ${fixed(mean)} on average (${whole(scored.length)} of ${whole(children.length)} scored), ${fixed(Math.abs(gain))} ${gain < 0 ? "below" : "above"} this one's`);
}

function labelColumns(index, labels) {
  return [0, 1].flatMap((k) => labels[k] ? [{
    key: `label_${"ab"[k]}`, name: `label, ${index.models[k]}`, left: true, what: "explanation by a language model",
    value: (i) => labelText(labels[k], i), text: (i) => labelText(labels[k], i) ? el("bdi", {class: "label", title: labelText(labels[k], i)}, labelText(labels[k], i)) : "–",
  }, {
    key: `label_score_${"ab"[k]}`, name: `${index.labels.score}, ${index.models[k]}`, value: (i) => labels[k].score[i],
    what: `${index.labels.score} score of the explanation, beside the highest of its floors and baselines`,
    text: (i) => [fixed(labels[k].score[i]), known(labels[k].floor[i]) ? [" ", el("small", {}, `floor ${fixed(labels[k].floor[i])}`)] : null],
  }] : []);
}

// On the page of a pair: the whole explanation, and all scores of all predictors.
function labelBlock(label, name) {
  if (!label) return null;
  const cell = (values) => el("td", {}, values ? fixed(values[0]) : "–", values && known(values[1]) ? el("small", {}, `${fixed(values[1])} to ${fixed(values[2])}`) : null);
  return el("div", {class: "explained"}, el("h3", {}, "Explained by a language model"),
    el("p", {}, label.text ? el("bdi", {class: "label"}, label.text) : el("span", {class: "hint"}, `No explanation: ${label.outcome}.`)),
    label.logits ? el("p", {}, "By its output: ", el("bdi", {class: "label"}, label.logits)) : null,
    label.scores.length ? el("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": `Scores of the explanation, ${name}`}, el("table", {},
      el("caption", {}, "Scores of the explanation, of its floors and of its baselines, with 95% intervals over works"),
      el("thead", {}, el("tr", {}, el("td"), label.scores.map(([score]) => el("th", {scope: "col"}, score)))),
      el("tbody", {}, label.by.map((by, k) => el("tr", {}, el("th", {scope: "row"}, by), label.scores.map(([, values]) => cell(values[k]))))))) : null);
}
