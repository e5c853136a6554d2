// Scales: from values and moments to places, and the round numbers along the way.
import { show, span } from "./times.js";

/** Round numbers that cover `low` to `high` in about `wanted` steps. */
export function ticks(low, high, wanted = 4) {
  if (!(high > low)) return low === 0 ? [0, 1] : [Math.min(0, low), Math.max(0, low)];
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= rough * 0.999);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

const DISTANCES = ["1s", "5s", "15s", "30s", "1m", "5m", "15m", "30m", "1h", "3h", "6h", "12h", "1d", "2d", "7d", "14d", "28d"].map(span);

/** Round moments between two, at most `most`, each with its label. */
export function timeTicks(from, to, most) {
  const distance = DISTANCES.find((d) => (to - from) / d <= most) ?? (to - from) / most;
  const moments = [];
  for (let at = Math.ceil(from / distance) * distance; at <= to; at += distance) moments.push(at);
  return moments.map((at) => ({ at, label: show(at, at % 86400e3 === 0 ? "day" : distance < 60e3 ? "second" : "time"), strong: at % 86400e3 === 0 }));
}

/** A straight scale. */
export function linear(from, to, start, end) {
  const factor = to === from ? 0 : (end - start) / (to - from);
  return (value) => start + (Number(value) - from) * factor;
}
