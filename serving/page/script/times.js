// Times and spans: read, computed and shown. All in UTC, in milliseconds.
const UNITS = { ms: 1, s: 1e3, m: 60e3, h: 3600e3, d: 86400e3, w: 7 * 86400e3 };

/** Milliseconds of `1h30m`; NaN if it is none. */
export function span(text) {
  if (!/^(\d+(ms|s|m|h|d|w))+$/.test(text)) return Number.NaN;
  return [...text.matchAll(/(\d+)(ms|s|m|h|d|w)/g)].reduce((sum, [, n, unit]) => sum + n * UNITS[unit], 0);
}

/** `1h30m` for milliseconds. */
export function spanText(milliseconds) {
  let [rest, out] = [Math.round(milliseconds), ""];
  for (const unit of ["d", "h", "m", "s", "ms"]) {
    const n = Math.floor(rest / UNITS[unit]);
    if (n > 0) out += `${n}${unit}`;
    rest -= n * UNITS[unit];
  }
  return out || "0s";
}

const NAMES = { d: "day", h: "hour", m: "minute", s: "second", ms: "millisecond", w: "week" };

/** A span as words: `1 hour`, `15 minutes`. */
export function spanWords(text) {
  const parts = [...String(text).matchAll(/(\d+)(ms|s|m|h|d|w)/g)];
  return parts.map(([, n, unit]) => `${n} ${NAMES[unit]}${n === "1" ? "" : "s"}`).join(" ") || String(text);
}

const styles = {
  time: { hour: "2-digit", minute: "2-digit" },
  second: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
  day: { day: "numeric", month: "short" },
  moment: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" },
  full: { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" },
  exact: { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" },
};
const formats = Object.fromEntries(
  Object.entries(styles).map(([name, style]) =>
    [name, new Intl.DateTimeFormat("en-GB", { ...style, timeZone: "UTC", hourCycle: "h23" })]));

/** A moment in one of the styles. */
export function show(moment, style = "full") {
  const date = new Date(moment);
  return Number.isNaN(date.getTime()) ? "unknown" : formats[style].format(date);
}

/** Moments of one window, without saying the same day twice. */
export function showRange(from, to) {
  const [a, b] = [new Date(from), new Date(to)];
  const sameDay = a.toISOString().slice(0, 10) === new Date(b - 1).toISOString().slice(0, 10);
  const last = b % UNITS.d === 0 && sameDay ? "24:00" : show(b, sameDay ? "time" : "moment");
  return `${show(a, "moment")} to ${last}`;
}

/** How long ago, in words that need not tick every second. */
export function ago(moment, now) {
  const seconds = Math.max(0, Math.round((now - new Date(moment)) / 1000));
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${Math.floor(seconds / 5) * 5} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

/** RFC 3339, whole seconds. */
export function iso(moment) {
  return new Date(moment).toISOString().replace(/\.000Z$/, "Z");
}

/** Steps that people think in. */
export const STEPS = ["1s", "5s", "10s", "30s", "1m", "5m", "10m", "15m", "30m", "1h", "2h", "3h", "6h", "12h", "1d", "7d"];

/** The smallest such step on the grid of the panes that makes at most `points` of a range. */
export function stepFor(range, pane, points = 120) {
  const fits = (step) => span(step) % pane === 0 && range % span(step) === 0 && range / span(step) <= points;
  return STEPS.find(fits) ?? spanText(Math.ceil(range / points / pane) * pane);
}
