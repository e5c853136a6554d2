// A question put together by hand: the address and the curl that ask the same, and the answer as it comes.
import { address, getText, key, Problem } from "./api.js";
import { announce, choices, element, newId, replaceIfNew, select, table } from "./element.js";
import { counted, exact, parse } from "./numbers.js";
import { go } from "./place.js";

/** Parameters in the order of the form, and what they mean. */
const FIELDS = [
  ["window", "Window", "1h"],
  ["from", "From", "now-1d, or 2026-01-31T12:00:00Z"],
  ["to", "To", "now"],
  ["at", "At", "instead of from and to"],
  ["step", "Step", "15m"],
  ["where", "Where", ""],
  ["order", "Order", "-value"],
  ["limit", "Limit", "1000"],
];
const ROWS = 500;
const PLAIN = ["text/csv", "application/x-ndjson"];

/** Safe for a shell within single quotes. */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** The section. */
export class Ask {
  constructor(app, { settings }) {
    this.app = app;
    const { range, end, ...given } = settings;
    this.given = given;
    this.metric = app.metric(given.metric) ?? app.metrics[0];
    this.form = element("form", { class: "ask", on: { submit: (event) => this.#submit(event), input: () => this.#input() } });
    this.url = element("code", { id: newId("url") });
    this.curl = element("code");
    this.answer = element("section", { class: "panel", "aria-labelledby": "answer-title", "aria-live": "off" });
    this.node = element("div", { class: "stack" },
      element("div", { class: "heading" }, element("h1", null, "Ask"), element("p", null, "Everything on this page is an answer to a question like this one.")),
      element("div", { class: "columns ask-columns" }, this.form,
        element("section", { class: "panel same", "aria-labelledby": "same-title" },
          element("h2", { id: "same-title" }, "The same from elsewhere"),
          element("h3", null, "Address"), this.#copied(this.url),
          element("h3", null, "Terminal"), this.#copied(this.curl))),
      this.answer);
  }

  async refresh() {
    if (this.drawn) return;
    this.drawn = true;
    this.#draw();
    this.#input();
    if (this.given.metric) await this.#run();
  }

  #draw() {
    const { metric, given } = this;
    const chosen = (given.dimension ?? "").split("\n").filter(Boolean);
    const dimension = ({ name }) => element("label", { class: "check" }, element("input", { type: "checkbox", name: "dimension", value: name, checked: chosen.includes(name) }), ` ${name}`);
    const field = ([name, label, hint]) => {
      const id = newId(name);
      return element("div", { class: "field" }, element("label", { for: id }, label),
        element("input", { id, name, type: "text", value: given[name] ?? (name === "window" ? metric.windows[0] ?? "" : ""), placeholder: name === "where" ? this.#condition() : hint, autocomplete: "off", spellcheck: "false" }));
    };
    const pick = (name) => go("ask", "", { metric: name }, { replace: true });
    const named = (chooser, name) => {
      for (const input of chooser.querySelectorAll("input")) input.name = name;
      return chooser;
    };
    this.form.replaceChildren(
      select("Metric", this.app.metrics.map(({ name }) => [name, name]), metric.name, pick),
      element("p", { class: "hint" }, metric.help ? `${metric.help.replace(/\.$/, "")}. ` : "", `Panes of ${metric.pane}: windows and steps are multiples of it.`),
      metric.dimensions.length > 0 ? element("fieldset", null, element("legend", null, "By"), metric.dimensions.map(dimension)) : "",
      element("div", { class: "fields" }, FIELDS.map(field)),
      named(choices("Layer", [["", "merged"], ["batch", "batch"], ["speed", "speed"]], given.layer ?? "", () => this.#input()), "layer"),
      named(choices("Windows without events", [["", "as they are"], ["none", "left out"], ["null", "null"], ["zero", "zero"]], given.fill ?? "", () => this.#input()), "fill"),
      named(choices("Format", [["", "JSON"], ["ndjson", "NDJSON"], ["csv", "CSV"]], given.format ?? "", () => this.#input()), "format"),
      element("div", null, element("button", { class: "primary", type: "submit" }, "Ask")));
  }

  /** A condition as one could be put. */
  #condition() {
    const [dimension] = this.metric.dimensions;
    if (!dimension) return "";
    const value = { string: "\"…\"", bool: "true" }[dimension.type] ?? "1";
    return `${dimension.name} = ${value}`;
  }

  /** What the form says, as parameters. */
  #parameters() {
    const data = new FormData(this.form);
    const dimension = data.getAll("dimension");
    const rest = Object.fromEntries([...FIELDS.map(([name]) => name), "layer", "fill"].map((name) => [name, String(data.get(name) ?? "").trim()]));
    return { parameters: { dimension, ...rest }, format: String(data.get("format") ?? "") };
  }

  #input() {
    const { parameters, format } = this.#parameters();
    const path = `api/analytics/metrics/${encodeURIComponent(this.metric.name)}${format ? `.${format}` : ""}`;
    this.asked = address(path, parameters);
    const whole = new URL(this.asked, document.baseURI).href;
    this.url.textContent = whole;
    // The key itself is not shown: it stays where it is kept.
    this.curl.textContent = `curl ${key() ? "-H \"Authorization: Bearer $SEAM_KEY\" " : ""}${quoted(whole)}`;
  }

  #copied(code) {
    const button = element("button", { type: "button", on: { click: async () => {
      await navigator.clipboard?.writeText(code.textContent).catch(() => {});
      announce("Copied");
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    } } }, "Copy");
    return element("div", { class: "copied" }, element("pre", { tabindex: "0" }, code), button);
  }

  #submit(event) {
    event.preventDefault();
    const { parameters, format } = this.#parameters();
    const { dimension, ...rest } = parameters;
    go("ask", "", { metric: this.metric.name, ...rest, dimension: dimension.join("\n"), format }, { replace: true });
  }

  async #run() {
    const begun = performance.now();
    const reply = await getText(this.asked, {});
    const took = Math.round(performance.now() - begun);
    const title = element("h2", { id: "answer-title" }, reply.status === 200 ? "Answer" : "Refused");
    const facts = element("p", { class: "hint" }, `${reply.status}, ${reply.type}, ${counted(reply.text.length, "character")}, ${took} ms${reply.tag ? `, ${reply.tag}` : ""}`);
    this.answer.replaceChildren(title, facts, ...this.#content(reply));
    announce(reply.status === 200 ? "Answered" : "Refused");
  }

  #content({ status, type, text }) {
    const plain = () => element("pre", { class: "folded", tabindex: "0" }, text.length > 100_000 ? `${text.slice(0, 100_000)}…` : text);
    if (PLAIN.some((one) => type.startsWith(one))) return [plain()];
    let body;
    try { body = parse(text); } catch { return [plain()]; }
    if (status !== 200) return [element("p", { class: "note alarm" }, new Problem(status, body).message), plain()];
    const { points } = body;
    const columns = [...new Set(points.flatMap((point) => Object.keys(point)))];
    const cell = (value) => (value === null || value === undefined ? element("span", { class: "hint" }, "null") : typeof value === "object" && !("source" in value) ? JSON.stringify(value) : typeof value === "string" || typeof value === "boolean" ? String(value) : exact(value));
    const rows = points.slice(0, ROWS).map((point) => columns.map((name) => element("span", { "data-value": String(point[name] ?? "") }, cell(point[name]))));
    const isNumber = (name) => !["time", "start", ...body.dimensions].includes(name);
    const left = points.length > ROWS ? `, the first ${ROWS} are shown` : "";
    return [
      points.length > 0 ? table(`${counted(points.length, "point")}${left}`, columns.map((name) => ({ name, number: isNumber(name) })), rows) : element("p", null, "No points."),
      element("details", null, element("summary", null, "What it says about itself"), element("pre", { class: "folded", tabindex: "0" }, JSON.stringify(body.meta, null, 2))),
    ];
  }
}
