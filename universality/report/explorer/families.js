// Families: nodes of all widths are numbered together; each node stores its heaviest parent.
const tokensOf = (grown, node) => grown.tokens.subarray(grown.shown * node, grown.shown * (node + 1));
const levelOf = (grown, node) => grown.starts.findLastIndex((start) => start <= node);
function ancestors(grown, node) {
  const chain = [];
  for (let up = grown.parent[node]; up >= 0; up = grown.parent[up]) chain.unshift(up);
  return chain;
}
function familyHref(index, grown, side, node) {
  const level = levelOf(grown, node);
  return index.href(`family/${encodeURIComponent(side.name)}/${level}/${node - grown.starts[level]}`);
}
const familyLink = (index, grown, side, node) => el("a", {href: familyHref(index, grown, side, node)}, numberOf(grown, node));
// The sign of a feature that is new at its width or has several parents.
const stateChip = (grown, node) => STATUS_SIGNS[nodeState(grown, node)] ? [" ", el("span", {class: "state", title: STATUS_SIGNS[nodeState(grown, node)]}, nodeState(grown, node))] : null;
// Adds children in the tree, other parents in the graph, and family sizes; computed once per model.
function linked(grown) {
  if (grown.children) return grown;
  const n = grown.parent.length;
  grown.children = new Map();
  grown.others = new Map();
  grown.other_edge = new Map(); // "parent child" → place among the edges that are not in the tree
  grown.size = new Int32Array(n).fill(1);
  for (let node = n - 1; node >= 0; node--) {
    const up = grown.parent[node];
    if (up < 0) continue;
    grown.size[up] += grown.size[node];
    if (!grown.children.has(up)) grown.children.set(up, []);
    grown.children.get(up).push(node);
  }
  for (const children of grown.children.values()) children.sort((x, y) => grown.weight[y] - grown.weight[x]);
  grown.more_child.forEach((child, k) => {
    if (!grown.others.has(child)) grown.others.set(child, []);
    grown.others.get(child).push(grown.more_parent[k]);
    grown.other_edge.set(`${grown.more_parent[k]} ${child}`, k);
  });
  return grown;
}

async function showFamilies(index, parts, query) {
  const grownSides = index.study.sides.filter(({files}) => files.includes("families"));
  const side = grownSides.find(({name}) => name === (query.get("model") ?? index.models[0])) ?? grownSides[0];
  if (!side) throw new Error("this run has no families, which need dictionaries of two widths or more");
  const [grown, words, labels] = [linked(await loadSide(side, "families")), await load("words"), await familyLabels(side)];
  const MOST = 200;
  const roots = Array.from(grown.parent.keys()).filter((node) => grown.parent[node] < 0 && grown.size[node] > 1).sort((x, y) => grown.size[y] - grown.size[x]);
  const list = el("ul", {class: "families"}), count = el("output", {role: "status"});
  const box = el("input", {type: "search", id: "search", placeholder: labels ? "token, kind or label of the root" : "token or kind of the root"});
  const draw = () => {
    const wanted = box.value.trim().toLowerCase();
    const holds = (text) => text !== undefined && (text.toLowerCase().includes(wanted) || marked(text).toLowerCase().includes(wanted));
    const matches = roots.filter((node) => !wanted || labelMatches(labels, labels?.at.get(node), wanted) || holds(index.kinds[grown.kind[node]]) || [...tokensOf(grown, node)].some((id) => id >= 0 && holds(words[id])));
    count.textContent = `${whole(matches.length)} families of two features or more${matches.length > MOST ? `, the largest ${MOST} shown` : ""}`;
    list.replaceChildren(...matches.slice(0, MOST).map((node) => el("li", {}, familyLink(index, grown, side, node), ` ${whole(grown.size[node])} features `, bdi(index.kinds[grown.kind[node]] ?? ""), " ", chips(words, tokensOf(grown, node)), labelLine(index, labels, labels?.at.get(node)), splitLine(index, grown, labels, node))));
  };
  box.addEventListener("input", draw);
  const models = grownSides.map((one) => el("a", {href: index.href(`explore/families?model=${encodeURIComponent(one.name)}`), "aria-current": one === side ? "true" : null}, bdi(one.name)));
  return {
    title: "Families", everything: true,
    nodes: [heading("Families of ", bdi(side.name)), el("p", {}, "Features that have no parent, with their descendants in wider dictionaries. Model: ", models.flatMap((link) => [link, " "])),
      el("div", {class: "tools"}, el("label", {for: "search"}, "Search"), box, count), list],
    ready: draw,
  };
}

async function showFamily(index, parts, query) {
  const {study} = index, side = study.sides.find(({name, files}) => name === parts[1] && files.includes("families"));
  if (!side) throw new Error(`there are no families of ${parts[1]}`);
  const compared = comparisonWith(index, study.sides.indexOf(side)), which = compared.sides.indexOf(side);
  const [grown, words, pairs, labels] = await Promise.all([loadSide(side, "families").then(linked), load("words"), loadPairs(compared), familyLabels(side)]);
  const level = Number(parts[2]), feature = Number(parts[3]), node = grown.starts[level] + feature;
  if (!(feature >= 0 && feature < grown.widths[level])) throw new Error(`there is no feature ${parts[3]} at level ${parts[2]}`);
  const up = ancestors(grown, node), form = query.get("as") === "graph" ? "graph" : "icicle";
  const pictures = await familyPictures({index: compared, side, which, grown, words, labels, pairs, root: node, form});
  const tree = el("ul", {class: "tree"}, branch(node, 2));
  function branch(member, open) {
    const children = grown.children.get(member) ?? [], others = grown.others.get(member) ?? [];
    const at = levelOf(grown, member), last = at === grown.widths.length - 1;
    const pair = last ? pairs[which ? "col" : "row"].indexOf(member - grown.starts[at]) : -1;
    const line = [familyLink(index, grown, side, member), " ", bdi(index.kinds[grown.kind[member]] ?? ""), " ", chips(words, tokensOf(grown, member)),
      stateChip(grown, member), " ", el("small", {}, `fires ${whole(grown.count[member])} times`, grown.parent[member] >= 0 && member !== node ? `, weight ${fixed(grown.weight[member])}${supportOf(grown.support[member])}${effectOf(grown.effect?.[member])}` : ""),
      pair >= 0 ? [" ", el("a", {href: compared.href(`pair/${pair}`)}, `pair ${pair}`)] : null,
      labelLine(index, labels, labels?.at.get(member)), splitLine(index, grown, labels, member),
      others.length ? [" further parents: ", others.flatMap((other) => [familyLink(index, grown, side, other), " "])] : null].flat();
    if (!children.length) return el("li", {}, el("div", {class: "leaf"}, line));
    const inside = el("ul"), details = el("details", {}, el("summary", {}, el("span", {}, `${whole(grown.size[member] - 1)} below`)), inside);
    details.addEventListener("toggle", () => { if (details.open && !inside.children.length) inside.append(...children.map((child) => branch(child, open - 1))); });
    details.open = open > 0;
    if (open > 0) inside.append(...children.map((child) => branch(child, open - 1)));
    return el("li", {}, el("div", {class: "leaf"}, line), details);
  }
  const all = (open) => {
    let others;  // opening an item adds its children, which are opened in the next round
    while ((others = [...tree.querySelectorAll("details")].filter((details) => details.open !== open)).length) for (const details of others) {
      details.open = open;
      details.dispatchEvent(new Event("toggle"));
    }
  };
  return {
    everything: true,
    title: `Family of ${side.name} ${grown.widths[level]}/${feature}`,
    nodes: [
      heading("Family of ", bdi(side.name), ` ${whole(grown.widths[level])}/${feature}`),
      el("p", {}, el("a", {href: index.href(`explore/families?model=${encodeURIComponent(side.name)}`)}, "all families"), up.length ? " · ancestors: " : " · this is the root", up.flatMap((ancestor) => [familyLink(index, grown, side, ancestor), " "])),
      ...pictures,
      el("h2", {}, "All features"),
      el("p", {class: "tools"}, el("button", {type: "button", onclick: () => all(true)}, "Open all"), el("button", {type: "button", onclick: () => all(false)}, "Close all"),
        el("span", {class: "hint"}, "select a feature's number to make it the root of the tree")),
      tree,
    ],
  };
}
VIEWS.push({tab: "families", matches: (parts) => parts[0] === "explore" && parts[1] === "families", show: showFamilies});
VIEWS.push({tab: "families", matches: (parts) => parts[0] === "family", show: showFamily});
