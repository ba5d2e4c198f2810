// One pair: both features side by side.
async function showPair(index, parts) {
  const i = Number(parts[1]);
  if (!Number.isInteger(i) || i < 0 || i >= index.n_pairs)
    throw new Error(`there is no pair ${parts[1]}: pairs are numbered 0 to ${index.n_pairs - 1}`);
  const chunk = Math.floor(i / index.chunk);
  const [pairs, words, views, measured, labels, transfer, ...grown] = await Promise.all([
    load("pairs"), load("words"), load(`views-${chunk}`), index.pair_effects ? load(`pair-effects-${chunk}`) : null, labelsOf(index), transferOf(index), ...index.models.map((_, k) => index.families[k] ? load(`families-${k}`) : null)]);
  const view = views[i - chunk * index.chunk], [a, b] = index.models;
  const order = lastOrder?.includes(i) ? lastOrder : null;
  const at = order ? order.indexOf(i) : i, total = order ? order.length : index.n_pairs;
  const go = (k) => k >= 0 && k < total ? `#pair/${order ? order[k] : k}` : null;
  const link = (href, text, key) => el("a", {href, "aria-keyshortcuts": key, "aria-disabled": href ? null : "true"}, text);
  const keys = (event) => {
    if (event.target.matches?.("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
    const href = {ArrowLeft: go(at - 1), ArrowRight: go(at + 1), Escape: "#explore/pairs"}[event.key];
    if (href) location.hash = href;
  };
  addEventListener("keydown", keys);
  const scores = [
    ["held-out r", fixed(pairs.held_out[i]), known(pairs.ci_low[i]) ? `${fixed(pairs.ci_low[i])} to ${fixed(pairs.ci_high[i])}, 95% over works` : ""],
    ["chosen r", fixed(pairs.score[i]), ""],
    [`q, ${index.nulls[0] ?? "no null"}`, small(pairs.q[i]), ""],
    ...(index.nulls.length > 1 ? [["q within kinds", small(pairs.q_kind[i]), ""]] : []),
    ...["a", "b"].flatMap((side, k) => index.ceilings[k] ? [[`ceiling, ${index.models[k]}`, fixed(pairs[`ceiling_${side}`][i]), ""]] : []),
    ["logit r", fixed(pairs.logit[i]), index.logit_chance],
    ...transferScores(index, transfer, i),
  ];
  return {
    title: `Pair ${i}`,
    nodes: [
      el("p", {class: "steps"}, link(go(at - 1), "← previous", "ArrowLeft"), " ", link("#explore/pairs", "all pairs", "Escape"), " ", link(go(at + 1), "next →", "ArrowRight")),
      heading(`Pair ${i}: `, bdi(a), ` #${pairs.row[i]} and `, bdi(b), ` #${pairs.col[i]}`),
      el("ul", {class: "scores"}, scores.map(([name, value, range]) => el("li", {}, `${name} `, el("b", {}, value), range ? ` (${range})` : ""))),
      el("p", {class: "legend"}, el("span", {class: "w", style: {"--s": 0.9}}, "shaded"), ": activation of this feature, relative to its strongest; ",
        el("span", {class: "w", style: {"--p": 0.9}}, "underlined"), ": activation of its partner; ", el("mark", {class: "w"}, "outlined"), ": the token in focus."),
      el("div", {class: "sides"},
        side(index, words, pairs, view.a, 0, i, grown[0], labels), side(index, words, pairs, view.b, 1, i, grown[1], labels)),
      transferBlock(index, transfer, i),
      measured ? pairEffects(index, words, pairs, measured[i - chunk * index.chunk], i) : null,
    ].filter((node) => node !== null),
    leave() { removeEventListener("keydown", keys); },
  };
}

function side(index, words, pairs, feature, which, i, grown, labels) {
  const name = "ab"[which], number = pairs[which ? "col" : "row"][i];
  const kind = index.kinds[pairs[`kind_${name}`][i]];
  const about = feature.strongest === null ? "Never fires." : `Fires on ${percent(feature.density, 2)} of tokens, with activations up to ${fixed(feature.strongest)}`;
  return el("section", {class: "side", "aria-labelledby": `side-${name}`},
    el("h2", {id: `side-${name}`}, bdi(index.models[which]), ` #${number}`),
    el("p", {}, about, kind && feature.strongest !== null ? ["; ", percent(feature.purity), " of its activation on ", bdi(kind), "."] : null),
    el("p", {}, chips(words, pairs[`tokens_${name}`].subarray(index.tokens_shown * i, index.tokens_shown * (i + 1)))),
    labelBlock(feature.label, index.models[which]),
    histogram(feature.histogram, feature.strongest),
    weights(words, feature),
    block("Strongest examples", feature.top.map((excerpt) => example(index, words, excerpt, feature))),
    block("Examples across the range of activations", feature.range.map((excerpt) => example(index, words, excerpt, feature))),
    neighbours(index, feature, which, pairs, labels[1 - which]),
    relatives(index, words, grown, which, number));
}
const block = (title, items) => items.length ? el("div", {}, el("h3", {}, title), el("ol", {class: "examples"}, items)) : null;

function example(index, words, [ids, activation, partner, focus, kind], feature) {
  const scale = feature.strongest / 100;
  const spans = ids.map((id, k) => {
    const style = {};
    if (activation[k] > 0) style["--s"] = activation[k] / 100;
    if (partner[k] > 0) style["--p"] = partner[k] / 100;
    if (!activation[k] && !partner[k] && k !== focus) return isolated(words[id]);
    return el(k === focus ? "mark" : "span", {class: "w", style, title: `${fixed(activation[k] * scale)}, partner at ${partner[k]}% of its strongest`}, isolated(words[id]));
  });
  return el("li", {}, el("bdi", {class: "ctx", dir: "auto"}, spans),
    el("span", {class: "meta"}, `activation ${fixed(activation[focus] * scale)}, partner at ${partner[focus]}% of its strongest`, index.kinds[kind] ? [" · ", bdi(index.kinds[kind])] : null));
}

function histogram(counts, strongest) {
  if (!counts || strongest === null) return null;
  const most = Math.max(...counts, 1), high = (n) => n ? 4 + 40 * Math.log1p(n) / Math.log1p(most) : 0, width = 240 / counts.length;
  const total = counts.reduce((x, y) => x + y, 0);
  const label = `Histogram of ${whole(total)} firings by activation, from 0 to ${fixed(strongest)}, heights on a logarithmic scale: ${counts.map(whole).join(", ")}`;
  return el("figure", {class: "hist"},
    svg("svg", {viewBox: "0 0 240 46", role: "img", "aria-label": label, preserveAspectRatio: "none"},
      counts.map((n, k) => svg("rect", {x: k * width + 0.5, y: 46 - high(n), width: width - 1, height: high(n)}, svg("title", {}, whole(n))))),
    el("figcaption", {}, `${whole(total)} firings by activation, 0 to ${fixed(strongest)}; heights on a logarithmic scale`));
}

function weights(words, feature) {
  if (!feature.up.length) return null;
  const list = (name, tokens) => el("div", {}, el("h3", {}, name), el("ul", {class: "weights"}, tokens.map(([id, value]) => el("li", {}, chip(words[id]), " ", el("small", {}, fixed(value))))));
  return el("div", {class: "logits"}, list("Raises the logits of", feature.up), list("Lowers the logits of", feature.down));
}

function neighbours(index, feature, which, pairs, labels) {
  if (!feature.near.length) return null;
  const other = index.models[1 - which];
  return el("div", {}, el("h3", {}, "Most similar in ", bdi(other)), el("ul", {class: "plain"}, feature.near.map(([partner, r]) => {
    const pair = pairs[which ? "row" : "col"].indexOf(partner);
    const name = `#${partner}`;
    return el("li", {}, pair >= 0 ? el("a", {href: `#pair/${pair}`}, name) : name, ` r ${fixed(r)}`, labelText(labels, pair) ? [" ", el("bdi", {class: "label"}, labelText(labels, pair))] : null);
  })));
}

function relatives(index, words, grown, which, number) {
  if (!grown) return null;
  const node = grown.starts[grown.widths.length - 1] + number, up = ancestors(grown, node);
  const chain = up.length ? up.map((ancestor) => [familyLink(index, grown, which, ancestor), " ", chips(words, tokensOf(grown, ancestor)), " → "]) : "No parent in the narrower dictionary. ";
  return el("div", {}, el("h3", {}, "Family"), el("p", {}, chain, familyLink(index, grown, which, node)));
}
VIEWS.push({tab: "pairs", matches: (parts) => parts[0] === "pair", show: showPair});
