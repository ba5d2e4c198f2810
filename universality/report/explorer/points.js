// Points on a canvas by WebGL, or one by one where a browser has none. A layer of its own: libraries for it compile
// code from text, which the page's security policy forbids, or are larger than all other scripts together.
const SHADERS = [
  `#version 300 es
  in vec2 place; in vec3 colour; uniform vec3 shown; uniform float size; out vec3 shade;
  void main() { vec2 u = (place - shown.yz) * shown.x; gl_Position = vec4(2.0 * u.x - 1.0, 1.0 - 2.0 * u.y, 0.0, 1.0); gl_PointSize = size; shade = colour; }`,
  `#version 300 es
  precision mediump float; in vec3 shade; out vec4 pixel; uniform bool triangle;
  void main() {
    vec2 u = 2.0 * gl_PointCoord - 1.0;
    if (triangle ? abs(u.x) > 0.5 * (u.y + 1.0) : dot(u, u) > 1.0) discard;
    pixel = vec4(shade, 1.0);
  }`,
];

// place: Float32Array [2 n] in the unit square. groups: [{start, count, triangle}]. Returns paint(colours [3 n] of bytes) and
// draw(scale, x, y, size, share): a share of the points, at random and always the same ones first.
function pointLayer(canvas, place, groups) {
  const gl = canvas.getContext("webgl2", {antialias: false});
  return gl ? glLayer(gl, place, groups) : flatLayer(canvas, place, groups);
}
function glLayer(gl, place, groups) {
  const program = gl.createProgram();
  SHADERS.forEach((text, k) => {
    const shader = gl.createShader(k ? gl.FRAGMENT_SHADER : gl.VERTEX_SHADER);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  });
  gl.linkProgram(program);
  gl.useProgram(program);
  const buffer = (name, values, size, type, normal) => {
    const made = gl.createBuffer(), at = gl.getAttribLocation(program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, made);
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.DYNAMIC_DRAW);
    gl.enableVertexAttribArray(at);
    gl.vertexAttribPointer(at, size, type, normal, 0, 0);
    return made;
  };
  const uniform = (name) => gl.getUniformLocation(program, name);
  const shown = uniform("shown"), size = uniform("size"), triangle = uniform("triangle");
  buffer("place", place, 2, gl.FLOAT, false);
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, shuffledWithin(groups), gl.STATIC_DRAW);
  const colours = buffer("colour", new Uint8Array(place.length / 2 * 3), 3, gl.UNSIGNED_BYTE, true);
  return {
    paint(values) { gl.bindBuffer(gl.ARRAY_BUFFER, colours); gl.bufferSubData(gl.ARRAY_BUFFER, 0, values); },
    draw(scale, x, y, pixels, share) {
      gl.viewport(0, 0, gl.canvas.width, gl.canvas.height);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT);
      gl.uniform3f(shown, scale, x, y);
      gl.uniform1f(size, pixels);
      for (const group of groups) { gl.uniform1i(triangle, group.triangle); gl.drawElements(gl.POINTS, Math.ceil(share * group.count), gl.UNSIGNED_INT, 4 * group.start); }
    },
    leave() { gl.getExtension("WEBGL_lose_context")?.loseContext(); },  // browsers keep sixteen contexts at most
  };
}
function flatLayer(canvas, place, groups) {
  const context = canvas.getContext("2d");
  const order = shuffledWithin(groups);
  let colours = new Uint8Array(place.length / 2 * 3);
  return {
    paint(values) { colours = values; },
    draw(scale, x, y, size, share) {
      const {width, height} = canvas;
      context.clearRect(0, 0, width, height);
      for (const {start, count} of groups) for (let k = start; k < start + Math.ceil(share * count); k++) {
        const i = order[k], u = (place[2 * i] - x) * scale * width, v = (place[2 * i + 1] - y) * scale * height;
        if (!(u >= 0 && v >= 0 && u <= width && v <= height)) continue;  // features that are not on the map lie outside
        context.fillStyle = `rgb(${colours[3 * i]} ${colours[3 * i + 1]} ${colours[3 * i + 2]})`;
        context.fillRect(u - size / 2, v - size / 2, size, size);
      }
    },
    leave() {},
  };
}

// Numbers of the points, those of each group in random order.
function shuffledWithin(groups) {
  const order = Uint32Array.from({length: groups.reduce((n, {count}) => n + count, 0)}, (_, i) => i);
  let state = 1;  // a generator of its own, so that a picture does not change from one opening to the next
  for (const {start, count} of groups) for (let k = count - 1; k > 0; k--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = start + state % (k + 1);
    [order[start + k], order[j]] = [order[j], order[start + k]];
  }
  return order;
}
// Calls draw(share) so that pictures follow a moving hand: fewer points while they come too slowly, all of them at rest.
function paced(draw) {
  let share = 1, last = 0, rest = 0;
  return () => {
    const now = performance.now(), since = now - last;
    last = now;
    if (since < 400) share = since > 40 ? Math.max(0.03, 0.6 * share) : Math.min(1, 1.15 * share);
    draw(share);
    clearTimeout(rest);
    if (share < 1) rest = setTimeout(() => draw(1), 250);
  };
}

// Numbers of the points inside a polygon of [x, y] in the unit square.
function inside(place, polygon) {
  const found = [], [xs, ys] = [0, 1].map((k) => polygon.map((corner) => corner[k]));
  const low = [Math.min(...xs), Math.min(...ys)], high = [Math.max(...xs), Math.max(...ys)];
  for (let i = 0; i < place.length / 2; i++) {
    const x = place[2 * i], y = place[2 * i + 1];
    if (!(x >= low[0] && x <= high[0] && y >= low[1] && y <= high[1])) continue;
    let odd = false;
    for (let k = 0, j = polygon.length - 1; k < polygon.length; j = k++)
      if (ys[k] > y !== ys[j] > y && x < (xs[j] - xs[k]) * (y - ys[k]) / (ys[j] - ys[k]) + xs[k]) odd = !odd;
    if (odd) found.push(i);
  }
  return Uint32Array.from(found);
}
// The point nearest to a place, within a distance; -1 for none.
function nearestPoint(place, u, v, within) {
  let best = -1, least = within * within;
  for (let i = 0; i < place.length / 2; i++) {
    const d = (place[2 * i] - u) ** 2 + (place[2 * i + 1] - v) ** 2;
    if (d < least) [best, least] = [i, d];
  }
  return best;
}
