// Views: hashes like #pair/12 or #explore/pairs?q=hebrew select one; any other hash shows the report.
const VIEWS = [];
let leaving = () => {};
function parse(hash) {
  const [path, query = ""] = hash.replace(/^#/, "").split("?");
  let parts = [];
  try { parts = path.split("/").map(decodeURIComponent); } catch { /* a stray percent sign selects no view */ }
  return {parts, query: new URLSearchParams(query)};
}
async function route() {
  const hash = location.hash, {parts, query} = parse(hash);
  const view = VIEWS.find(({matches}) => matches(parts));
  const report = document.getElementById("report"), explorer = document.getElementById("explorer");
  leaving();
  leaving = () => {};
  const was = report.hidden;
  report.hidden = Boolean(view);
  explorer.hidden = !view;
  for (const link of document.querySelectorAll(".views a"))
    link.toggleAttribute("aria-current", view ? view.tab === link.dataset.view : link.dataset.view === "report");
  for (const link of document.querySelectorAll(".views a[aria-current]")) link.setAttribute("aria-current", "page");
  document.querySelector(".others")?.toggleAttribute("hidden", Boolean(view));
  if (!view) {
    explorer.dataset.shows = "";
    if (was) document.getElementById(parts[0])?.scrollIntoView();
    return;
  }
  explorer.setAttribute("aria-busy", "true");
  const mine = route.number = (route.number ?? 0) + 1;
  const done = () => { explorer.removeAttribute("aria-busy"); explorer.dataset.shows = hash; };
  try {
    const index = comparisonOf(await load("index"), query);
    const shown = await view.show(index, parts, query);
    if (mine !== route.number) return;  // another view was requested meanwhile
    done();
    explorer.replaceChildren(...chooser(index, shown, parts), ...shown.nodes);
    keepComparison(index);
    leaving = shown.leave ?? leaving;
    shown.ready?.();
    document.title = `${shown.title}: ${index.study.title}`;
    if (shown.focus !== false) explorer.querySelector("h1")?.focus({preventScroll: true});
    if (shown.focus !== false) scrollTo(0, 0);
  } catch (error) {
    if (mine !== route.number) return;
    done();
    explorer.replaceChildren(missing("This view cannot be shown", `${error.message}.`));
  }
}
const heading = (...text) => el("h1", {tabindex: "-1"}, ...text);
const missing = (title, text) => el("div", {class: "warnings", role: "note"}, el("h1", {tabindex: "-1"}, title), el("p", {}, text));
