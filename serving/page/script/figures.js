// The figures of the dashboard: each a number, the line that led to it, and which cloth it was cut from.
import { get } from "./api.js";
import { Chart, legend } from "./chart.js";
import { controls } from "./controls.js";
import { element, replaceIfNew } from "./element.js";
import { exact, rounded } from "./numbers.js";
import { go, link } from "./place.js";
import { SourceStrips } from "./seam.js";
import { endOf, isShare, rangeOf, seriesOf, windowsOf } from "./series.js";
import { shareBar } from "./strip.js";
import { iso, showRange, spanWords } from "./times.js";

class Card {
  constructor(metric) {
    this.metric = metric;
    this.value = element("p", { class: "value" });
    this.window = element("p", { class: "window" });
    this.detail = element("p", { class: "detail" });
    this.shares = element("div");
    this.chart = new Chart({ label: metric.name, small: true, read: (i) => this.#read(i) });
    this.title = element("a", { href: "#" }, metric.name);
    this.node = element("article", { class: "card", "data-metric": metric.name },
      element("header", null, element("h2", null, this.title), element("p", { class: "hint" }, metric.help)),
      this.value, this.window, this.chart.node, this.detail, this.shares);
  }

  /** The figure as the dashboard has it. */
  show(figure, settings) {
    this.figure = figure;
    this.title.setAttribute("href", link("metric", this.metric.name, settings));
    this.#number(figure);
    this.detail.textContent = this.#parts(figure);
    this.shares.replaceChildren(...figure.shares.map((shares) =>
      element("div", null, figure.shares.length > 1 && element("p", { class: "share-of" }, shares.view), shareBar(shares))));
  }

  #number(point) {
    const isRatio = isShare(this.metric);
    const text = rounded(point.value, isRatio);
    const changed = this.value.dataset.value !== undefined && this.value.dataset.value !== String(point.value);
    this.value.dataset.value = String(point.value);
    this.value.title = exact(point.value);
    this.value.classList.toggle("none", point.value === null);
    this.value.replaceChildren(text, this.metric.unit && point.value !== null ? element("small", null, ` ${this.metric.unit}`) : "");
    this.window.textContent = showRange(point.start, point.time);
    if (changed && this.live) {
      this.value.classList.remove("changed");
      requestAnimationFrame(() => this.value.classList.add("changed"));
    }
    this.live = true;
  }

  /** While the pointer is on the line, the card shows that point. */
  #read(i) {
    this.live = false;
    this.node.classList.toggle("reading", i !== null);
    if (this.figure) this.#number(i === null ? this.figure : this.chart.data.points[i]);
  }

  #parts(figure) {
    const { not_finite: other } = figure;
    const apart = other ? `; apart: ${Object.entries(other).filter(([, n]) => n > 0).map(([name, n]) => `${exact(n)} ${name === "nan" ? "NaN" : name}`).join(", ")}` : "";
    if ("numerator" in figure) return `${exact(figure.numerator)} of ${exact(figure.denominator)}`;
    if ("sum" in figure) return `${exact(figure.count)} values, ${rounded(figure.min ?? null)} to ${rounded(figure.max ?? null)}${apart}`.replace("no events to no events", "none to compare");
    return "";
  }
}

/** The section. */
export class Figures {
  constructor(app, { settings }) {
    this.app = app;
    this.settings = settings;
    this.metrics = [];
    this.cards = [];
    this.note = element("div");
    this.controls = element("div");
    this.grid = element("div", { class: "figures" });
    this.strips = new SourceStrips(app, { brief: true });
    this.node = element("section", { "aria-labelledby": "figures-title" },
      element("div", { class: "heading" },
        element("h1", { id: "figures-title" }, "Figures"),
        element("p", null, "Each number is one answer, cut from two cloths: what batch has recomputed, and what speed has read since.")),
      this.strips.node, this.controls, this.note, this.grid, legend({ stacked: true, hasBatch: true }));
  }

  async refresh(signal) {
    const { app } = this;
    const { dashboard, newest } = app;
    this.strips.show(app.pipeline);
    if (dashboard.length === 0) {
      const [source] = app.sources();
      const curl = element("code", null, `curl -d '{…}' -H 'content-type: application/json' ${new URL(`v1/events/${source ?? "SOURCE"}`, document.baseURI)}`);
      replaceIfNew(this.note, source, element("p", { class: "note" }, "There is nothing to answer from yet. Send the first event: ", curl));
      return;
    }
    const windows = windowsOf(dashboard);
    const settings = { ...this.settings, window: this.settings.window ?? app.standardWindow(dashboard) };
    this.#frame(settings, windows, newest);
    const end = endOf(settings, newest);
    const answer = await get("api/analytics/dashboard", { window: settings.window, at: end === null ? null : iso(end) }, { signal });
    const mark = `${answer.mark} ${JSON.stringify(settings)} ${app.generations()}`;
    if (this.mark === mark) return;
    this.#cards(answer.body, settings);
    const { stamp } = answer.body.meta;
    app.warn(this.note, stamp);
    this.grid.dataset.coverage = stamp.coverage;
    await Promise.all(this.cards.map(async (card) => {
      const series = await seriesOf(card.metric, rangeOf(settings, card.metric, newest), { signal });
      card.chart.show(series.data);
    }));
    this.mark = mark;
  }

  #frame(settings, windows, newest) {
    const [metric] = this.app.dashboard;
    const change = (changed) => go("figures", "", { ...this.settings, ...changed }, { replace: true });
    replaceIfNew(this.controls, [settings, windows, newest === null], () => controls({ settings, metric, windows, newest, change }));
  }

  #cards(body, settings) {
    const names = body.metrics.map((figure) => figure.metric).join();
    if (this.names !== names) {
      this.names = names;
      this.cards = body.metrics.map((figure) => new Card(this.app.metric(figure.metric)));
      this.grid.replaceChildren(...this.cards.map((card) => card.node));
    }
    body.metrics.forEach((figure, i) => this.cards[i].show(figure, this.settings));
    this.grid.setAttribute("aria-label", `The last ${spanWords(settings.window)}`);
  }
}
