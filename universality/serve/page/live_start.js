// Tabs of the live views, and links from the page of a pair to them.
{
  const list = document.querySelector(".views ul");
  const tab = (view, text) => el("li", {}, el("a", {href: `#${view}`, "data-view": view}, text));
  list.append(tab("text", "Try a text"), tab("search", "All features"));
  const pairView = VIEWS.find(({matches}) => matches(["pair", "0"])), show = pairView.show;
  pairView.show = async (index, parts, query) => {
    const shown = await show(index, parts, query), {pair, features} = await ask(`pair/${Number(parts[1])}`);
    const text = lastText === null ? "#text" : textHref(lastText, {pair});
    shown.nodes.splice(2, 0, el("p", {class: "steps live-links"}, "Live: ", el("a", {href: text}, "on a text of yours"),
      ...[0, 1].map((which) => el("a", {href: featureHref(which, features[which])}, bdi(index.models[which]), ` #${features[which]}`, ": steer and neighbours"))));
    return shown;
  };
  route(); // the page may have been opened at a live view
}
