// The table of all matched pairs: columns are typed arrays; only visible rows become elements.
const ROW = 34, SPARE = 8;
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
    {key: "pair", name: "pair", value: (i) => i, text: (i) => el("a", {href: `#pair/${i}`}, String(i))},
    number("row", `${a} #`, String, `feature of ${a}`), number("col", `${b} #`, String, `feature of ${b}`),
    {key: "held_out", name: "held-out r", value: (i) => pairs.held_out[i], what: "Pearson's r on held-out documents, with its 95% interval over works",
     text: (i) => [el("span", {class: "bar", style: {"--r": Math.max(0, pairs.held_out[i] || 0)}}), fixed(pairs.held_out[i]), " ",
       el("small", {}, known(pairs.ci_low[i]) ? `${fixed(pairs.ci_low[i])} to ${fixed(pairs.ci_high[i])}` : "")]},
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
    topTokens("tokens_a", `top tokens, ${a}`), topTokens("tokens_b", `top tokens, ${b}`),
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
  return (index.effects ?? []).map((key) => {
    const [name, text, what] = heads[key] ?? [`fingerprint r, ${key.replace(/^fingerprint_|_r$/g, "").replace("_", " ")}`, fixed, "correlation over tokens of what ablating each does to the log-probabilities"];
    return number(key, name, text, what);
  });
}

function sorted(n, column, falling) {
  const text = typeof column.value(0) === "string", values = text ? new Array(n) : new Float64Array(n);
  const order = new Uint32Array(n);
  for (let i = 0; i < n; i++) [values[i], order[i]] = [column.value(i), i];
  const missing = text ? (x) => x === "" : (x) => !known(x);
  const collator = new Intl.Collator();
  return order.sort((i, j) => {
    const x = values[i], y = values[j];
    if (missing(x) || missing(y)) return missing(x) - missing(y) || i - j;
    const rising = text ? collator.compare(x, y) : x - y;
    return (falling ? -rising : rising) || i - j;
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

let lastOrder = null;  // order of the table's last state, for "next" in the view of a pair
async function showPairs(index, _, query) {
  const [pairs, words, labels, transfer] = await Promise.all([load("pairs"), load("words"), labelsOf(index), transferOf(index)]);
  const n = index.n_pairs, shown = columns(index, pairs, words, labels, transfer);
  const state = {sort: query.get("sort") ?? "held_out", falling: query.get("up") === null, q: query.get("q") ?? ""};
  let column = shown.find(({key}) => key === state.sort) ?? shown[3];
  let all = sorted(n, column, state.falling), order = all, first = -1;

  const count = el("output", {role: "status"});
  const box = el("input", {type: "search", id: "search", placeholder: index.labels ? "token, kind, number or word of a label" : "token, kind or feature number", value: state.q, "aria-describedby": "found"});
  count.id = "found";
  const heads = shown.map((candidate) => el("th", {scope: "col", class: candidate.left ? "left" : null, title: candidate.what},
    el("button", {type: "button", onclick: () => sortBy(candidate)}, candidate.name)));
  const body = el("tbody"), above = el("tr", {class: "space", "aria-hidden": "true"}, el("td", {colspan: shown.length})), below = above.cloneNode(true);
  const table = el("table", {class: "pairs", "aria-rowcount": n + 1}, el("caption", {class: "unseen"}, "All matched pairs"), el("thead", {}, el("tr", {"aria-rowindex": 1}, heads)), body);
  const scroller = el("div", {class: "virtual", tabindex: "0", role: "region", "aria-label": "Table of pairs; arrow keys move from pair to pair"}, table);

  function remember() {
    const now = new URLSearchParams();
    if (state.q) now.set("q", state.q);
    if (state.sort !== "held_out") now.set("sort", state.sort);
    if (!state.falling) now.set("up", "");
    history.replaceState(null, "", `#explore/pairs${String(now) && `?${now}`}`);
  }
  function sortBy(chosen) {
    state.falling = chosen === column ? !state.falling : !chosen.left;
    [column, state.sort] = [chosen, chosen.key];
    all = sorted(n, column, state.falling);
    find();
  }
  function find() {
    order = lastOrder = searched(all, state.q, index, pairs, words, labels);
    heads.forEach((head, i) => shown[i] === column ? head.setAttribute("aria-sort", state.falling ? "descending" : "ascending") : head.removeAttribute("aria-sort"));
    count.textContent = `${whole(order.length)} of ${whole(n)} pairs`;
    table.setAttribute("aria-rowcount", order.length + 1);
    scroller.scrollTop = 0;
    first = -1;
    draw();
    remember();
  }
  function draw() {
    const start = Math.max(0, Math.min(Math.floor(scroller.scrollTop / ROW) - SPARE, order.length - 1));
    if (start === first) return;
    first = start;
    const stop = Math.min(order.length, start + Math.ceil((scroller.clientHeight || 600) / ROW) + 2 * SPARE);
    const rows = [];
    for (let k = start; k < stop; k++) {
      const cells = shown.map((cell) => el("td", {class: cell.left ? "left" : null}, cell.text(order[k])));
      rows.push(el("tr", {"aria-rowindex": k + 2, "data-k": k}, cells));
    }
    above.firstChild.style.height = `${start * ROW}px`;
    below.firstChild.style.height = `${(order.length - stop) * ROW}px`;
    const focused = document.activeElement?.closest?.("tr")?.dataset.k;
    body.replaceChildren(above, ...rows, below);
    if (focused !== undefined) body.querySelector(`tr[data-k="${focused}"] a`)?.focus({preventScroll: true});
  }
  function step(event) {
    const moves = {ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15, Home: -n, End: n};
    if (!(event.key in moves) || !order.length) return;
    event.preventDefault();
    const at = document.activeElement?.closest?.("tr")?.dataset.k;
    const next = Math.min(Math.max((at === undefined ? -1 : Number(at)) + moves[event.key], 0), order.length - 1);
    const top = next * ROW, room = scroller.clientHeight - 2 * ROW - 40;
    if (top < scroller.scrollTop) scroller.scrollTop = top;
    if (top > scroller.scrollTop + room) scroller.scrollTop = top - room;
    first = -1;
    draw();
    body.querySelector(`tr[data-k="${next}"] a`)?.focus({preventScroll: true});
  }
  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-k]");
    if (row && !event.target.closest("a") && !String(getSelection())) location.hash = `#pair/${order[row.dataset.k]}`;
  });
  scroller.addEventListener("scroll", () => requestAnimationFrame(draw));
  scroller.addEventListener("keydown", step);
  box.addEventListener("input", () => { state.q = box.value; find(); });
  const slash = (event) => {
    if (event.key !== "/" || event.target.matches?.("input, select")) return;
    event.preventDefault();
    box.focus();
  };
  const resized = () => { first = -1; draw(); };
  addEventListener("keydown", slash);
  addEventListener("resize", resized);
  return {
    title: "Matched pairs",
    nodes: [
      heading("Matched pairs of ", bdi(index.models[0]), " and ", bdi(index.models[1])),
      el("div", {class: "tools"}, el("label", {for: "search"}, "Search"), box, count,
        el("span", {class: "hint"}, "/: search; arrow keys: move; Enter: open; headings: sort")),
      scroller,
    ],
    ready: find,
    leave() { removeEventListener("keydown", slash); removeEventListener("resize", resized); },
  };
}
VIEWS.push({tab: "pairs", matches: (parts) => parts[0] === "explore" && parts[1] === "pairs", show: showPairs});
