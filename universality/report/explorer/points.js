// Points on a canvas by WebGL, or one by one where a browser has none. A layer of its own: libraries for it compile
// code from text, which the page's security policy forbids, or are larger than all other scripts together.
// Chosen points lie in front of all others. Among equals a number made from the point's place in the buffer decides, so
// that neither group hides the other.
const SHADERS = [
  `#version 300 es
  in vec2 place; in vec4 colour; uniform vec3 shown; uniform float size; out vec3 shade;
  void main() {
    vec2 u = (place - shown.yz) * shown.x;
    float depth = float((uint(gl_VertexID) * 2654435769u) >> 8u) / 16777216.0;
    gl_Position = vec4(2.0 * u.x - 1.0, 1.0 - 2.0 * u.y, colour.a > 0.5 ? depth - 1.0 : depth, 1.0); gl_PointSize = size; shade = colour.rgb;
  }`,
  `#version 300 es
  precision mediump float; in vec3 shade; out vec4 pixel; uniform bool triangle;
  void main() {
    vec2 u = 2.0 * gl_PointCoord - 1.0;
    if (triangle ? abs(u.x) > 0.5 * (u.y + 1.0) : dot(u, u) > 1.0) discard;
    pixel = vec4(shade, 1.0);
  }`,
];
// A colour as one number, and the bit of a chosen point.
const packedColour = ([red, green, blue]) => red | green << 8 | blue << 16, CHOSEN = 255 << 24;

// place: Float32Array [2 n] in the unit square. groups: [{start, count, triangle}]. Returns paint(colour), where colour(i) is
// a number as packedColour gives it, with CHOSEN or without, and draw(scale, x, y, size, share): a share of the points, at
// random and always the same ones first.
function pointLayer(canvas, place, groups) {
  const gl = canvas.getContext("webgl2", {antialias: false}), order = shuffledWithin(groups), colours = new Uint32Array(order.length);
  const layer = gl ? glLayer(gl, place, groups, order) : flatLayer(canvas, place, groups, order, colours);
  return {...layer, paint(colour) { for (let k = 0; k < order.length; k++) colours[k] = colour(order[k]); layer.painted(colours); }};
}
function glLayer(gl, place, groups, order) {
  const program = gl.createProgram();
  SHADERS.forEach((text, k) => {
    const shader = gl.createShader(k ? gl.FRAGMENT_SHADER : gl.VERTEX_SHADER);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  });
  gl.linkProgram(program);
  gl.useProgram(program);
  gl.enable(gl.DEPTH_TEST);
  const buffer = (name, values, size, type, normal) => {
    const made = gl.createBuffer(), at = gl.getAttribLocation(program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, made);
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.DYNAMIC_DRAW);
    gl.enableVertexAttribArray(at);
    gl.vertexAttribPointer(at, size, type, normal, 0, 0);
    return made;
  };
  const uniform = (name) => gl.getUniformLocation(program, name);
  const shown = uniform("shown"), size = uniform("size"), triangle = uniform("triangle"), places = new Float32Array(2 * order.length);
  order.forEach((i, k) => { [places[2 * k], places[2 * k + 1]] = [place[2 * i], place[2 * i + 1]]; });
  buffer("place", places, 2, gl.FLOAT, false);
  const shades = buffer("colour", 4 * order.length, 4, gl.UNSIGNED_BYTE, true);
  return {
    painted(colours) { gl.bindBuffer(gl.ARRAY_BUFFER, shades); gl.bufferSubData(gl.ARRAY_BUFFER, 0, colours); },
    draw(scale, x, y, pixels, share) {
      gl.viewport(0, 0, gl.canvas.width, gl.canvas.height);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      gl.uniform3f(shown, scale, x, y);
      gl.uniform1f(size, pixels);
      for (const group of groups) { gl.uniform1i(triangle, group.triangle); gl.drawArrays(gl.POINTS, group.start, Math.ceil(share * group.count)); }
    },
    leave() { gl.getExtension("WEBGL_lose_context")?.loseContext(); },  // browsers keep sixteen contexts at most
  };
}
function flatLayer(canvas, place, groups, order, colours) {
  const context = canvas.getContext("2d");
  return {
    painted() {},
    draw(scale, x, y, size, share) {
      const {width, height} = canvas;
      context.clearRect(0, 0, width, height);
      for (const front of [false, true]) for (const {start, count} of groups) for (let k = start; k < start + Math.ceil(share * count); k++) {
        const i = order[k], colour = colours[k], u = (place[2 * i] - x) * scale * width, v = (place[2 * i + 1] - y) * scale * height;
        if (colour >>> 24 > 0 !== front || !(u >= 0 && v >= 0 && u <= width && v <= height)) continue;  // features that are not on the map lie outside
        context.fillStyle = `rgb(${colour & 255} ${colour >> 8 & 255} ${colour >> 16 & 255})`;
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
// Calls draw(share) so that pictures follow a moving hand: fewer points where all of them take too long, all at rest.
const FLUENT = 30, REST = 250;  // milliseconds
function paced(draw) {
  let share = 1, drawn = -Infinity, rest = 0;
  function show(now) {
    const begun = drawn = performance.now();
    draw(now);
    // what a picture costs is seen in when the browser asks for the next one: drawing itself only queues commands
    requestAnimationFrame(() => {
      const cost = performance.now() - begun;
      share = cost > FLUENT + 10 ? Math.max(0.02, Math.min(share, now * FLUENT / cost)) : Math.min(1, 1.15 * share);
    });
    clearTimeout(rest);
    if (now < 1) rest = setTimeout(settle, REST);
  }
  // a timer may ring while the browser is still busy with the last picture and the hand moves on
  const settle = () => requestAnimationFrame(() => { if (performance.now() - drawn > REST - 10) show(1); });
  return () => show(share);
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
