// A table of many rows, of which only the visible ones are elements. Columns: {key, name, text(i), value(i), left, what}.
const ROW = 34, SPARE = 8;
function virtualTable({caption, label, shown, n, open, onSort, tools = null}) {
  let order = [], first = -1;
  const heads = shown.map((column) => el("th", {scope: "col", class: column.left ? "left" : null, title: column.what},
    column.value ? el("button", {type: "button", onclick: () => onSort(column)}, column.name) : column.name));
  const body = el("tbody"), above = el("tr", {class: "space", "aria-hidden": "true"}, el("td", {colspan: shown.length})), below = above.cloneNode(true);
  const table = el("table", {class: "pairs", "aria-rowcount": n + 1}, el("caption", {class: "unseen"}, caption), el("thead", {}, el("tr", {"aria-rowindex": 1}, heads)), body);
  const scroller = el("div", {class: "virtual", tabindex: "0", role: "region", "aria-label": label}, table);

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
    if (row && !event.target.closest("a") && !String(getSelection())) location.hash = open(order[row.dataset.k]);
  });
  scroller.addEventListener("scroll", () => requestAnimationFrame(draw));
  scroller.addEventListener("keydown", step);
  const resized = () => { first = -1; draw(); };
  addEventListener("resize", resized);
  return {
    node: scroller,
    // Shows these rows, sorted by a column.
    show(rows, column, falling) {
      order = rows;
      heads.forEach((head, i) => shown[i] === column ? head.setAttribute("aria-sort", falling ? "descending" : "ascending") : head.removeAttribute("aria-sort"));
      table.setAttribute("aria-rowcount", order.length + 1);
      scroller.scrollTop = 0;
      first = -1;
      draw();
    },
    leave() { removeEventListener("resize", resized); },
  };
}

// All rows sorted by a column; missing values last, equal ones in their first order.
function sorted(n, column, falling) {
  const text = n > 0 && typeof column.value(0) === "string", values = text ? new Array(n) : new Float64Array(n);
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
// Focuses a search box when / is pressed; returns what undoes it.
function slashFocuses(box) {
  const slash = (event) => {
    if (event.key !== "/" || event.target.matches?.("input, select")) return;
    event.preventDefault();
    box.focus();
  };
  addEventListener("keydown", slash);
  return () => removeEventListener("keydown", slash);
}
