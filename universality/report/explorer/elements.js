// Elements: strings are added as text nodes, so no token can become markup.
function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  set(element, attributes);
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}
function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  set(element, attributes);
  element.append(...children.flat());
  return element;
}
function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, v] of Object.entries(value)) element.style.setProperty(key, v);
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value === true ? "" : value);
  }
}

// A single token: spaces are marked, an empty string is "(empty)", a lone combining mark stands on a dotted circle.
function marked(text) {
  const shown = text.replaceAll(" ", "␣") || "(empty)";
  return /^\p{M}/u.test(shown) ? `◌${shown}` : shown;
}
// Isolates written-out bytes and code points from right-to-left letters around them.
const isolated = (text) => text.split(/((?:\\x[0-9A-F]{2}|U\+[0-9A-F]{4,6})+)/).map((part, i) => i % 2 ? el("bdi", {class: "esc", dir: "ltr"}, part) : part);
const chip = (text) => el("bdi", {class: "tok", dir: "auto"}, isolated(marked(text)));
const chips = (words, ids) => [...ids].filter((id) => id >= 0).flatMap((id) => [chip(words[id]), " "]);
const bdi = (text) => el("bdi", {}, text);
