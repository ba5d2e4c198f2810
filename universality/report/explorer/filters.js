// Conditions on the columns of a table, and views saved under a name. A view is a part of the hash: search, conditions, order.
const SIGNS = {ge: "≥", le: "≤"};
const NUMERIC = (column) => column.value && typeof column.value(0) === "number" && column.key !== "pair";
const numericColumn = (columns, key) => columns.find((one) => one.key === key && NUMERIC(one));
// "held_out.ge.0.7" → {key, sign, bound}; null for anything else.
function condition(text) {
  const found = /^(\w+)\.(ge|le)\.(-?[\d.]+(?:e[+-]?\d+)?)$/.exec(text);
  return found && Number.isFinite(Number(found[3])) ? {key: found[1], sign: found[2], bound: Number(found[3])} : null;
}
const written = ({key, sign, bound}) => `${key}.${sign}.${bound}`;
function meets(order, conditions, columns) {
  const tests = conditions.map(({key, sign, bound}) => ({column: numericColumn(columns, key), sign, bound}));
  return tests.length ? order.filter((i) => tests.every(({column, sign, bound}) => {
    const x = column?.value(i);  // a missing number, or column, meets no condition
    return known(x) && (sign === "ge" ? x >= bound : x <= bound);
  })) : order;
}

// The quarter of the pairs whose feature fires least.
function rarest(counts) {
  const rising = Array.from(counts).sort((x, y) => x - y);
  return rising[Math.floor(rising.length / 4)] ?? 0;
}
// Views that many readers ask for, as far as the run measured what they need.
function usualViews(index, pairs) {
  const [a, b] = index.models, rare = rarest(pairs.count_a);
  const views = [{name: "shared though rare", what: `r ≥ 0.7, and ${a}'s feature fires at most ${whole(rare)} times, as a quarter of them do`, where: ["held_out.ge.0.7", `count_a.le.${rare}`]}];
  [[a, b, "a"], [b, a, "b"]].forEach(([own, other, letter], k) => {
    if (index.ceilings[k]) views.push({name: `stable in ${own}, absent in ${other}`, what: `a second SAE of ${own} has the feature (ceiling ≥ 0.7), the partner in ${other} does not resemble it (r ≤ 0.3)`, where: [`ceiling_${letter}.ge.0.7`, "held_out.le.0.3"]});
  });
  if (pairs.effect_r) views.push({name: "same firing, other effect", what: "r of activations ≥ 0.7, r of effects ≤ 0.3 over at least 100 tokens where both fire", where: ["held_out.ge.0.7", "effect_r.le.0.3", "effect_n.ge.100"]});
  return views;
}

// Names that the reader gave to views, kept by the browser; none where it keeps nothing.
const KEPT = "universality views";
function keptViews() {
  try { return JSON.parse(localStorage.getItem(KEPT) ?? "[]").filter(({name, query}) => typeof name === "string" && typeof query === "string"); } catch { return []; }
}
function keepViews(views) {
  try { localStorage.setItem(KEPT, JSON.stringify(views)); return true; } catch { return false; }
}

// The controls above a table. `state` holds q, where, sort, falling; `apply(query)` shows another state.
function filterBar(columns, usual, state, changed, apply) {
  const numeric = columns.filter(NUMERIC), said = el("output", {class: "hint", role: "status"});
  const same = (where) => where.length === state.where.length && where.every((one) => state.where.some((other) => written(other) === one));
  const rows = el("div", {class: "conditions"}), presets = el("div", {class: "presets", role: "group", "aria-label": "Views"});

  function drawPresets() {
    const kept = keptViews();
    presets.replaceChildren(
      el("button", {type: "button", "aria-pressed": String(!state.where.length && !state.q), onclick: () => apply(new URLSearchParams())}, "all"),
      ...usual.map(({name, what, where}) => el("button", {type: "button", title: what, "aria-pressed": String(same(where)), onclick: () => apply(new URLSearchParams(where.map((one) => ["where", one])))}, name)),
      ...kept.map(({name, query}) => el("span", {class: "kept"}, el("button", {type: "button", title: query, onclick: () => apply(new URLSearchParams(query))}, bdi(name)),
        el("button", {type: "button", "aria-label": `Forget the view ${name}`, onclick: () => { keepViews(keptViews().filter((one) => one.name !== name)); drawPresets(); }}, "×"))));
    const chosen = usual.find(({where}) => same(where));
    const absent = state.where.map(({key}) => key).filter((key) => !numericColumn(columns, key));
    about.textContent = [
      chosen ? `${chosen.name}: ${chosen.what}` : "",
      absent.length ? `This comparison has no numbers called ${absent.join(", ")}, so that no pair meets a condition on them.` : "",
      state.unread.length ? `Left out, since they are no conditions: ${state.unread.join(", ")}.` : "",
    ].filter(Boolean).join(" ");
  }
  function drawRows() {
    rows.replaceChildren(...state.where.map((one, k) => {
      const set = (change) => { Object.assign(one, change); changed(); drawPresets(); };
      const column = el("select", {"aria-label": `Column of condition ${k + 1}`}, [...numericColumn(columns, one.key) ? [] : [{key: one.key, name: one.key}], ...numeric].map(({key, name}) => el("option", {value: key, selected: key === one.key}, name)));
      const sign = el("select", {"aria-label": `Sign of condition ${k + 1}`}, Object.entries(SIGNS).map(([key, text]) => el("option", {value: key, selected: key === one.sign}, text)));
      const bound = el("input", {type: "number", step: "any", value: one.bound, "aria-label": `Bound of condition ${k + 1}`});
      column.addEventListener("change", () => set({key: column.value}));
      sign.addEventListener("change", () => set({sign: sign.value}));
      bound.addEventListener("input", () => { if (bound.value !== "" && Number.isFinite(Number(bound.value))) set({bound: Number(bound.value)}); });
      return el("span", {class: "condition"}, column, sign, bound, el("button", {type: "button", "aria-label": `Remove condition ${k + 1}`, onclick: () => { state.where.splice(k, 1); drawRows(); changed(); drawPresets(); }}, "×"));
    }));
  }
  const about = el("p", {class: "hint about", role: "status"});
  const add = el("button", {type: "button", onclick: () => { state.where.push({key: "held_out", sign: "ge", bound: 0.5}); drawRows(); changed(); drawPresets(); rows.lastElementChild.firstElementChild.focus(); }}, "add a condition");
  const name = el("input", {type: "text", id: "view-name", maxlength: 60, placeholder: "name of this view"});
  const save = () => {
    const text = name.value.trim();
    if (!text) { said.textContent = "give the view a name"; name.focus(); return; }
    const done = keepViews([...keptViews().filter((one) => one.name !== text), {name: text, query: viewQuery(state).toString()}]);
    said.textContent = done ? `${text}: saved in this browser` : "this browser saves nothing for this page; copy the link instead";
    name.value = "";
    drawPresets();
  };
  name.addEventListener("keydown", (event) => { if (event.key === "Enter") save(); });
  const copy = async () => {
    try { await navigator.clipboard.writeText(location.href); said.textContent = "link copied"; } catch { said.textContent = "copy the address of this page: it holds the view"; }
  };
  drawPresets();
  drawRows();
  return {
    nodes: [el("div", {class: "tools views-bar"}, el("span", {}, "Views"), presets), about,
      el("details", {class: "filter", open: state.where.length > 0}, el("summary", {}, "Conditions, saved views and link"),
        el("div", {class: "tools"}, rows, add),
        el("div", {class: "tools"}, el("label", {for: "view-name"}, "Save as"), name, el("button", {type: "button", onclick: save}, "save"), el("button", {type: "button", onclick: copy}, "copy link"), said))],
    refresh: drawPresets,
  };
}

// State of a table and the part of the hash that holds it.
function viewState(query, sort) {
  return {
    sort: query.get("sort") ?? sort, falling: query.get("up") === null, q: query.get("q") ?? "",
    where: query.getAll("where").map(condition).filter(Boolean), unread: query.getAll("where").filter((text) => !condition(text)), usualSort: sort,
  };
}
function viewQuery({q, where, sort, falling, usualSort}) {
  const now = new URLSearchParams();
  if (q) now.set("q", q);
  for (const one of where) now.append("where", written(one));
  if (sort !== usualSort) now.set("sort", sort);
  if (!falling) now.set("up", "");
  return now;
}
