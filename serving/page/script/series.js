// Fetching what charts draw: the answer, and beside it what the batch layer alone says, at one generation.
import { get, Problem } from "./api.js";
import { iso, span, spanText, stepFor } from "./times.js";

const route = (metric) => `api/analytics/metrics/${encodeURIComponent(metric)}`;

/** Milliseconds that every window and step of a metric is a multiple of. */
export function paneOf(metric) {
  return span(metric.pane);
}

/** The windows that can be asked of all these metrics; the first is the standard one. */
export function windowsOf(metrics) {
  const [first, ...rest] = metrics.map((metric) => metric.windows);
  const shared = (first ?? []).filter((window) => rest.every((windows) => windows.includes(window)));
  return shared.length > 0 ? shared : first ?? [];
}

/** The range of a picture as parameters: it ends with the newest events, now, or at a moment. */
export function rangeOf(settings, metric, newest) {
  const range = span(settings.range);
  const pane = paneOf(metric);
  const step = settings.step && span(settings.step) % pane === 0 ? settings.step : stepFor(range, pane);
  const common = { window: settings.window, step };
  const end = endOf(settings, newest);
  if (end === null) return { ...common, from: `now-${spanText(range)}`, to: "now" };
  return { ...common, from: iso(end - range), to: iso(end) };
}

/** The moment at which pictures end; `null` is now. */
export function endOf(settings, newest) {
  if (settings.end === "now") return null;
  if (settings.end !== "newest") {
    const moment = Date.parse(settings.end);
    return Number.isNaN(moment) ? null : moment;
  }
  return newest;
}

/** Whether a value is a sum over events: then what batch says is a part of it. */
function isSum(points) {
  return points.every((point) => !("numerator" in point) && (!("sum" in point) || String(point.sum) === String(point.value)));
}

/** The newest generation that each view of an answer was made from, as text to compare. */
function generations(body) {
  return JSON.stringify(body.meta.stamp.views.map((view) => [view.id, view.generation]));
}

/** What the batch layer alone says; `null` where there is no generation yet, or it is not the one of `like`. */
async function batchAlone(metric, parameters, like, signal) {
  if (like.meta.stamp.views.some((view) => view.generation === null)) return null;
  try {
    const { body } = await get(route(metric.name), { ...parameters, layer: "batch" }, { signal });
    return generations(body) === generations(like) ? body.points : null;
  } catch (error) {
    if (error instanceof Problem && error.status === 503) return null;
    throw error;
  }
}

/** Everything a chart of a metric needs. */
export async function seriesOf(metric, parameters, { signal, groups } = {}) {
  const answer = await get(route(metric.name), { ...parameters, limit: 10000 }, { signal });
  const { body } = answer;
  const stacked = isSum(body.points);
  const batch = groups ? null : await batchAlone(metric, { ...parameters, limit: 10000 }, body, signal);
  return {
    ...answer,
    data: {
      points: body.points,
      batch,
      stacked: stacked && !groups,
      window: parameters.window,
      step: span(parameters.step),
      tumbling: span(parameters.step) === span(body.window),
      isRatio: isShare(metric),
      groups,
    },
  };
}

/** The groups of a metric in one window, largest first; each with what batch alone says of it. */
export async function groupsOf(metric, dimension, parameters, limit, signal) {
  const ask = { ...parameters, dimension, order: "-value", limit };
  const { body, url } = await get(route(metric.name), ask, { signal });
  const alone = await batchAlone(metric, { ...ask, limit: 10000 }, body, signal);
  const name = (point) => JSON.stringify(point[dimension] ?? null);
  const batch = alone && new Map(alone.map((point) => [name(point), point.value]));
  const groups = body.points.map((point) => ({ point, value: point[dimension], batch: batch ? batch.get(name(point)) ?? null : undefined }));
  return { groups, stacked: isSum(body.points), body, url };
}

/** The condition that a dimension has a value, as the `where` parameter spells it. */
export function condition(dimension, value) {
  if (value === null || value === undefined) return `${dimension} is null`;
  return `${dimension} = ${typeof value === "string" ? JSON.stringify(value) : String(value)}`;
}

/** Two conditions as one. */
export function both(a, b) {
  return a && b ? `(${a}) and ${b}` : a || b;
}

/** A ratio without a unit is a share of a whole, and shown in percent. */
export function isShare(metric) {
  return metric.kind === "ratio" && !metric.unit;
}
