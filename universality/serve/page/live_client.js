// Live views: added by the server to the script of the report's page, whose functions they use.
// Questions and answers are JSON; a question that a newer one replaces is abandoned.
async function ask(index, path, question, signal) {
  const asked = question === undefined ? {} : {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(question)};
  let response;
  try {
    response = await fetch(`../live/${encodeURIComponent(index.name)}/${path}`, {...asked, signal});
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("the server does not answer: it may have been stopped");
  }
  const answer = await response.json().catch(() => ({error: `the server answered with status ${response.status}`}));
  if (!response.ok) throw new Error(answer.error);
  return answer;
}
// The last question of a view: asking again abandons the one before.
function asker(index) {
  let asked = null;
  return {
    async ask(path, question) {
      asked?.abort();
      const mine = asked = new AbortController();
      try { return await ask(index, path, question, mine.signal); } catch (error) {
        if (error.name === "AbortError") return null;
        throw error;
      }
    },
    stop() { asked?.abort(); },
  };
}
const featureLink = (index, which, feature) => el("a", {href: featureHref(index, index.sides[which], feature)}, `#${feature}`);
const textHref = (index, text, more = {}) => index.href(`explore/text?${new URLSearchParams({t: text, ...more})}`);
const wordsOf = (words, places) => places.flatMap((place) => [chip(words[place]), " "]);
const about = (words, {tokens, label}) => label ? [el("bdi", {class: "label"}, label), " ", el("small", {}, wordsOf(words, tokens))] : wordsOf(words, tokens);
const rangeText = ({held_out, ci_low, ci_high}) => known(ci_low) ? `${fixed(held_out)} (${fixed(ci_low)} to ${fixed(ci_high)})` : fixed(held_out);
const trouble = (error) => el("p", {class: "trouble", role: "alert"}, `${error.message[0].toUpperCase()}${error.message.slice(1)}${/[.!?]$/.test(error.message) ? "" : "."}`);
// Replaces the address without a new entry in the history, so that it can be shared at any time.
const setAddress = (hash) => history.replaceState(null, "", hash);
