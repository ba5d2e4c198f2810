// Explanations by a language model: untrusted text, which enters the page as text nodes only.
const labelFile = (index, name) => index.labels?.files.includes(name) ? load(name) : null;
const labelsOf = (index) => Promise.all([0, 1].map((k) => labelFile(index, `labels-${k}`)));
async function familyLabels(index, which) {
  const file = await labelFile(index, `family-labels-${which}`);
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

function labelColumns(index, labels) {
  return [0, 1].map((k) => labels[k] && {
    key: `label_${"ab"[k]}`, name: `label, ${index.models[k]}`, left: true,
    what: `explanation by a language model, with its ${index.labels.score} score beside the highest of its floors and baselines`,
    value: (i) => labelText(labels[k], i), text: (i) => labelLine(index, labels[k], i) ?? "–",
  });
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
      el("thead", {}, el("tr", {}, el("td"), label.by.map((by) => el("th", {scope: "col"}, by)))),
      el("tbody", {}, label.scores.map(([score, values]) => el("tr", {}, el("th", {scope: "row"}, score), values.map(cell)))))) : null);
}
