// The page of a feature gains its nearest features within the model, and steering.
async function liveFeature(index, which, feature, query) {
  const answer = await ask(index, `near/${which}/${feature}`), steering = steeringForm(index, which, feature, query);
  return {
    node: el("div", {class: "side"}, nearestInModel(index, which, answer), steering.node),
    ready() { if (query.get("tokens") !== null) steering.write(); },
    leave: steering.stop,
  };
}
function nearestInModel(index, which, {nearest, words}) {
  const title = el("h2", {id: "nearest"}, "Nearest in ", bdi(index.models[which]));
  const list = nearest ? [
    el("p", {class: "hint"}, "By the cosine of decoder rows."),
    el("ol", {class: "near"}, nearest.map((one) => el("li", {}, featureLink(index, which, one.feature), ` ${fixed(one.cosine)} `, about(words, one)))),
  ] : el("p", {class: "hint"}, "This run stores no decoder.");
  return el("section", {"aria-labelledby": "nearest"}, title, list);
}
