// Three models or more (or SAE seeds of one): how alike each two are, and the features that several of them have.
async function showCompare(index, _, query) {
  const {study} = index, models = modelsOf(study);
  const shared = study.groups ? await groupTable(index, models, query) : {nodes: [el("p", {class: "hint"}, "Features found in several models are listed once every two of three or more are matched.")]};
  return {
    title: "Compare", everything: true,
    nodes: [heading(`${whole(models.length)} dictionaries compared`), likenessTable(study, models), ...shared.nodes],
    ready: shared.ready, leave: shared.leave,
  };
}
const modelsOf = (study) => study.sides.map((side, place) => ({...side, place}));

// Share of each row's features with a partner in each column's model; the darker, the more.
function likenessTable(study, models) {
  const cell = (a, b) => {
    if (a === b) return el("td", {class: "self"}, "–");
    const found = between(study, a.place, b.place);
    if (!found) return el("td", {}, "–");
    const share = found.found.shares[0], level = known(share) ? share : 0;
    return el("td", {class: "likeness", style: {"--s": level}}, el("a", {href: hrefOf(study, found.found, "explore/pairs"), "aria-label": `${a.name} and ${b.name}: ${percent(share)}, median r ${fixed(found.found.median)}`}, percent(share)));
  };
  return el("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": "Every two compared"}, el("table", {class: "matrix"},
    el("caption", {}, "Share of living features with a partner at r ≥ 0.5 on held-out text, of the first of the two models. Each opens the pairs."),
    el("thead", {}, el("tr", {}, el("td"), models.map(({name}) => el("th", {scope: "col"}, bdi(name))))),
    el("tbody", {}, models.map((a) => el("tr", {}, el("th", {scope: "row"}, bdi(a.name)), models.map((b) => cell(a, b)))))));
}

// Loads the groups with the kind and tokens of each member.
async function loadGroups(study) {
  const groups = await load("groups");
  groups.about ??= await Promise.all(study.sides.map((side) => loadSide(side, "about")));
  groups.labels ??= await Promise.all(study.sides.map((side) => fileOf(side, "labels")));
  const n_models = study.sides.length, n = groups.score.length;
  groups.n ??= n;
  groups.size ??= Int16Array.from({length: n}, (_, g) => memberList(groups, n_models, g).length);
  return groups;
}
function memberList(groups, n_models, g) {
  return [...groups.members.subarray(n_models * g, n_models * (g + 1))].map((feature, place) => ({feature, place})).filter(({feature}) => feature >= 0);
}

async function groupTable(index, models, query) {
  const {study} = index, [groups, words] = await Promise.all([loadGroups(study), load("words")]);
  const n_models = study.sides.length, member = (g, place) => groups.members[n_models * g + place];
  const first = (g) => memberList(groups, n_models, g)[0];
  const kindOf = (g) => study.kinds[groups.about[first(g).place].kind[first(g).feature]] ?? "";
  const tokens = (g) => { const {feature, place} = first(g); return groups.about[place].tokens.subarray(study.tokens_shown * feature, study.tokens_shown * (feature + 1)); };
  const shown = [
    {key: "group", name: "group", value: (g) => g, text: (g) => el("a", {href: `#group/${g}`}, String(g))},
    {key: "models", name: "models", value: (g) => groups.size[g], text: (g) => `${groups.size[g]} of ${n_models}`, what: "models with a feature in the group"},
    {key: "score", name: "mean r", value: (g) => groups.score[g], what: "mean held-out r of the group's matched pairs",
     text: (g) => [el("span", {class: "bar", style: {"--r": Math.max(0, groups.score[g])}}), fixed(groups.score[g])]},
    {key: "agreement", name: "agreement", value: (g) => groups.agreement[g], text: (g) => percent(groups.agreement[g]), what: "share of the group's pairs of models that are each other's partners"},
    {key: "kind", name: "kind", left: true, value: kindOf, text: (g) => bdi(kindOf(g) || "–")},
    {key: "tokens", name: "top tokens", left: true, value: (g) => words[tokens(g)[0]] ?? "", text: (g) => chips(words, tokens(g))},
    ...models.map(({name, place}) => ({key: `in_${place}`, name, value: (g) => member(g, place) >= 0 ? member(g, place) : NaN, what: `feature of ${name}`,
      text: (g) => member(g, place) >= 0 ? el("a", {href: featureHref(index, study.sides[place], member(g, place))}, `#${member(g, place)}`) : "–"})),
  ];
  const state = viewState(query, "models"), presence = parsePresence(query.get("in") ?? "", n_models);
  let column = shown.find(({key}) => key === state.sort) ?? shown[1], all = sorted(groups.n, column, state.falling);
  const count = el("output", {role: "status", id: "found"});
  const box = el("input", {type: "search", id: "search", placeholder: "token or kind", value: state.q, "aria-describedby": "found"});
  const table = virtualTable({caption: "Groups of features", label: "Table of groups; arrow keys move from group to group", shown, n: groups.n, open: (g) => `#group/${g}`, onSort: sortBy});
  function sortBy(chosen) {
    state.falling = chosen === column ? !state.falling : !chosen.left;
    [column, state.sort] = [chosen, chosen.key];
    all = sorted(groups.n, column, state.falling);
    find();
  }
  function find() {
    const wanted = state.q.trim().toLowerCase(), holds = (text) => text !== undefined && (text.toLowerCase().includes(wanted) || marked(text).toLowerCase().includes(wanted));
    const word = wanted ? Uint8Array.from(words, holds) : null;
    const labelled = (g) => memberList(groups, n_models, g).some(({feature, place}) => labelMatches(groups.labels[place], feature, wanted));
    const order = all.filter((g) => presence.every((state, place) => state === "?" || (member(g, place) >= 0) === (state === "+"))
      && (!wanted || holds(kindOf(g)) || [...tokens(g)].some((id) => word[id]) || labelled(g)));
    count.textContent = `${whole(order.length)} of ${whole(groups.n)} groups`;
    table.show(order, column, state.falling);
    const now = viewQuery(state);
    if (presence.some((one) => one !== "?")) now.set("in", presence.join(""));
    history.replaceState(null, "", `#explore/compare${String(now) && `?${now}`}`);
  }
  box.addEventListener("input", () => { state.q = box.value; find(); });
  const noSlash = slashFocuses(box);
  return {
    nodes: [el("h2", {}, "Features found in several models"),
      el("p", {class: "hint"}, `Groups of partners at r ≥ ${groups.least} with at most one feature of each model, joined from the best pair down.`),
      el("div", {class: "tools"}, el("label", {for: "search"}, "Search"), box, count),
      presenceBar(models, presence, find), table.node],
    ready: find,
    leave() { noSlash(); table.leave(); },
  };
}
// For each model: + in the group, - not in it, ? either; kept in the hash as one letter a model. A plus that was typed, or
// that a messenger decoded, is read as a space.
const parsePresence = (text, n) => Array.from({length: n}, (_, k) => ({"+": "+", " ": "+", "-": "-"})[text[k]] ?? "?");
function presenceBar(models, presence, changed) {
  const names = {"?": "either", "+": "present", "-": "absent"};
  const selects = models.map(({name, place}) => {
    const select = el("select", {id: `in-${place}`}, Object.entries(names).map(([value, text]) => el("option", {value, selected: presence[place] === value}, text)));
    select.addEventListener("change", () => { presence[place] = select.value; changed(); });
    return el("span", {class: "condition"}, el("label", {for: `in-${place}`}, bdi(name)), select);
  });
  return el("details", {class: "filter", open: presence.some((one) => one !== "?")}, el("summary", {}, "Present in, absent in"), el("div", {class: "tools"}, selects));
}
VIEWS.push({tab: "compare", matches: (parts) => parts[0] === "explore" && parts[1] === "compare", show: showCompare});

// One group: the feature of every model that has one, side by side.
async function showGroup(index, parts) {
  const {study} = index, g = Number(parts[1]), groups = study.groups ? await loadGroups(study) : null;
  if (!groups || !Number.isInteger(g) || g < 0 || g >= groups.n) throw new Error(`there is no group ${parts[1]}${groups ? `: groups are numbered 0 to ${groups.n - 1}` : ": groups need three models, every two of which were matched"}`);
  const members = memberList(groups, study.sides.length, g);
  const [words, ...opened] = await Promise.all([load("words"), ...members.map(({feature, place}) => openFeature(study, study.sides[place], feature))]);
  const partners = await Promise.all(members.map(({feature, place}) => partnersOf(study, place, feature)));
  const cell = (a, b) => {
    if (a === b) return el("td", {class: "self"}, "–");
    const {found, swapped} = between(study, members[a].place, members[b].place) ?? {};
    const of = found && partners[a].find(({index: one}) => one.name === found.name);
    if (!of || of.i < 0 || of.partner !== members[b].feature) return el("td", {title: "not each other's partners"}, "no");
    const r = of.pairs.held_out[of.i];
    return el("td", {class: "likeness", style: {"--s": Math.max(0, r || 0)}}, el("a", {href: of.index.href(`pair/${of.i}`)}, fixed(r)));
  };
  const name = ({place, feature}) => [bdi(study.sides[place].name), ` #${feature}`];
  const step = (to, text) => el("a", {href: to >= 0 && to < groups.n ? `#group/${to}` : null, "aria-disabled": to >= 0 && to < groups.n ? null : "true"}, text);
  return {
    title: `Group ${g}`, everything: true,
    nodes: [el("p", {class: "steps"}, step(g - 1, "← previous"), " ", el("a", {href: "#explore/compare"}, "all groups"), " ", step(g + 1, "next →")),
      heading(`Group ${g}: in ${members.length} of ${study.sides.length}`),
      el("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": "r of the group's pairs"}, el("table", {class: "matrix"},
        el("caption", {}, "Held-out r of each two that are partners; “no”: matched to others"),
        el("thead", {}, el("tr", {}, el("td"), members.map((one) => el("th", {scope: "col"}, name(one))))),
        el("tbody", {}, members.map((one, a) => el("tr", {}, el("th", {scope: "row"}, name(one)), members.map((_, b) => cell(a, b))))))),
      el("div", {class: "sides"}, opened.map((one, k) => featureCard(index, words, one, `side-${k}`)))],
  };
}
VIEWS.push({tab: "compare", matches: (parts) => parts[0] === "group", show: showGroup});
