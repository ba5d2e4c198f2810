// Numbers as the report prints them; "–" for a missing number.
const known = (x) => x !== null && x !== undefined && Number.isFinite(x);
const minus = (text) => text.replace("-", Number(text) === 0 ? "" : "−"); // a zero is never negative
const fixed = (x, digits = 2) => known(x) ? minus(x.toFixed(digits)) : "–";
const whole = (x) => known(x) ? x.toLocaleString("en-US") : "–";
const small = (x) => !known(x) ? "–" : x === 0 || x >= 0.001 ? fixed(x, 3) : minus(x.toExponential(0));
const percent = (x, digits = 0) => known(x) ? `${(100 * x).toFixed(digits)}%` : "–";
