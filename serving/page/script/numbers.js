// Numbers as they are shown. `String(value)` is always what the server wrote; rounding happens here and nowhere else.

/** A number that JavaScript cannot hold in the server's spelling: more digits than a double, or trailing zeros. */
export class Exact {
  constructor(source) {
    this.source = source;
  }
  valueOf() {
    return Number(this.source);
  }
  toString() {
    return this.source;
  }
  toJSON() {
    return this.source;
  }
}

/** JSON in which every number keeps all its digits. */
export function parse(text) {
  return JSON.parse(text, (_, value, context) =>
    typeof value === "number" && context?.source !== undefined && String(value) !== context.source
      ? new Exact(context.source)
      : value);
}

const MINUS = "\u2212";
const formats = new Map();

function format(digits) {
  if (!formats.has(digits)) formats.set(digits, new Intl.NumberFormat("en", { maximumFractionDigits: digits }));
  return formats.get(digits);
}

/** The value as text with thousands separated, rounded to what the eye needs. */
export function rounded(value, isRatio = false) {
  if (value === null || value === undefined) return "no events";
  if (typeof value === "string") return value;
  const number = Number(value) * (isRatio ? 100 : 1);
  const size = Math.abs(number);
  if (Number.isInteger(number) && size > Number.MAX_SAFE_INTEGER) return exact(value);
  const digits = size >= 1000 || Number.isInteger(number) ? 0 : size >= 100 ? 1 : size >= 1 ? 2 : size === 0 ? 0 : Math.min(12, 2 - Math.floor(Math.log10(size)));
  return format(digits).format(number).replace("-", MINUS) + (isRatio ? "\u202f%" : "");
}

/** The value with every digit that the server wrote, thousands separated. */
export function exact(value) {
  if (value === null || value === undefined) return "no events";
  const text = String(value);
  const parts = /^(-?)(\d+)(\.\d+)?$/.exec(text);
  if (!parts) return text;
  const [, sign, whole, fraction] = parts;
  return (sign && MINUS) + whole.replace(/\B(?=(\d{3})+$)/g, ",") + (fraction ?? "");
}

/** A count. */
export function count(value) {
  return value === null || value === undefined ? "unknown" : exact(value);
}

/** A noun with its count. */
export function counted(value, noun) {
  return `${count(value)} ${noun}${Number(value) === 1 ? "" : "s"}`;
}

/** A part of a whole, in percent. */
export function percent(part, whole) {
  if (!(whole > 0)) return "0\u202f%";
  const value = (part / whole) * 100;
  const digits = value > 0 && value < 0.1 ? 2 : value > 99 && value < 100 ? 2 : value < 10 ? 1 : 0;
  return `${format(digits).format(value)}\u202f%`;
}

/** Bytes. */
export function bytes(value) {
  if (value === null || value === undefined) return "unknown";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let [size, unit] = [Number(value), 0];
  while (size >= 1000 && unit < units.length - 1) [size, unit] = [size / 1000, unit + 1];
  return `${format(size < 10 && unit > 0 ? 1 : 0).format(size)} ${units[unit]}`;
}
