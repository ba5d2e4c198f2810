// Pairs and lone features that fire on a text, as a table beside the text.
const STEP = 60; // rows that are added at a time
const FILTERS = {
  all: ["all", () => true], agree: ["pairs that agree here", (row) => row.agree === true],
  disagree: ["pairs that do not agree here", (row) => row.agree === false], alone: ["features without a partner", (row) => row.pair === null],
};
const ORDERS = {
  rank: ["activation here", (row) => row.rank], both: ["tokens on which both fire", (row) => row.both],
  held_out: ["held-out r", (row) => row.held_out], effect_r: ["agreement of effects", (row) => row.effect_r],
};

function textLegend(index, answer, chosen) {
  if (!chosen) return el("p", {class: "hint"}, "No feature fires on this text.");
  const [a, b] = index.models, [x, y] = chosen.features;
  return el("p", {class: "legend"},
    x === null ? null : [el("span", {class: "w", style: {"--s": 0.9}}, "shaded"), ": ", bdi(a), " ", featureLink(index, 0, x), y === null ? ", which has no partner. " : "; "],
    y === null ? null : [el("span", {class: "w", style: {"--p": 0.9}}, "underlined"), ": ", x === null ? "" : "its partner ", bdi(b), " ", featureLink(index, 1, y), x === null ? ", which has no partner. " : ". "],
    "In shares of each feature’s largest activation on held-out text.");
}

function pairTable(index, answer, rows, chosen, state, {choose, clear, prompt}) {
  state.filter ??= "all";
  state.order ??= "rank";
  state.most ??= STEP;
  const measured = answer.pairs.some((pair) => known(pair.effect_r));
  const wanted = rows.filter(FILTERS[state.filter][1]);
  const value = ORDERS[state.order][1], order = (row) => known(value(row)) ? value(row) : -Infinity;
  const sorted = state.order === "rank" ? wanted : wanted.toSorted((x, y) => order(y) - order(x) || y.rank - x.rank);
  const redraw = () => choose(chosen);
  const select = (id, text, options, key) => [el("label", {for: id}, text), el("select", {id, onchange: (event) => { state[key] = event.target.value; state.most = STEP; redraw(); }},
    Object.entries(options).map(([name, [words]]) => el("option", {value: name, selected: state[key] === name}, words)))];
  const heads = ["", `${index.models[0]} #`, `${index.models[1]} #`, "both fire on", `only ${index.models[0]}`, `only ${index.models[1]}`, "held-out r", ...(measured ? ["effect r"] : []), index.models[0], index.models[1], ""];
  const count = (n) => n === 1 ? "1 token" : `${whole(n)} tokens`;
  const line = (row) => el("tr", {class: row === chosen ? "chosen" : null},
    el("td", {}, el("button", {type: "button", "aria-pressed": String(row === chosen), "aria-label": `Show ${row.names.join(" and ")} on the text`, onclick: () => choose(row)}, "show")),
    ...[0, 1].map((k) => el("td", {}, row.features[k] === null ? "–" : featureLink(index, k, row.features[k]))),
    el("td", {}, row.pair === null ? "–" : [count(row.both), " ", el("small", {}, row.agree ? "agree" : "do not agree")]),
    ...[0, 1].map((k) => el("td", {}, row.features[k] === null ? "–" : whole(row.only[k]))),
    el("td", {}, row.pair === null ? "–" : el("a", {href: index.href(`pair/${row.pair}`), title: "the page of this pair"}, fixed(row.held_out)), known(row.ci_low) ? el("small", {}, `${fixed(row.ci_low)} to ${fixed(row.ci_high)}`) : null),
    measured ? el("td", {}, fixed(row.effect_r), known(row.effect_q) ? el("small", {}, `q ${small(row.effect_q)}`) : null) : null,
    ...[0, 1].map((k) => el("td", {class: "left"}, row.both_sides[k] === null ? "–" : row.both_sides[k].silent ? el("span", {class: "hint"}, "silent here") : [about(answer.words, row.both_sides[k]), el("small", {}, `up to ${row.peak[k]}%`)])),
    el("td", {}, el("a", {href: steerHref(index, row, prompt)}, "steer")));
  const marks = state.marks.size;
  return [
    el("div", {class: "tools"}, select("filter", "Show", FILTERS, "filter"), select("order", "Sorted by", measured ? ORDERS : Object.fromEntries(Object.entries(ORDERS).filter(([key]) => key !== "effect_r")), "order"),
      el("output", {}, `${whole(sorted.length)} ${sorted.length === 1 ? "row" : "rows"}${marks ? ` that fire on the ${marks === 1 ? "marked token" : `${marks} marked tokens`}, most specific first` : ""}`),
      marks ? el("button", {type: "button", onclick: clear}, "Clear marks") : null),
    el("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": "Features that fire on the text"}, el("table", {class: "live"},
      el("caption", {}, `A pair agrees on this text if both features fire on at least ${percent(answer.agrees)} of the tokens on which either does. Held-out r, on the run’s own text, is the number to quote.`),
      el("thead", {}, el("tr", {}, heads.map((head, k) => head ? el("th", {scope: "col", class: k >= heads.length - 3 ? "left" : null}, head) : el("td")))),
      el("tbody", {}, sorted.slice(0, state.most).map(line)))),
    sorted.length > state.most ? el("button", {type: "button", class: "more", onclick: () => { state.most += STEP * 4; redraw(); }}, `Show ${whole(Math.min(STEP * 4, sorted.length - state.most))} more`) : null,
  ].filter(Boolean);
}
const steerHref = (index, row, prompt) => {
  const which = row.features[0] === null ? 1 : 0;
  return index.href(`feature/${encodeURIComponent(index.sides[which].name)}/${row.features[which]}?${new URLSearchParams({prompt: prompt.slice(0, 500)})}`);
};
