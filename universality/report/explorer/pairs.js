// The table of all matched pairs: columns are typed arrays.
function columns(index, pairs, words, labels, transfer) {
  const [a, b] = index.models, tokens = index.tokens_shown;
  const number = (key, name, text, what) => ({key, name, text: (i) => text(pairs[key][i]), value: (i) => pairs[key][i], what});
  const topTokens = (key, name, width) => ({
    key, name, left: true, width, what: "tokens that hold most of the feature's activation",
    value: (i) => words[pairs[key][tokens * i]] ?? "",
    text: (i) => chips(words, pairs[key].subarray(tokens * i, tokens * (i + 1))),
  });
  const kind = (key, name) => ({key, name, left: true, value: (i) => index.kinds[pairs[key][i]] ?? "", text: (i) => bdi(index.kinds[pairs[key][i]] ?? "–")});
  return [
    {key: "pair", name: "pair", value: (i) => i, text: (i) => el("a", {href: index.href(`pair/${i}`)}, String(i))},
    number("row", `${a} #`, String, `feature of ${a}`), number("col", `${b} #`, String, `feature of ${b}`),
    {key: "held_out", name: "held-out r", value: (i) => pairs.held_out[i], what: "Pearson's r on held-out documents, with its 95% interval over works",
     text: (i) => [el("span", {class: "bar", style: {"--r": Math.max(0, pairs.held_out[i] || 0)}}), fixed(pairs.held_out[i]), " ",
       el("small", {}, known(pairs.ci_low[i]) ? `${fixed(pairs.ci_low[i])} to ${fixed(pairs.ci_high[i])}` : "")]},
    topTokens("tokens_a", `top tokens, ${a}`), topTokens("tokens_b", `top tokens, ${b}`),
    ...labelColumns(index, labels), ...transferColumns(index, transfer),
    number("score", "chosen r", fixed, "r on the documents that were used to choose partners"),
    number("q", `q, ${index.nulls[0] ?? "no null"}`, small, "expected share of false discoveries among this pair and those with a lower q"),
    index.nulls.length > 1 ? number("q_kind", "q within kinds", small, "q against unrelated text of the same kind") : null,
    index.ceilings[0] ? number("ceiling_a", `ceiling, ${a}`, fixed, `r of ${a}'s feature with its partner in a second SAE of ${a}`) : null,
    index.ceilings[1] ? number("ceiling_b", `ceiling, ${b}`, fixed, `r of ${b}'s feature with its partner in a second SAE of ${b}`) : null,
    ...effects(index, number),
    number("logit", "logit r", fixed, ["correlation of their direct effects on the logits", index.logit_chance].filter(Boolean).join("; ")),
    number("count_a", `firings, ${a}`, whole, "firings on the documents that were used to choose partners"), number("count_b", `firings, ${b}`, whole, "firings on the documents that were used to choose partners"),
    kind("kind_a", `kind, ${a}`), kind("kind_b", `kind, ${b}`),
  ].filter(Boolean);
}

// Columns on effects, where the run has measured them.
function effects(index, number) {
  const heads = {
    effect_r: ["effect r", fixed, "r of both features' first-order effects per norm of the loss gradient, on held-out tokens where both fire"],
    effect_q: ["q of effects", small, "expected share of false discoveries among pairs whose effects agree at least as clearly"],
    effect_sign_agreement: ["equal signs", fixed, "share of those tokens on which both raise, or both lower, the loss"],
    effect_control_rank: ["rank among controls", whole, "1: the partner's effects agree better than those of all features that fire alike"],
    effect_n: ["tokens where both fire", whole, "held-out tokens on which effects are compared; fewer than 30: no numbers"],
  };
  return index.effects.map((key) => {
    const [name, text, what] = heads[key] ?? [`fingerprint r, ${key.replace(/^fingerprint_|_r$/g, "").replace("_", " ")}`, fixed, "correlation over tokens of what ablating each does to the log-probabilities"];
    return number(key, name, text, what);
  });
}

function searched(order, query, index, pairs, words, labels) {
  const wanted = query.trim().toLowerCase();
  if (!wanted) return order;
  const holds = (text) => text.toLowerCase().includes(wanted) || marked(text).toLowerCase().includes(wanted);
  const word = Uint8Array.from(words, holds), kind = index.kinds.map(holds);
  const number = /^#?\d+$/.test(wanted) ? Number(wanted.replace("#", "")) : -1;
  const tokens = index.tokens_shown;
  return order.filter((i) => {
    if (pairs.row[i] === number || pairs.col[i] === number) return true;
    if (kind[pairs.kind_a[i]] || kind[pairs.kind_b[i]]) return true;
    if (labels.some((side) => labelMatches(side, i, wanted))) return true;
    for (let k = tokens * i; k < tokens * (i + 1); k++) if (word[pairs.tokens_a[k]] || word[pairs.tokens_b[k]]) return true;
    return false;
  });
}

// The table's last state, for "next" and "all pairs" in the view of a pair.
let lastOrder = {of: null, order: [], href: ""};
async function showPairs(index, _, query) {
  const [pairs, words, labels, transfer] = await Promise.all([loadPairs(index), load("words"), labelsOf(index), transferOf(index)]);
  const n = index.n_pairs, shown = columns(index, pairs, words, labels, transfer), state = viewState(query, "held_out");
  let column = shown.find(({key}) => key === state.sort) ?? shown[3];
  let all = sorted(n, column, state.falling);

  const count = el("output", {role: "status", id: "found"});
  const box = el("input", {type: "search", id: "search", placeholder: index.labels ? "token, kind, number or word of a label" : "token, kind or feature number", value: state.q, "aria-describedby": "found"});
  const table = virtualTable({caption: "All matched pairs", label: "Table of pairs; arrow keys move from pair to pair", shown, n, open: (i) => index.href(`pair/${i}`), onSort: sortBy});
  const bar = filterBar(shown, usualViews(index, pairs), state, find, (chosen) => { location.hash = index.href(`explore/pairs${String(chosen) && `?${chosen}`}`); });

  function sortBy(chosen) {
    state.falling = chosen === column ? !state.falling : !chosen.left;
    [column, state.sort] = [chosen, chosen.key];
    all = sorted(n, column, state.falling);
    find();
  }
  function find() {
    const order = searched(meets(all, state.where, shown), state.q, index, pairs, words, labels), now = viewQuery(state);
    count.textContent = `${whole(order.length)} of ${whole(n)} pairs`;
    table.show(order, column, state.falling);
    lastOrder = {of: index, order, href: index.href(`explore/pairs${String(now) && `?${now}`}`)};
    history.replaceState(null, "", lastOrder.href);
  }
  box.addEventListener("input", () => { state.q = box.value; find(); bar.refresh(); });
  const noSlash = slashFocuses(box);
  return {
    title: "Matched pairs",
    nodes: [
      heading("Matched pairs of ", bdi(index.models[0]), " and ", bdi(index.models[1])),
      el("div", {class: "tools"}, el("label", {for: "search"}, "Search"), box, count,
        el("span", {class: "hint"}, "/: search; arrow keys: move; Enter: open; headings: sort")),
      ...bar.nodes, table.node,
    ],
    ready: find,
    leave() { noSlash(); table.leave(); },
  };
}
VIEWS.push({tab: "pairs", matches: (parts) => parts[0] === "explore" && parts[1] === "pairs", show: showPairs});
