// Pictures of a family: an icicle, whose blocks open the family below them, and a graph with every edge.
const MOST_NODES = 300, TALL = 62, GAP = 4, MARGIN = 56, WIDE = 1016;
const STATUS_SIGNS = {novel: "novel: no parent in the narrower dictionary", absorbed: "absorbed: its parent is silent where it fires", merged: "merged: two parents or more"};

// The tree below a node, in drawing order: {node, level, from, to} with places among the leaves, at most MOST_NODES of them.
function laidOut(grown, root) {
  const kept = new Set(largestMembers(grown, root)), members = [];
  let leaf = 0;
  const place = (node) => {
    const one = {node, level: levelOf(grown, node), from: leaf, to: 0};
    members.push(one);
    const children = (grown.children.get(node) ?? []).filter((child) => kept.has(child));
    if (children.length) children.forEach(place); else leaf++;
    one.to = leaf;
  };
  place(root);
  return {members, n_leaves: leaf, hidden: grown.size[root] - members.length, at: new Map(members.map((one) => [one.node, one]))};
}
// Breadth first, so that what is left out is the farthest from the root; the largest children of each first.
function largestMembers(grown, root) {
  const members = [root];
  for (let k = 0; k < members.length && members.length < MOST_NODES; k++)
    members.push(...[...(grown.children.get(members[k]) ?? [])].sort((x, y) => grown.size[y] - grown.size[x]).slice(0, MOST_NODES - members.length));
  return members;
}
function nodeState(grown, node) {
  if ((grown.others.get(node) ?? []).length) return "merged";
  return grown.statuses?.[grown.status[node]] ?? "";
}
function nodeName(index, grown, words, labels, node) {
  const label = labelText(labels, labels?.at.get(node));
  if (label) return label;
  return [...tokensOf(grown, node)].filter((id) => id >= 0).map((id) => marked(words[id])).join(" ");
}
const supportOf = (value) => value < 0 ? "" : `, support ${percent(value / 100)}`;
// r of parent's and child's effects where both fire; -128 where they were not compared.
const effectOf = (value) => value === undefined || value === -128 ? "" : `, r of effects where both fire ${fixed(value / 100)}`;
function nodeTitle(index, grown, words, labels, node, partner) {
  const level = levelOf(grown, node), state = nodeState(grown, node);
  const parent = grown.parent[node] >= 0 ? `, weight of its edge ${fixed(grown.weight[node])}${supportOf(grown.support[node])}${effectOf(grown.effect?.[node])}` : "";
  const kind = index.kinds[grown.kind[node]];
  return `${whole(grown.widths[level])}/${node - grown.starts[level]}: ${nodeName(index, grown, words, labels, node)}${kind ? `; ${kind}` : ""}${parent}${STATUS_SIGNS[state] ? `; ${STATUS_SIGNS[state]}` : ""}${partner ? `; ${partner}` : ""}`;
}

// One picture in two forms. `colour(node)` is a fill or null, `told(node)` adds to the title.
function familyFigure({index, side, grown, words, labels, root, form, colour, told}) {
  const layout = laidOut(grown, root), levels = [...new Set(layout.members.map(({level}) => level))].sort((x, y) => x - y);
  const link = (node, ...inside) => svg("a", {href: familyHref(index, grown, side, node), class: `node ${nodeState(grown, node)}`, "data-node": node},
    svg("title", {}, nodeTitle(index, grown, words, labels, node, told(node))), ...inside);
  const name = (node) => nodeName(index, grown, words, labels, node);
  const drawn = form === "graph" ? familyGraph(grown, layout, levels, link, name, colour) : familyIcicle(grown, layout, levels, link, name, colour);
  const hint = layout.hidden > 0 ? el("p", {class: "hint"}, `${whole(layout.hidden)} features farthest from the root are left out; open a feature below to see them.`) : null;
  return el("div", {class: "family-figure"}, drawn, hint);
}
const features = (n) => `${whole(n)} ${n === 1 ? "feature" : "features"}`;
const numberOf = (grown, node) => `${whole(grown.widths[levelOf(grown, node)])}/${node - grown.starts[levelOf(grown, node)]}`;

function familyIcicle(grown, {members, n_leaves}, levels, link, name, colour) {
  const high = levels.length * TALL, unit = (WIDE - MARGIN) / n_leaves;
  const block = ({node, level, from, to}) => {
    const x = MARGIN + from * unit, width = (to - from) * unit, y = levels.indexOf(level) * TALL, state = nodeState(grown, node);
    const fits = Math.floor((width - 14) / 7.2);
    return link(node,
      svg("rect", {x: x + 0.75, y: y + 1, width: Math.max(width - 1.5, 0.8), height: TALL - GAP, rx: Math.min(4, width / 4), style: colour(node) ? {fill: colour(node)} : {}}),
      STATUS_SIGNS[state] && width > 8 ? svg("path", {class: "sign", d: `M ${x + 1} ${y + 1} h ${Math.min(12, width - 2)} l ${-Math.min(12, width - 2)} 12 z`}) : [],
      fits >= 3 ? [svg("text", {"aria-hidden": "true", x: x + 8, y: y + 24, class: "number"}, cut(`#${node - grown.starts[level]}`, fits)), svg("text", {"aria-hidden": "true", x: x + 8, y: y + 42}, cut(name(node), fits))] : []);
  };
  const widths = levels.map((level, k) => svg("text", {"aria-hidden": "true", x: 0, y: k * TALL + TALL / 2, class: "width"}, whole(grown.widths[level])));
  return svg("svg", {viewBox: `0 0 ${WIDE} ${high}`, role: "group", "aria-label": "Icicle of the family: each block is a feature, its children below it", class: "icicle"}, widths, members.map(block));
}
const cut = (text, most) => [...text].length <= most ? text : `${[...text].slice(0, Math.max(most - 1, 1)).join("")}…`;

// Levels from left to right; edges as thick as their weight, as dark as their support; edges that are not in the tree dashed.
function familyGraph(grown, {members, n_leaves, at}, levels, link, name, colour) {
  const row = Math.max(16, Math.min(30, 640 / n_leaves)), high = Math.max(n_leaves * row + 16, 60), step = WIDE / levels.length;
  const place = ({level, from, to}) => [levels.indexOf(level) * step + 12, (from + to) / 2 * row + 8];
  const edge = (parent, child, weight, support, effect, further) => {
    const [x, y] = place(at.get(parent)), [u, v] = place(at.get(child)), middle = (x + u) / 2;
    return svg("path", {class: further ? "edge further" : "edge", d: `M ${x} ${y} C ${middle} ${y} ${middle} ${v} ${u} ${v}`,
      style: {"stroke-width": `${(0.5 + 4 * Math.max(weight || 0, 0) ** 2).toFixed(2)}px`, "stroke-opacity": (support < 0 ? 0.6 : 0.15 + 0.85 * support / 100).toFixed(2)}},
    svg("title", {}, `${numberOf(grown, parent)} → ${numberOf(grown, child)}: weight ${fixed(weight)}${supportOf(support)}${effectOf(effect)}${further ? ", a further parent" : ""}`));
  };
  const edges = members.filter(({node}) => at.has(grown.parent[node])).map(({node}) => edge(grown.parent[node], node, grown.weight[node], grown.support[node], grown.effect?.[node], false));
  const further = members.flatMap(({node}) => (grown.others.get(node) ?? []).filter((parent) => at.has(parent)).map((parent) => {
    const k = grown.other_edge.get(`${parent} ${node}`);
    return edge(parent, node, grown.more_weight[k], grown.more_support[k], grown.more_effect?.[k], true);
  }));
  const fits = Math.floor((step - 40) / 7.2);
  const parents = new Set(members.map(({node}) => grown.parent[node]));
  const dots = members.map((one) => {
    const [x, y] = place(one), inner = one.to - one.from > 1, room = (one.to - one.from) * row;
    const rise = inner ? 10 : parents.has(one.node) ? 5 : -4;  // above the edges that leave it
    return link(one.node, svg("circle", {cx: x, cy: y, r: Math.min(6, row / 2.6), style: colour(one.node) ? {fill: colour(one.node)} : {}}),
      room >= 13 ? svg("text", {"aria-hidden": "true", x: inner ? x - 6 : x + 10, y: y - rise}, cut(`${numberOf(grown, one.node)} ${name(one.node)}`, fits)) : []);
  });
  return svg("svg", {viewBox: `0 0 ${WIDE} ${high}`, role: "group", "aria-label": "Graph of the family: features from the narrowest dictionary, left, to the widest, right, with every edge", class: "family-graph"}, further, edges, dots);
}

// The family of the other model whose members resemble those of a family most: largest sum of their pairs' r.
function partnerFamily(grown, root, partners, other, r) {
  const votes = new Map(), top = other.starts[other.widths.length - 1];
  const last = grown.starts[grown.widths.length - 1];
  let matched = 0, members = 0;
  for (const node of membersBelow(grown, root)) {
    if (node < last) continue;
    members++;
    const partner = partners[node - last];
    if (partner < 0) continue;
    matched++;
    let up = top + partner;
    while (other.parent[up] >= 0) up = other.parent[up];
    const so_far = votes.get(up) ?? {n: 0, r: 0};
    votes.set(up, {n: so_far.n + 1, r: so_far.r + Math.max(r(node) || 0, 0)});
  }
  const [best, {n: shared}] = [...votes].sort(([, x], [, y]) => y.r - x.r)[0] ?? [-1, {n: 0}];
  return {root: best, shared, matched, members, elsewhere: matched - shared};
}
function membersBelow(grown, root) {
  const members = [root];
  for (let k = 0; k < members.length; k++) members.push(...(grown.children.get(members[k]) ?? []));
  return members;
}

// The family, and beside it the one of the other model with which it shares most partners.
async function familyPictures({index, side, which, grown, words, labels, pairs, root, form}) {
  if (grown.size[root] < 2) return [];
  const partners = partnerColumn(pairs, which, side.width), own = (node) => partnerOf(grown, partners, node);
  const other = index.sides[1 - which], otherFile = await fileOf(other, "families"), otherGrown = otherFile && linked(otherFile);
  const scored = (pair) => pair >= 0 ? shade(pairs.held_out[pair]) : null;
  const told = (name, number) => (pair) => pair < 0 ? "" : `partner ${name} #${pairs[number][pair]}, r ${fixed(pairs.held_out[pair])}`;
  const ofPartner = told(other.name, which ? "row" : "col"), common = {index, words, form};
  const as = (value, text) => el("a", {href: `${familyHref(index, grown, side, root)}${value === "graph" ? (index.href("x").includes("?") ? "&as=graph" : "?as=graph") : ""}`, "aria-current": form === value ? "true" : null}, text);
  const figure = familyFigure({...common, side, grown, labels, root, colour: (node) => scored(own(node).pair), told: (node) => ofPartner(own(node).pair)});
  const top = el("div", {},
    el("p", {class: "tools"}, el("span", {}, "Picture"), as("icicle", "icicle"), as("graph", "graph"), el("span", {class: "hint"}, "colour: r with the partner in ", bdi(other.name), ", from 0 ", el("span", {class: "ramp sequential"}), " to 1; corners or outlines: novel, absorbed or merged; select a feature to open the family below it")),
    el("h2", {}, bdi(side.name), ` ${numberOf(grown, root)}, ${features(grown.size[root])}`), figure);
  if (!otherGrown || other === side) return [top];
  const found = partnerFamily(grown, root, partners.feature, otherGrown, (node) => pairs.held_out[own(node).pair]);
  if (!found.matched) return [top, el("p", {class: "hint"}, "None of the family's features in the widest dictionary has a partner in ", bdi(other.name), ".")];
  const inside = new Set(membersBelow(grown, root)), last = grown.starts[grown.widths.length - 1];
  const back = partnerColumn(pairs, 1 - which, other.width);
  const shared = (node) => { const {pair, feature} = partnerOf(otherGrown, back, node); return pair >= 0 && inside.has(last + feature) ? pair : -1; };
  const theirs = told(side.name, which ? "col" : "row");
  return [top, el("div", {},
    el("h2", {}, "Partner family: ", el("a", {href: familyHref(index, otherGrown, other, found.root)}, bdi(other.name), ` ${numberOf(otherGrown, found.root)}`), `, ${features(otherGrown.size[found.root])}`),
    el("p", {class: "hint"}, `The family above has ${features(found.members)} in the widest dictionary. Partners in this family of `, bdi(other.name), `: ${whole(found.shared)}; in others: ${whole(found.elsewhere)}; without a partner: ${whole(found.members - found.matched)}. Coloured: the partners of the family above.`),
    familyFigure({...common, side: other, grown: otherGrown, labels: await familyLabels(other), root: found.root, colour: (node) => scored(shared(node)), told: (node) => theirs(shared(node))}))];
}
// For each feature of one side, its pair and its partner; -1 for none.
function partnerColumn(pairs, which, width) {
  const pair = new Int32Array(width).fill(-1), feature = new Int32Array(width).fill(-1);
  const [own, other] = which ? [pairs.col, pairs.row] : [pairs.row, pairs.col];
  own.forEach((number, i) => { pair[number] = i; feature[number] = other[i]; });
  return {pair, feature};
}
function partnerOf(grown, {pair, feature}, node) {
  const number = node - grown.starts[grown.widths.length - 1];
  return number < 0 ? {pair: -1, feature: -1} : {pair: pair[number], feature: feature[number]};
}
