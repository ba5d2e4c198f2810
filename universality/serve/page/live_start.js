// Tabs of the live views, and what the pages of pairs and features gain.
{
  const list = document.querySelector(".views ul");
  const tab = (view, text) => el("li", {}, el("a", {href: `#explore/${view}`, "data-view": view}, text));
  list.append(tab("text", "Try a text"), tab("search", "All features"));
  const extend = (view, more) => {
    const show = view.show;
    view.show = async (index, parts, query) => {
      const [shown, added] = await Promise.all([show(index, parts, query), more(index, parts, query)]);
      if (!added) return shown;
      const {ready, leave} = shown;
      return {...shown, nodes: [...shown.nodes, ...added.nodes], ready() { ready?.(); added.ready?.(); }, leave() { leave?.(); added.leave?.(); }};
    };
  };
  extend(VIEWS.find(({matches}) => matches(["pair", "0"])), async (index, parts) => {
    const i = Number(parts[1]), pairs = await loadPairs(index);
    if (!Number.isInteger(i) || i < 0 || i >= index.n_pairs) return null;
    const text = lastText === null ? index.href(`explore/text?pair=${i}`) : textHref(index, lastText, {pair: i});
    return {nodes: [el("p", {class: "steps live-links"}, "Live: ", el("a", {href: text}, "this pair on a text of yours"),
      ...[pairs.row[i], pairs.col[i]].map((feature, which) => el("a", {href: featureHref(index, index.sides[which], feature)}, "steer ", bdi(index.models[which]), ` #${feature}`)))]};
  });
  extend(VIEWS.find(({matches}) => matches(["feature", "A", "0"])), async (index, parts, query) => {
    const {study} = index, place = sideNamed(study, parts[1]), feature = featureNumber(study.sides[place], parts[2]);
    const compared = comparisonWith(index, place);
    return liveFeature(compared, compared.sides.indexOf(study.sides[place]), feature, query);
  });
  route(); // the page may have been opened at a live view
}
