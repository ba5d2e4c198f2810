// Tabs of the live views, and what the pages of pairs and features gain.
{
  const list = document.querySelector(".views ul");
  const tab = (view, text) => el("li", {}, el("a", {href: `#explore/${view}`, "data-view": view}, text));
  list.append(tab("text", "Try a text"), tab("search", "All features"));
  // A view and what is added to it are asked for at the same time; `place` puts the addition among the view's nodes.
  const extend = (parts, more, place) => {
    const view = VIEWS.find(({matches}) => matches(parts)), show = view.show;
    view.show = async (index, ...rest) => {
      const [shown, added] = await Promise.all([show(index, ...rest), more(index, ...rest)]);
      place(shown.nodes, added.node);
      const {ready, leave} = shown;
      return {...shown, ready() { ready?.(); added.ready?.(); }, leave() { leave?.(); added.leave?.(); }};
    };
  };
  extend(["pair", "0"], async (index, parts) => {
    const i = Number(parts[1]), pairs = await loadPairs(index);
    const text = lastText === null ? index.href(`explore/text?pair=${i}`) : textHref(index, lastText, {pair: i});
    return {node: el("p", {class: "steps live-links"}, "Live: ", el("a", {href: text}, "this pair on a text of yours"),
      ...[pairs.row[i], pairs.col[i]].map((feature, which) => el("a", {href: featureHref(index, index.sides[which], feature)}, "steer ", bdi(index.models[which]), ` #${feature}`)))};
  }, (nodes, node) => nodes.splice(2, 0, node));
  extend(["feature", "A", "0"], async (index, parts, query) => {
    const {study} = index, place = sideNamed(study, parts[1]), feature = featureNumber(study.sides[place], parts[2]);
    const compared = comparisonWith(index, place);
    return liveFeature(compared, compared.sides.indexOf(study.sides[place]), feature, query);
  }, (nodes, node) => nodes.find(({classList}) => classList?.contains("sides"))?.append(node));
  route(); // the page may have been opened at a live view
}
