// What both models write when a feature and its partner are set to another value.
function steeringForm(index, which, feature, query) {
  const field = (id, text, attributes, value) => [el("label", {for: id}, text), Object.assign(el("input", {id, ...attributes}), {value})];
  const [promptLabel, prompt] = field("prompt", "Prompt", {type: "text", maxlength: 2000, dir: "auto"}, query.get("prompt") ?? "");
  const [timesLabel, times] = field("times", "times its maximum", {type: "number", min: 0, max: 1000, step: "any", required: true}, query.get("times") ?? "4");
  const [tokensLabel, tokens] = field("tokens", "tokens", {type: "number", min: 1, max: 100, required: true}, query.get("tokens") ?? "30");
  const [seedLabel, seed] = field("seed", "seed", {type: "number", min: 0, max: 2 ** 31, required: true}, query.get("seed") ?? "0");
  const button = el("button", {type: "submit"}, "Write"), shown = el("div", {"aria-live": "polite"}), asking = asker(index);
  async function write(event) {
    event?.preventDefault();
    setAddress(index.href(`feature/${encodeURIComponent(index.sides[which].name)}/${feature}?${new URLSearchParams({prompt: prompt.value, times: times.value, tokens: tokens.value, seed: seed.value})}`));
    shown.replaceChildren(el("p", {class: "hint"}, "Writing …"));
    button.disabled = true;
    try {
      const answer = await asking.ask("steer", {side: which, feature, prompt: prompt.value.toWellFormed(), times: Number(times.value), tokens: Number(tokens.value), seed: Number(seed.value)});
      if (answer) shown.replaceChildren(...steeredTexts(answer));
    } catch (error) { shown.replaceChildren(trouble(error)); }
    button.disabled = false;
  }
  return {
    write, stop: () => asking.stop(),
    node: el("section", {class: "steering", "aria-labelledby": "steering"}, el("h2", {id: "steering"}, "Steer"),
      el("p", {class: "hint"}, "The feature is set at every token, its partner to the same multiple of its own maximum. Plain and steered texts share their sampling noise; 0 times ablates."),
      el("form", {onsubmit: write}, el("p", {class: "tools wide"}, promptLabel, prompt), el("p", {class: "tools"}, times, timesLabel, tokens, tokensLabel, seedLabel, seed, button)), shown),
  };
}

function steeredTexts({texts, partners}) {
  const score = partners.map((one) => `Held-out r of the pair ${fixed(one.held_out)}; by chance below ${fixed(one.chance)} for ${percent(1 - one.alpha)} of features that fire about as often.`);
  return [
    score.length ? el("p", {class: "hint"}, score.join(" ")) : null,
    el("div", {class: "sides"}, texts.map((text) => el("section", {class: "written"},
      el("h3", {}, bdi(text.model), ` #${text.feature}, ${text.change}`),
      ...[["Plain", text.plain], ["Steered", text.steered]].map(([name, written]) => [el("h4", {}, name), el("p", {}, el("bdi", {class: "ctx", dir: "auto"}, isolated(written)))])))),
  ].filter(Boolean);
}
