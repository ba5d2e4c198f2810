// The similarity matrix of matched features: an evenly spaced sample of the pairs, or the best pairs.
async function showHeatmap(index, _, query) {
  const [maps, pairs] = await Promise.all([index.load("heatmap"), loadPairs(index)]);
  const which = query.get("of") === "best" ? "best" : "sample", {pair, matrix} = maps[which], n = pair.length;
  const [a, b] = index.models, SIDE = 1024;
  const canvas = el("canvas", {width: SIDE, height: SIDE, tabindex: "0", role: "img", class: "square",
    "aria-label": `Heatmap of r between ${n} matched features of ${a} and their partners in ${b}, best first. Keys + and - zoom, arrows move, 0 shows all.`});
  const read = el("output", {class: "readout", role: "status"}, "Point at a cell to read r; click to open the pair of its row.");
  const image = new ImageData(n, n);
  matrix.forEach((value, k) => image.data.set(diverging(value), 4 * k));
  const source = el("canvas", {width: n, height: n});
  source.getContext("2d").putImageData(image, 0, 0);
  const context = canvas.getContext("2d");
  const view = zoomable(canvas, (scale, x, y) => {
    context.imageSmoothingEnabled = false;
    context.drawImage(source, x * n, y * n, n / scale, n / scale, 0, 0, SIDE, SIDE);
  });
  const cell = (event) => view.unit(event).map((u) => Math.min(n - 1, Math.max(0, Math.floor(u * n))));
  canvas.addEventListener("pointermove", (event) => {
    const [column, row] = cell(event), value = matrix[row * n + column];
    read.replaceChildren(bdi(a), ` #${pairs.row[pair[row]]} × `, bdi(b), ` #${pairs.col[pair[column]]}: r ${value === -128 ? "–" : fixed(value / 100)}${row === column ? ", a pair" : ""}`);
  });
  canvas.addEventListener("click", (event) => { if (!view.dragged()) location.hash = index.href(`pair/${pair[cell(event)[1]]}`); });
  const tab = (name, text) => el("a", {href: index.href(`explore/heatmap${name === "best" ? "?of=best" : ""}`), "aria-current": which === name ? "true" : null}, text);
  return {
    title: "Heatmap",
    nodes: [heading("Similarity matrix of matched features"),
      el("p", {}, "Rows: features of ", bdi(a), ", best match first. Columns: their partners in ", bdi(b), `, in the same order; ${whole(n)} of ${whole(index.n_pairs)} pairs. `, tab("sample", "evenly spaced"), " · ", tab("best", "best")),
      el("div", {class: "tools"}, view.buttons, read), canvas,
      el("p", {class: "legend"}, "r from −1 ", el("span", {class: "ramp diverging"}), " to 1")],
    ready: view.redraw,
  };
}
function diverging(hundredths) {
  if (hundredths === -128) return [187, 187, 187, 255];
  const t = Math.min(Math.abs(hundredths) / 100, 1), end = hundredths > 0 ? [103, 0, 31] : [5, 48, 97], middle = hundredths > 0 ? [214, 96, 77] : [67, 147, 195];
  const mix = (from, to, s) => from.map((c, k) => Math.round(c + s * (to[k] - c)));
  return [...(t < 0.5 ? mix([247, 247, 247], middle, 2 * t) : mix(middle, end, 2 * t - 1)), 255];
}
VIEWS.push({tab: "heatmap", matches: (parts) => parts[0] === "explore" && parts[1] === "heatmap", show: showHeatmap});
