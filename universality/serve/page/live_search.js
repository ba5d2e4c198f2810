// Search through all features of both models, matched or not.
async function showSearch(index, _, query) {
  const box = el("input", {type: "search", id: "wanted", placeholder: "label, token, kind or number", maxlength: 200, "aria-describedby": "found"}), status = el("output", {role: "status", id: "found"});
  const shown = el("div", {class: "sides"}), asking = asker(index);
  const text = el("textarea", {id: "example", rows: 2, maxlength: 8000, spellcheck: "false", dir: "auto"});
  let timer = 0;
  box.value = query.get("q") ?? "";
  async function find() {
    const wanted = box.value.trim();
    setAddress(index.href(wanted ? `explore/search?${new URLSearchParams({q: wanted})}` : "explore/search"));
    if (!wanted) { asking.stop(); status.textContent = ""; shown.replaceChildren(); return; }
    try {
      const answer = await asking.ask(`search?${new URLSearchParams({q: wanted})}`);
      if (!answer) return;
      status.textContent = answer.sides.map(({n}, k) => `${whole(n)} of ${index.models[k]}`).join(", ");
      shown.replaceChildren(...answer.sides.map((side, k) => foundFeatures(index, answer, side, k)));
    } catch (error) { status.textContent = ""; shown.replaceChildren(trouble(error)); }
  }
  box.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(find, WAIT); });
  const tryText = (event) => { event.preventDefault(); if (text.value) location.hash = textHref(index, text.value); };
  return {
    title: "All features",
    nodes: [
      heading("All features"),
      el("p", {class: "hint"}, "Features of both models, with a partner or without."),
      el("div", {class: "tools"}, el("label", {for: "wanted"}, "Search"), box, status), shown,
      el("h2", {}, "By example"),
      el("form", {onsubmit: tryText}, el("p", {}, el("label", {for: "example"}, "A text on which the feature should fire; then mark the tokens")), text, el("p", {class: "tools"}, el("button", {type: "submit"}, "Find"))),
    ],
    ready: find,
    leave() { clearTimeout(timer); asking.stop(); },
  };
}
function foundFeatures(index, {words, most}, side, which) {
  const title = `found-${which}`;
  return el("section", {"aria-labelledby": title}, el("h2", {id: title}, bdi(index.models[which])),
    el("ul", {class: "near"}, side.features.map((one) => el("li", {}, featureLink(index, which, one.feature), " ", about(words, one), " ",
      el("small", {}, `by ${one.by}; fires on ${percent(one.density, 2)} of tokens`, one.kind ? [", most on ", bdi(one.kind)] : null, one.pair < 0 ? "; no partner" : null)))),
    side.n > most ? el("p", {class: "hint"}, `The first ${whole(most)} of ${whole(side.n)}.`) : null);
}
VIEWS.push({tab: "search", matches: (parts) => parts[0] === "explore" && parts[1] === "search", show: showSearch});
