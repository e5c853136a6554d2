// A chart of one answer over time: what batch alone says as cloth, what speed adds as thread, the answer as the line on top.
// It is drawn from the server's points and nothing else. Arrow keys move a crosshair that reads the exact values.
import { drawn, element, newId } from "./element.js";
import { exact, rounded } from "./numbers.js";
import { linear, ticks, timeTicks } from "./scale.js";
import { showRange } from "./times.js";

const GROUPS = 6;

/** Runs of neighbouring points that have values. */
function runs(points, has) {
  const out = [];
  points.forEach((point, i) => {
    if (!has(point, i)) return;
    if (i > 0 && has(points[i - 1], i - 1)) out.at(-1).push(i);
    else out.push([i]);
  });
  return out;
}

const valued = (point) => point?.value !== null && point?.value !== undefined && Number.isFinite(Number(point.value));

export class Chart {
  /** `label` names it; a small one has no axes and is a picture only. */
  constructor({ label, small = false, read = () => {} }) {
    this.label = label;
    this.small = small;
    this.read = read;
    this.at = null;
    this.svg = drawn("svg", { "aria-hidden": "true", focusable: "false" });
    this.readout = element("div", { class: "readout", hidden: true });
    this.plot = element("div", { class: small ? "plot small" : "plot" }, this.svg, this.readout);
    this.node = this.plot;
    if (small) {
      this.plot.setAttribute("role", "img");
    } else {
      this.help = element("p", { class: "unseen", id: newId("help") }, "Arrow keys move along the points, Home and End to the ends.");
      Object.entries({ tabindex: "0", role: "slider", "aria-orientation": "horizontal", "aria-describedby": this.help.id })
        .forEach(([name, value]) => this.plot.setAttribute(name, value));
      this.node = element("div", null, this.plot, this.help);
      this.plot.addEventListener("keydown", (event) => this.#key(event));
      this.plot.addEventListener("focus", () => this.data && this.move(this.at ?? this.data.points.length - 1));
      this.plot.addEventListener("blur", () => this.move(null));
    }
    this.plot.addEventListener("pointermove", (event) => this.#point(event));
    this.plot.addEventListener("pointerleave", () => this.move(null));
    new ResizeObserver(() => this.draw()).observe(this.plot);
  }

  /** `{ points, batch?, stacked, window, step, isRatio, unit, groups? }`; `batch` are the same points of the batch layer alone. */
  show(data) {
    this.data = data;
    if (this.at !== null && this.at >= data.points.length) this.at = null;
    this.draw();
  }

  draw() {
    const { data } = this;
    const width = this.plot.clientWidth;
    if (!data || width === 0) return;
    const height = this.plot.clientHeight;
    const box = this.small ? { left: 0, right: width, top: 4, bottom: height - 2 } : { left: 52, right: width - 10, top: 10, bottom: height - 26 };
    this.#scales(data, box);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const layers = [];
    if (!this.small) layers.push(this.#axes(data, box));
    if (data.groups) layers.push(...data.groups.map((group, i) => this.#line(group.points, `group g${i % GROUPS}`)));
    else layers.push(...this.#answer(data, box));
    this.cross = drawn("g", { class: "cross" });
    this.svg.replaceChildren(...layers.filter(Boolean), this.cross);
    this.box = box;
    this.#tell(data);
    if (this.at !== null) this.move(this.at);
  }

  #scales(data, box) {
    const lists = data.groups ? data.groups.map((group) => group.points) : [data.points, data.batch ?? []];
    const values = lists.flat().filter(valued).map((point) => Number(point.value) * (data.isRatio ? 100 : 1));
    const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
    this.marks = ticks(low, high, this.small ? 2 : 4);
    const times = data.points.map((point) => Date.parse(point.time));
    this.times = times;
    this.from = times.length > 0 ? times[0] - (data.tumbling ? data.step : 0) : 0;
    this.to = times.at(-1) ?? 1;
    const bottom = this.small ? Math.min(low, 0) : this.marks[0];
    const top = this.small ? high || 1 : this.marks.at(-1);
    this.x = linear(this.from, this.to, box.left, box.right);
    const y = linear(bottom, top, box.bottom, box.top);
    this.y = (value) => y(Number(value) * (data.isRatio ? 100 : 1));
    this.zero = y(0);
  }

  #axes(data, box) {
    const level = (mark) => {
      const at = this.y(data.isRatio ? mark / 100 : mark);
      return [
        drawn("line", { class: mark === 0 ? "zero" : "grid", x1: box.left, x2: box.right, y1: at, y2: at }),
        drawn("text", { class: "tick", x: box.left - 8, y: at + 4, "text-anchor": "end" }, data.isRatio ? `${rounded(mark)}%` : rounded(mark)),
      ];
    };
    const moment = ({ at, label, strong }) => [
      drawn("line", { class: "grid", x1: this.x(at), x2: this.x(at), y1: box.bottom, y2: box.bottom + 5 }),
      drawn("text", { class: strong ? "tick strong" : "tick", x: this.x(at), y: box.bottom + 19, "text-anchor": this.x(at) > box.right - 24 ? "end" : this.x(at) < box.left + 20 ? "start" : "middle" }, label),
    ];
    const most = Math.max(2, Math.floor((box.right - box.left) / 72));
    return drawn("g", null, this.marks.map(level), timeTicks(this.from, this.to, most).map(moment));
  }

  /** Places along the points: windows side by side are steps, windows that overlap are a slope. */
  #path(list, indexes, value) {
    if (!this.data.tumbling) return indexes.map((i) => `${this.x(this.times[i]).toFixed(1)} ${value(list[i], i).toFixed(1)}`);
    return indexes.flatMap((i) => {
      const y = value(list[i], i).toFixed(1);
      return [`${this.x(this.times[i] - this.data.step).toFixed(1)} ${y}`, `${this.x(this.times[i]).toFixed(1)} ${y}`];
    });
  }

  #line(points, name) {
    const found = runs(points, valued).map((run) => {
      const path = this.#path(points, run, (point) => this.y(point.value));
      return path.length === 1 ? `M${path[0]}h0.01` : `M${path.join("L")}`;
    });
    return drawn("path", { class: `line ${name}`, d: found.join("") });
  }

  #area(points, name, upper, lower, has) {
    const found = runs(points, has).map((run) => {
      const above = this.#path(points, run, upper);
      const below = this.#path(points, run, lower).reverse();
      return `M${[...above, ...below].join("L")}Z`;
    });
    return drawn("path", { class: name, d: found.join("") });
  }

  #answer(data) {
    const { points, batch, stacked } = data;
    const layers = [];
    if (stacked) {
      const alone = (i) => (valued(batch?.[i]) ? batch[i].value : 0);
      const differs = (point, i) => valued(point) && Number(point.value) !== Number(alone(i));
      layers.push(this.#area(points, "cloth", (_, i) => this.y(alone(i)), () => this.zero, valued));
      layers.push(this.#area(points, "thread", (point) => this.y(point.value), (_, i) => this.y(alone(i)), differs));
    }
    if (batch && !stacked) layers.push(this.#line(batch, "alone"));
    layers.push(this.#line(points, "answer"));
    return layers;
  }

  /** What those hear who do not see it. */
  #tell({ points, isRatio }) {
    const values = points.filter(valued);
    const ends = values.length > 0 ? `from ${rounded(values[0].value, isRatio)} to ${rounded(values.at(-1).value, isRatio)}` : "no events";
    this.plot.setAttribute("aria-label", `${this.label}, ${points.length} points, ${ends}`);
    if (this.small) return;
    this.plot.setAttribute("aria-valuemin", "1");
    this.plot.setAttribute("aria-valuemax", String(Math.max(1, points.length)));
    if (!this.plot.hasAttribute("aria-valuenow")) {
      this.plot.setAttribute("aria-valuenow", String(Math.max(1, points.length)));
      if (points.length > 0) this.plot.setAttribute("aria-valuetext", this.#sentence(points.length - 1));
    }
  }

  #sentence(i) {
    const point = this.data.points[i];
    if (this.data.groups) return `${showRange(point.start, point.time)}: ${this.data.groups.map((group) => `${group.name} ${exact(group.points[i]?.value)}`).join(", ")}`;
    const alone = this.data.batch ? `, batch alone ${exact(this.data.batch[i]?.value)}` : "";
    return `${showRange(point.start, point.time)}: ${exact(point.value)}${alone}`;
  }

  /** Puts the crosshair on a point, or away. */
  move(i) {
    this.at = i;
    const point = i === null ? null : this.data?.points[i];
    this.read(point ? i : null);
    if (!point || !this.cross) {
      this.cross?.replaceChildren();
      this.readout.hidden = true;
      return;
    }
    const x = this.x(this.times[i] - (this.data.tumbling ? this.data.step / 2 : 0));
    const dot = (value, name) => value !== null && value !== undefined && drawn("circle", { class: name, cx: x, cy: this.y(value), r: this.small ? 3 : 4.5 });
    const dots = this.data.groups
      ? this.data.groups.map((group, n) => dot(group.points[i]?.value, `group g${n % GROUPS}`))
      : [dot(point.value, "answer")];
    this.cross.replaceChildren(drawn("line", { x1: x, x2: x, y1: this.box.top, y2: this.box.bottom }), ...dots.filter(Boolean));
    if (this.small) return;
    this.plot.setAttribute("aria-valuenow", String(i + 1));
    this.plot.setAttribute("aria-valuetext", this.#sentence(i));
    this.#readout(i, x);
  }

  #readout(i, x) {
    const { data } = this;
    const point = data.points[i];
    const row = (name, value, kind) => element("div", { class: kind }, element("dt", null, name), element("dd", { "data-value": String(value ?? "") }, exact(value)));
    const rows = data.groups
      ? data.groups.map((group, n) => row(group.name, group.points[i]?.value ?? null, `group g${n % GROUPS}`))
      : [row("answer", point.value, "answer"), data.batch && row("batch alone", data.batch[i]?.value ?? null, "alone")];
    for (const part of ["numerator", "denominator", "count", "sum", "min", "max"]) {
      if (!data.groups && part in point) rows.push(row(part, point[part], "part"));
    }
    this.readout.replaceChildren(element("p", null, showRange(point.start, point.time)), element("dl", null, rows.filter(Boolean)));
    this.readout.hidden = false;
    const flip = x > this.plot.clientWidth / 2;
    this.readout.style.left = flip ? "auto" : `${x + 14}px`;
    this.readout.style.right = flip ? `${this.plot.clientWidth - x + 14}px` : "auto";
  }

  #point(event) {
    if (!this.data || this.data.points.length === 0) return;
    const x = event.clientX - this.plot.getBoundingClientRect().left;
    const shift = this.data.tumbling ? this.data.step / 2 : 0;
    let nearest = 0;
    this.times.forEach((time, i) => {
      if (Math.abs(this.x(time - shift) - x) < Math.abs(this.x(this.times[nearest] - shift) - x)) nearest = i;
    });
    if (nearest !== this.at) this.move(nearest);
  }

  #key(event) {
    const last = (this.data?.points.length ?? 0) - 1;
    if (last < 0) return;
    const at = this.at ?? last;
    const to = { ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1, Home: 0, End: last, PageUp: at - 10, PageDown: at + 10 }[event.key];
    if (event.key === "Escape") return this.move(null);
    if (to === undefined) return undefined;
    event.preventDefault();
    return this.move(Math.min(last, Math.max(0, to)));
  }
}

/** What the colours mean. */
export function legend({ stacked, hasBatch }) {
  const item = (kind, text) => element("li", { class: kind }, text);
  return element("ul", { class: "legend" },
    item("answer", "the answer"),
    hasBatch && item(stacked ? "cloth" : "alone", "batch alone says"),
    stacked && item("thread", "speed adds"));
}
