// A typed text: which features of both models fire on each token.
const WAIT = 300; // ms without a keystroke until the text is sent
const LONGEST_LINK = 4000; // characters of a text that the address holds
const SAMPLE = "The quick brown fox jumps over the lazy dog.\n\ndef parse(line):\n    return line.split(\",\")";
let lastText = null;
async function showText(index, _, query) {
  const state = {text: query.get("t") ?? lastText ?? SAMPLE, pair: query.get("pair"), marks: new Set((query.get("mark") ?? "").split(".").filter(Boolean).map(Number))};
  const box = el("textarea", {id: "typed", rows: 5, maxlength: 8000, spellcheck: "false", dir: "auto", "aria-describedby": "found"});
  box.value = state.text;
  const status = el("output", {role: "status", id: "found"}), strip = el("div", {class: "ctx strip", role: "group", "aria-label": "Tokens: Enter marks one, arrow keys move", dir: "auto"});
  const shown = el("div", {}), asking = asker(index), [a, b] = index.models;
  let answer = null, timer = 0;

  function remember() {
    lastText = box.value;
    const more = {...(state.pair === null ? {} : {pair: state.pair}), ...(state.marks.size ? {mark: [...state.marks].join(".")} : {})};
    setAddress(box.value.length <= LONGEST_LINK ? textHref(index, box.value, more) : index.href("explore/text"));
  }
  async function send() {
    remember();
    if (!box.value) { answer = null; status.textContent = "Type or paste a text."; strip.replaceChildren(); shown.replaceChildren(); return; }
    shown.setAttribute("aria-busy", "true");
    try {
      const found = await asking.ask("text", {text: box.value.toWellFormed()});
      if (!found) return;
      answer = listed(found);
      for (const mark of state.marks) if (mark >= answer.pieces.length) state.marks.delete(mark);
      draw();
    } catch (error) {
      answer = null;
      status.textContent = "";
      strip.replaceChildren();
      shown.replaceChildren(trouble(error));
    }
    shown.removeAttribute("aria-busy");
  }
  function draw() {
    const agree = answer.pairs.filter((pair) => pair.agree).length;
    status.textContent = `${whole(answer.n_tokens)} tokens. On them fire ${whole(answer.sides[0].features.length)} features of ${a} and ${whole(answer.sides[1].features.length)} of ${b}: ${whole(answer.pairs.length)} pairs, of which ${whole(agree)} agree here.`
      + (answer.n_left_out ? ` Only these tokens were read; ${whole(answer.n_left_out)} more were left out.` : "");
    const rows = ranked(answer, state.marks);
    const chosen = rows.find((row) => row.key === state.pair) ?? rows[0] ?? null;
    drawStrip(chosen);
    shown.replaceChildren(textLegend(index, answer, chosen), ...pairTable(index, answer, rows, chosen, state, {
      choose(row) { state.pair = row.key; remember(); draw(); },
      clear() { state.marks.clear(); remember(); draw(); },
      prompt: box.value,
    }));
  }
  function drawStrip(chosen) {
    const focused = strip.contains(document.activeElement) ? Number(document.activeElement.dataset.piece) : null;
    const [own, partner] = [chosen?.at[0] ?? new Map(), chosen?.at[1] ?? new Map()], breaks = new Set(answer.begins.slice(1));
    strip.replaceChildren(...answer.pieces.flatMap((place, k) => {
      const style = {}, marked = state.marks.has(k);
      if (own.has(k)) style["--s"] = Math.min(1, own.get(k) / 100);
      if (partner.has(k)) style["--p"] = Math.min(1, partner.get(k) / 100);
      const title = chosen ? chosen.names.map((name, side) => `${name}: ${chosen.at[side].get(k) ?? 0}%`).join("; ") : "";
      const token = el("span", {role: "button", class: "w", style, title, "data-piece": k, "aria-pressed": String(marked), tabindex: k === (focused ?? 0) ? 0 : -1}, withBreaks(answer.words[place]));
      return breaks.has(k) ? [el("span", {class: "hint"}, " | a new context: "), token] : [token];
    }));
    if (focused !== null) strip.querySelector(`[data-piece="${focused}"]`)?.focus();
  }
  strip.addEventListener("click", (event) => {
    const token = event.target.closest("[data-piece]");
    if (token) mark(Number(token.dataset.piece));
  });
  function mark(k) {
    state.marks.has(k) ? state.marks.delete(k) : state.marks.add(k);
    state.pair = null; // the list begins with what the marks select
    remember();
    draw();
  }
  strip.addEventListener("keydown", (event) => {
    const at = Number(document.activeElement.dataset?.piece);
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); mark(at); return; }
    const step = {ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity}[event.key];
    if (step === undefined || Number.isNaN(at)) return;
    event.preventDefault();
    const next = strip.querySelector(`[data-piece="${Math.min(Math.max(at + step, 0), answer.pieces.length - 1)}"]`);
    document.activeElement.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
  box.addEventListener("input", () => { state.marks.clear(); state.pair = null; clearTimeout(timer); timer = setTimeout(send, WAIT); });
  return {
    title: "Try a text",
    nodes: [
      heading("Try a text"),
      el("p", {class: "hint"}, "Type or paste a text: both models read it, and their features fire on it now. Mark tokens to search by example."),
      el("label", {for: "typed", class: "unseen"}, "Text"), box, el("p", {}, status), strip, shown,
    ],
    ready: send,
    leave() { clearTimeout(timer); asking.stop(); },
  };
}

// A line ends after each sign of a newline, wherever in a token it stands.
const withBreaks = (text) => text.split(/(?<=⏎)/).flatMap((part) => part.endsWith("⏎") ? [isolated(part), el("br")] : isolated(part));

// One row a pair, and one a feature that fires and has no partner, with the shares of both sides at each piece.
function listed(answer) {
  const sides = answer.sides.map((side) => new Map(side.features.map((feature, k) =>
    [feature, {feature, tokens: side.tokens[k], label: side.label[k], pair: side.pair[k], n: side.n[k], at: new Map(side.where[k].map((piece, i) => [piece, side.share[k][i]]))}])));
  const silent = (feature) => ({feature, tokens: [], label: "", n: 0, at: new Map(), silent: true});
  const rows = answer.pairs.map((pair) => {
    const both = pair.features.map((feature, k) => sides[k].get(feature) ?? silent(feature));
    return {...pair, key: String(pair.pair), both_sides: both, at: both.map((side) => side.at)};
  });
  const alone = sides.flatMap((side, which) => [...side.values()].filter((one) => one.pair < 0).map((one) => {
    const both = which ? [null, one] : [one, null];
    return {key: `${"AB"[which]}${one.feature}`, pair: null, features: both.map((x) => x?.feature ?? null), both: 0, only: which ? [0, one.n] : [one.n, 0], agree: null, both_sides: both, at: both.map((x) => x?.at ?? new Map())};
  }));
  for (const row of [...rows, ...alone]) row.peak = row.at.map((at) => Math.max(0, ...at.values()));
  return {...answer, rows: [...rows, ...alone]};
}
// By the strongest activation; with marks, by the mean activation on the marked pieces less that elsewhere.
function ranked(answer, marks) {
  const others = Math.max(1, answer.pieces.length - marks.size);
  const contrast = (at) => {
    let inside = 0, outside = 0;
    for (const [piece, share] of at) marks.has(piece) ? inside += share : outside += share;
    return inside / marks.size - outside / others;
  };
  const rows = marks.size ? answer.rows.filter(({at}) => at.some((one) => [...one.keys()].some((piece) => marks.has(piece)))) : answer.rows;
  for (const row of rows) {
    const of_sides = marks.size ? row.at.map(contrast) : row.peak;
    row.rank = row.pair === null ? Math.max(...of_sides) / 2 : (of_sides[0] + of_sides[1]) / 2;
    row.names = row.features.map((feature, k) => feature === null ? "no partner" : `${"AB"[k]} #${feature}`);
  }
  return rows.toSorted((x, y) => y.rank - x.rank);
}
VIEWS.push({tab: "text", matches: (parts) => parts[0] === "explore" && parts[1] === "text", show: showText});
