// One feature: its card, as the pages of pairs, groups and features show it, and a page of its own.
const featureHref = (index, side, number) => index.href(`feature/${encodeURIComponent(side.name)}/${number}`);

// What the card of a feature needs, from files of its dictionary alone.
async function openFeature(study, side, number) {
  const chunk = Math.floor(number / study.chunk);
  const [features, about, grown] = await Promise.all([loadSide(side, `features-${chunk}`), loadSide(side, "about"), fileOf(side, "families")]);
  return {side, number, feature: features[number - chunk * study.chunk], about, grown};
}
// Activations of a pair's partner on the examples of one feature, by number of the example × window + place.
function partnerShares(study, columns, i) {
  const shares = new Uint8Array(study.window * study.examples);
  for (let k = columns.start[i]; k < columns.start[i + 1]; k++) shares[columns.at[k]] = columns.share[k];
  return (example, place) => shares[example * study.window + place];
}

function featureCard(index, words, {side, number, feature, about, grown}, id, {partner = null, after = []} = {}) {
  const {study} = index, kind = study.kinds[about.kind[number]];
  const fires = feature.strongest === null ? "Never fires." : `Fires on ${percent(feature.density, 2)} of tokens, with activations up to ${fixed(feature.strongest)}`;
  const shown = (excerpt, k) => example(study, words, excerpt, feature, partner && ((place) => partner(k, place)));
  return el("section", {class: "side", "aria-labelledby": id},
    el("h2", {id}, el("a", {href: featureHref(index, side, number)}, bdi(side.name), ` #${number}`)),
    el("p", {}, fires, kind && feature.strongest !== null ? ["; ", percent(feature.purity), " of its activation on ", bdi(kind), "."] : null),
    el("p", {}, chips(words, about.tokens.subarray(study.tokens_shown * number, study.tokens_shown * (number + 1)))),
    labelBlock(feature.label, side.name),
    histogram(feature.histogram, feature.strongest),
    weights(words, feature),
    block("Strongest examples", feature.top.map(shown)),
    block("Examples across the range of activations", feature.range.map((excerpt, k) => shown(excerpt, k + feature.top.length))),
    ...after,
    relatives(index, words, grown, side, number));
}
const block = (title, items) => items.length ? el("div", {}, el("h3", {}, title), el("ol", {class: "examples"}, items)) : null;

function example(study, words, [ids, activation, focus, kind], feature, partner) {
  const scale = feature.strongest / 100, of = (k) => partner ? partner(k) : 0;
  const beside = (k) => partner ? `, partner at ${of(k)}% of its strongest` : "";
  const spans = ids.map((id, k) => {
    const style = {};
    if (activation[k] > 0) style["--s"] = activation[k] / 100;
    if (of(k) > 0) style["--p"] = of(k) / 100;
    if (!activation[k] && !of(k) && k !== focus) return isolated(words[id]);
    return el(k === focus ? "mark" : "span", {class: "w", style, title: `${fixed(activation[k] * scale)}${beside(k)}`}, isolated(words[id]));
  });
  return el("li", {}, el("bdi", {class: "ctx", dir: "auto"}, spans),
    el("span", {class: "meta"}, `activation ${fixed(activation[focus] * scale)}${beside(focus)}`, study.kinds[kind] ? [" · ", bdi(study.kinds[kind])] : null));
}

function histogram(counts, strongest) {
  if (!counts.length || strongest === null) return null;
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

// Features of the other dictionary that are most similar, whether or not they are the partner.
function neighbours(index, columns, which, i, pairs, labels) {
  const n = columns.n_near, near = [...columns.near.subarray(n * i, n * (i + 1))].filter((feature) => feature >= 0);
  if (!near.length) return null;
  const other = index.sides[1 - which];
  return el("div", {}, el("h3", {}, "Most similar in ", bdi(other.name)), el("ul", {class: "plain"}, near.map((feature, k) => {
    const pair = pairs[which ? "row" : "col"].indexOf(feature), name = `#${feature}`;
    return el("li", {}, el("a", {href: pair >= 0 ? index.href(`pair/${pair}`) : featureHref(index, other, feature)}, name), ` r ${fixed(columns.near_r[n * i + k] / 100)}`, labelText(labels, pair) ? [" ", el("bdi", {class: "label"}, labelText(labels, pair))] : null);
  })));
}

function relatives(index, words, grown, side, number) {
  if (!grown) return null;
  const node = grown.starts[grown.widths.length - 1] + number, up = ancestors(grown, node);
  const chain = up.length ? up.map((ancestor) => [familyLink(index, grown, side, ancestor), " ", chips(words, tokensOf(grown, ancestor)), " → "]) : "No parent in the narrower dictionary. ";
  return el("div", {}, el("h3", {}, "Family"), el("p", {}, chain, familyLink(index, grown, side, node)));
}

// A feature's partner in every dictionary that its own is compared with; -1 where it has none.
function partnersOf(study, place, number) {
  const compared = study.comparisons.filter(({sides}) => sides.includes(place));
  return Promise.all(compared.map(async (found) => {
    const index = found.context ??= context(study, found), k = found.sides.indexOf(place), pairs = await loadPairs(index);
    const i = pairs[k ? "col" : "row"].indexOf(number);
    return {index, i, pairs, other: index.sides[1 - k], partner: i < 0 ? -1 : pairs[k ? "row" : "col"][i]};
  }));
}
function sideNamed(study, name) {
  const place = study.sides.findIndex((side) => side.name === name);
  if (place < 0) throw new Error(`there is no dictionary ${name}`);
  return place;
}
function featureNumber(side, text) {
  const number = Number(text);
  if (!text || !Number.isInteger(number) || number < 0 || number >= side.width) throw new Error(`there is no feature ${text} of ${side.name}: they are numbered 0 to ${side.width - 1}`);
  return number;
}
async function showFeature(index, parts) {
  const {study} = index, place = sideNamed(study, parts[1]), side = study.sides[place], number = featureNumber(side, parts[2]);
  const [opened, words, partners] = await Promise.all([openFeature(study, side, number), load("words"), partnersOf(study, place, number)]);
  const rows = partners.map(({index: of, i, pairs, other, partner}) => el("tr", {}, el("th", {scope: "row"}, bdi(other.name)),
    el("td", {class: "left"}, i < 0 ? "no partner" : el("a", {href: featureHref(of, other, partner)}, `#${partner}`)),
    el("td", {}, i < 0 ? "–" : fixed(pairs.held_out[i]), i >= 0 && known(pairs.ci_low[i]) ? el("small", {}, `${fixed(pairs.ci_low[i])} to ${fixed(pairs.ci_high[i])}`) : null),
    el("td", {}, i < 0 ? "–" : small(pairs.q[i])), el("td", {class: "left"}, i < 0 ? "–" : el("a", {href: of.href(`pair/${i}`)}, `pair ${i}`))));
  return {
    title: `${side.name} #${number}`, everything: true,
    nodes: [heading("Feature ", bdi(side.name), ` #${number}`),
      el("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": "Partners"}, el("table", {class: "partners"},
        el("caption", {}, "Its partner in every dictionary that it was compared with; r on held-out documents, with its 95% interval over works"),
        el("thead", {}, el("tr", {}, [["in", "left"], ["feature", "left"], ["held-out r"], ["q"], ["side by side", "left"]].map(([name, side]) => el("th", {scope: "col", class: side}, name)))),
        el("tbody", {}, rows))),
      el("div", {class: "sides"}, featureCard(index, words, opened, "side-a"))],
  };
}
VIEWS.push({tab: "", matches: (parts) => parts[0] === "feature", show: showFeature});
