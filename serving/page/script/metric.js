// One metric whole: its course, its groups, and how the answer came about.
import { get, listen } from "./api.js";
import { Chart, legend } from "./chart.js";
import { controls } from "./controls.js";
import { announce, choices, element, replaceIfNew, table } from "./element.js";
import { count, counted, exact, percent, rounded } from "./numbers.js";
import { go, link } from "./place.js";
import { both, condition, endOf, groupsOf, isShare, rangeOf, seriesOf, windowsOf } from "./series.js";
import { shareBar } from "./strip.js";
import { iso, show, showRange, spanWords } from "./times.js";

/** Groups that are listed, and those that are drawn. */
const LISTED = 15;
const DRAWN = 6;

/** The section. */
export class Metric {
  constructor(app, { name, settings }) {
    this.app = app;
    this.settings = settings;
    this.metric = app.metric(name) ?? null;
    this.chart = new Chart({ label: name });
    this.controls = element("div");
    this.filters = element("p", { class: "filters" });
    this.note = element("div");
    this.now = element("div", { class: "lead" });
    this.legend = element("div");
    this.rows = element("details", { class: "rows", on: { toggle: () => this.#table() } }, element("summary", null, "The points as a table"), element("div", { class: "folded" }));
    this.groups = element("section", { class: "panel", "aria-labelledby": "groups-title" });
    this.proof = element("section", { class: "panel", "aria-labelledby": "proof-title" });
    this.node = this.metric ? this.#whole(name) : element("div", { class: "stack" }, element("h1", null, name), element("p", { class: "note alarm" }, `There is no metric ${name}. `, element("a", { href: link("figures") }, "See the figures"), "."));
  }

  #whole(name) {
    const { metric } = this;
    return element("div", { class: "stack" },
      element("section", { "aria-labelledby": "metric-title" },
        element("div", { class: "heading" }, element("h1", { id: "metric-title" }, name), element("p", null, metric.help ?? "")),
        element("div", { class: "controls" }, this.#chooser(name)),
        this.controls, this.filters, this.note),
      element("figure", { class: "panel wide" }, this.now, this.chart.node, this.legend, this.rows),
      element("div", { class: "columns" }, this.groups, this.proof));
  }

  #chooser(name) {
    const names = this.app.metrics.map((metric) => element("a", { href: link("metric", metric.name, { range: this.settings.range, end: this.settings.end }), "aria-current": metric.name === name ? "page" : null }, metric.name));
    return element("nav", { class: "metrics", "aria-label": "Metrics" }, names);
  }

  #change(changed) {
    go("metric", this.metric.name, { ...this.settings, ...changed }, { replace: true });
  }

  async refresh(signal) {
    const { app, metric } = this;
    if (!metric) return;
    const { newest } = app;
    const settings = { ...this.settings, window: this.settings.window ?? app.standardWindow([metric]) };
    this.#frame(settings, newest);
    const parameters = { ...rangeOf(settings, metric, newest), where: settings.where };
    const end = endOf(settings, newest);
    const moment = { window: settings.window, at: end === null ? null : iso(end), where: settings.where };
    const current = await get(`api/analytics/metrics/${encodeURIComponent(metric.name)}`, moment, { signal });
    const mark = `${current.mark} ${app.generations()} ${JSON.stringify([parameters, settings])}`;
    if (this.mark === mark) return;
    app.warn(this.note, current.body.meta.stamp);
    this.#lead(current.body);
    await this.#draw(settings, parameters, moment, signal);
    await this.#explain(moment, signal);
    this.mark = mark;
  }

  #frame(settings, newest) {
    const { metric } = this;
    const change = (changed) => this.#change(changed);
    replaceIfNew(this.controls, [settings, newest === null], () => controls({ settings, metric, windows: windowsOf([metric]), newest, withStep: true, change }));
    replaceIfNew(this.filters, settings.where ?? "", ...(settings.where
      ? [element("span", null, "Only where "), element("code", null, settings.where), " ", element("button", { type: "button", on: { click: () => change({ where: "" }) } }, "Show all")]
      : []));
  }

  #lead(body) {
    const [point] = body.points;
    const isRatio = isShare(this.metric);
    const made = point
      ? [element("p", { class: point.value === null ? "value none" : "value", "data-value": String(point.value), title: exact(point.value) }, rounded(point.value, isRatio), this.metric.unit && point.value !== null ? element("small", null, ` ${this.metric.unit}`) : ""),
        element("p", { class: "window" }, showRange(point.start, point.time))]
      : [element("p", { class: "value none" }, "no events")];
    const shares = body.meta.stamp.views.filter((view) => view.shares).map((view) => element("div", { class: "lead-share" }, body.meta.stamp.views.length > 1 && element("p", { class: "share-of" }, view.view), shareBar(view.shares)));
    this.now.replaceChildren(element("div", null, made), ...shares);
  }

  async #draw(settings, parameters, moment, signal) {
    const { metric } = this;
    const by = settings.by && metric.dimensions.some((dimension) => dimension.name === settings.by) ? settings.by : null;
    let groups;
    if (by) {
      const found = await groupsOf(metric, by, moment, LISTED, signal);
      this.#breakdown(found, by, settings);
      if (settings.split === "lines" && found.groups.length > 0) groups = await this.#lines(found.groups.slice(0, DRAWN), by, parameters, signal);
    } else {
      this.#breakdown(null, null, settings);
    }
    const series = await seriesOf(metric, parameters, { signal, groups });
    this.series = series;
    this.chart.show(series.data);
    replaceIfNew(this.legend, [series.data.stacked, Boolean(series.data.batch), groups?.map((group) => group.name)], groups ? groupLegend(groups) : legend({ stacked: series.data.stacked, hasBatch: Boolean(series.data.batch) }));
    this.#table();
    if (this.announced !== JSON.stringify(settings)) {
      this.announced = JSON.stringify(settings);
      announce(`${metric.name}, ${spanWords(settings.window)} windows, ${counted(series.data.points.length, "point")}`);
    }
  }

  async #lines(groups, by, parameters, signal) {
    return Promise.all(groups.map(async ({ value }) => {
      const where = both(parameters.where, condition(by, value));
      const { body } = await get(`api/analytics/metrics/${encodeURIComponent(this.metric.name)}`, { ...parameters, where, limit: 10000 }, { signal });
      return { name: String(value ?? "none"), points: body.points };
    }));
  }

  #breakdown(found, by, settings) {
    const { metric } = this;
    const none = [["", "nothing"], ...metric.dimensions.map((dimension) => [dimension.name, dimension.name])];
    const made = [element("h2", { id: "groups-title" }, by ? `By ${by}` : "Break it down")];
    made.push(element("div", { class: "controls" },
      choices("By", none, by ?? "", (chosen) => this.#change({ by: chosen })),
      by && choices("Drawn as", [["", "one line"], ["lines", `the ${DRAWN} largest`]], settings.split ?? "", (split) => this.#change({ split }))));
    if (found) made.push(this.#bars(found, by, settings));
    else made.push(element("p", { class: "hint" }, metric.dimensions.length > 0 ? "Choose a dimension to see which groups the number is made of." : "This metric has no dimensions."));
    replaceIfNew(this.groups, [by, settings, found?.groups.map((group) => [group.point, group.batch])], made);
  }

  #bars({ groups, stacked, body }, by, settings) {
    const isRatio = isShare(this.metric);
    const most = Math.max(0, ...groups.map((group) => Number(group.point.value ?? 0)));
    const rows = groups.map(({ point, value, batch }, i) => {
      const name = String(value ?? "none");
      const only = both(settings.where, condition(by, value));
      const swatch = settings.split === "lines" && i < DRAWN && element("i", { class: `swatch g${i}` });
      return [
        element("a", { href: link("metric", this.metric.name, { ...settings, where: only }), title: `Only ${by} ${name}` }, swatch, name),
        bar(Math.max(0, Number(point.value ?? 0)), Math.max(0, Number(batch ?? 0)), most, stacked),
        element("span", { "data-value": String(point.value), title: exact(point.value) }, rounded(point.value, isRatio)),
        batch === undefined ? "" : element("span", { title: exact(batch) }, batch === null ? "none" : rounded(batch, isRatio)),
      ];
    });
    const more = body.meta.rows > groups.length ? `, the largest ${groups.length} of ${body.meta.rows}` : "";
    return rows.length > 0
      ? table(`${this.metric.name} by ${by}${more}; select one to see it alone`, [{ name: by }, { name: "Compared" }, { name: "Answer", number: true }, { name: "Batch alone", number: true }], rows)
      : element("p", { class: "hint" }, "No events in this window.");
  }

  #table() {
    const { data } = this.series ?? {};
    if (!data || !this.rows.open) return;
    const list = data.points.map((point, i) => [showRange(point.start, point.time), element("span", { "data-time": point.time, "data-value": String(point.value) }, exact(point.value)), data.batch ? exact(data.batch[i]?.value) : ""]);
    const columns = [{ name: "Window" }, { name: "Answer", number: true }, { name: "Batch alone", number: true }];
    replaceIfNew(this.rows.lastElementChild, [data.points, data.batch], table(`${this.metric.name}, every point with every digit`, columns, list));
  }

  async #explain(moment, signal) {
    const { body } = await get(`api/analytics/explain/${encodeURIComponent(this.metric.name)}`, moment, { signal });
    const views = body.stamp.views.map((view) => proofOf(view, body.views.find((part) => part.id === view.id)));
    this.proof.replaceChildren(
      element("h2", { id: "proof-title" }, "How this number came about"),
      element("p", { class: "coverage" }, "Exactly the fold of the log up to ", element("code", null, body.stamp.coverage), ahead(body.lag)),
      ...views,
      element("p", { class: "hint" }, `${Object.entries(body.milliseconds).map(([step, took]) => `${step} ${took} ms`).join(", ")}. `,
        element("a", { href: link("ask", "", { metric: this.metric.name, ...Object.fromEntries(Object.entries(moment).filter(([, value]) => value)) }) }, "Ask for it yourself")));
  }

  /** The feed tells of changes at once; it is asked again when it ends. */
  async follow(signal, hear) {
    if (!this.metric || this.settings.end !== "now") return;
    await listen("api/analytics/live", { metric: this.metric.name, window: this.settings.window, where: this.settings.where }, hear, signal);
  }
}

function groupLegend(groups) {
  return element("ul", { class: "legend" }, groups.map((group, i) => element("li", { class: `group g${i}` }, group.name)));
}

/** A bar of the answer, with what batch alone says in it as cloth. */
function bar(value, batch, most, stacked) {
  const part = (amount) => (most > 0 ? `${((amount / most) * 100).toFixed(2)}%` : "0%");
  const cloth = element("span", { class: "cloth" });
  const thread = element("span", { class: stacked ? "thread" : "whole" });
  const inner = stacked ? Math.min(batch, value) : 0;
  cloth.style.width = part(inner);
  thread.style.width = part(Math.max(0, value - inner));
  return element("span", { class: "bar", "aria-hidden": "true" }, cloth, thread);
}

/** What the log holds beyond an answer, if it holds anything: `flights/0=12,flights/1=0`. */
function ahead(lag) {
  const parts = (lag ?? "").split(",").map((part) => part.split("=")).filter(([, records]) => Number(records) > 0);
  return parts.length > 0 ? `; the log is ahead by ${parts.map(([place, records]) => `${counted(records, "record")} in ${place}`).join(", ")}` : "";
}

/** What a view put into an answer. */
function proofOf(view, part) {
  const total = view.shares ? Number(view.shares.batch.events ?? view.shares.batch.rows) + Number(view.shares.speed.events ?? view.shares.speed.rows) : 0;
  const amount = (share) => `${"events" in share ? counted(share.events, "event") : counted(share.rows, "row")} (${percent(Number(share.events ?? share.rows), total)})`;
  const line = (name, ...value) => element("div", null, element("dt", null, name), element("dd", null, ...value));
  const generation = part?.generation;
  const segments = part?.partitions.reduce((sum, partition) => sum + (partition.closed_segments_used ?? 0), 0) ?? 0;
  return element("article", { class: "proof" },
    element("h3", null, view.view, " ", element("code", { class: "hint" }, view.definition)),
    element("dl", null,
      line("Batch", generation ? `generation ${generation.number}, ${counted(generation.files.length, "file")} of ${count(generation.files_in_all)} read, published ${show(generation.published, "exact")}` : "no generation yet"),
      view.shares && line("", element("span", { class: "of-batch" }, amount(view.shares.batch))),
      line("Speed", `${counted(segments, "closed segment")} and the open one, from the stitches on`),
      view.shares && line("", element("span", { class: "of-speed" }, amount(view.shares.speed))),
      part?.late?.events > 0 && line("", `of them ${counted(part.late.events, "late event")}: batch had covered their time already`),
      line("Cut B", element("code", null, view.batch?.text ?? "none")),
      line("Position S", element("code", null, view.speed?.text ?? "none")),
      line("Coverage", element("code", null, view.coverage.text)),
      line("Not counted", excluded(view.excluded))));
}

/** The records below the coverage that count nowhere. */
function excluded(found) {
  if (!found) return "an older file does not say how many records count nowhere";
  const { duplicates, invalid } = found;
  if (duplicates + invalid === 0) return "nothing: each record of the log below it counts";
  return `${counted(duplicates, "duplicate")} and ${counted(invalid, "invalid record")} of the log below it`;
}
