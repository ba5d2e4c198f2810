"use strict";
// Data are script files, since browsers refuse fetch on file://; each calls universality.add(name, value) once.
const waiting = new Map();
globalThis.universality = {
  add(name, value) { waiting.get(name)?.done(unpack(value)); },
};

function load(name) {
  if (!waiting.has(name)) {
    const entry = {};
    entry.promise = new Promise((done, failed) => {
      entry.done = done;
      const script = document.createElement("script");
      script.src = `data/${name.split("/").map(encodeURIComponent).join("/")}.js`;
      script.addEventListener("load", () => script.remove());
      script.addEventListener("error", () => failed(new Error(`data/${name}.js is missing or truncated`)));
      document.head.append(script);
    });
    waiting.set(name, entry);
  }
  return waiting.get(name).promise;
}

// Turns {"type": "f4", "base64": …} into a typed array wherever it stands, except within lists.
const ARRAYS = {f4: Float32Array, i4: Int32Array, i2: Int16Array, i1: Int8Array, u1: Uint8Array};
function bytesOf(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);  // without a second text of the same length
  const text = atob(base64), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}
function unpack(value) {
  if (Array.isArray(value) || value === null || typeof value !== "object") return value;
  if (value.base64 !== undefined) {
    return new ARRAYS[value.type](bytesOf(value.base64).buffer);
  }
  for (const key of Object.keys(value)) value[key] = unpack(value[key]);
  return value;
}
