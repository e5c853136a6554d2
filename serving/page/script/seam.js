// The seam: how far each half of the answers reaches, generation by generation, and the batch runs that move it.
import { element, replaceIfNew, select, table } from "./element.js";
import { bytes, count, counted } from "./numbers.js";
import { go, link } from "./place.js";
import { Strip } from "./strip.js";
import { ago, show, spanWords } from "./times.js";

/** Strips that a brief picture shows of a source. */
const BRIEF = 3;

/** One partition of a source as a strip shows it: where all these views meet, which is the earliest of them. */
function partOf(source, views, number) {
  const place = source.partitions.find((partition) => partition.partition === number);
  const parts = views.map((view) => ({ view, part: view.partitions.find((part) => part.partition === number) })).filter(({ part }) => part);
  const [first] = parts.toSorted((a, b) => (a.part.cut ?? 0) - (b.part.cut ?? 0));
  const positions = parts.map(({ part }) => part.position);
  return {
    start: place.log_start,
    archived: place.archived,
    end: place.log_end,
    cut: first?.part.cut ?? null,
    position: positions.some((position) => position === null) || positions.length === 0 ? null : Math.min(...positions),
    generation: first?.view.generation?.number ?? null,
    cuts: first?.view.history.map((generation) => generation.cut[number] ?? 0) ?? [],
    segments: first?.part.segments ?? [],
  };
}

/** The strips of all sources, or of one view's. */
export class SourceStrips {
  constructor(app, { brief = false } = {}) {
    this.app = app;
    this.brief = brief;
    this.strips = new Map();
    this.node = element("div", { class: brief ? "strips brief" : "strips" });
  }

  show(pipeline, only = null) {
    if (!pipeline) return;
    const shown = [];
    for (const source of pipeline.sources) {
      if (only ? only.source !== source.name : source.own && pipeline.sources.length > 1) continue;
      const views = only ? [only] : pipeline.views.filter((view) => view.source === source.name);
      const partitions = this.brief ? source.partitions.slice(0, BRIEF) : source.partitions;
      for (const { partition } of partitions) shown.push(this.#strip(source, views, partition));
      const more = source.partitions.length - partitions.length;
      if (more > 0) shown.push(element("p", { class: "hint" }, element("a", { href: link("seam") }, `${counted(more, "more partition")} of ${source.name}`)));
    }
    replaceIfNew(this.node, [only?.id, shown.length], shown);
  }

  #strip(source, views, number) {
    const name = `${source.name}/${number}`;
    if (!this.strips.has(name)) this.strips.set(name, new Strip(name));
    const strip = this.strips.get(name);
    strip.show(partOf(source, views, number));
    return strip.node;
  }
}

/** What the audit of a generation found. */
function drift(generation) {
  const found = generation?.drift;
  if (found?.groups === 0) return element("span", { class: "good" }, "none");
  if (typeof found?.groups === "number") return element("strong", { class: "bad" }, counted(found.groups, "group"));
  if (found?.not_audited) return element("span", { class: "hint", title: found.not_audited }, "not audited");
  return "unknown";
}

const fact = (name, value, words, kind) =>
  element("div", { class: kind }, element("dt", null, name), element("dd", null, element("strong", null, value), words && element("span", null, words)));

/** The section. */
export class Seam {
  constructor(app, { settings }) {
    this.app = app;
    this.settings = settings;
    this.strips = new SourceStrips(app);
    this.chooser = element("div", { class: "controls" });
    this.facts = element("dl", { class: "facts" });
    this.views = element("div");
    this.history = element("div");
    this.runs = element("div");
    this.note = element("div");
    this.node = element("div", { class: "stack" },
      element("section", { "aria-labelledby": "seam-title" },
        element("div", { class: "heading" },
          element("h1", { id: "seam-title" }, "The seam"),
          element("p", null, "The log, from its first record to its last. Batch has recomputed everything left of the stitches, speed holds what is right of them, and an answer is both: no record is in neither, none in two.")),
        this.chooser, this.note, this.strips.node, this.facts),
      element("section", { "aria-labelledby": "runs-title" }, element("div", { class: "heading" }, element("h2", { id: "runs-title" }, "Batch runs")), this.runs),
      element("section", { "aria-labelledby": "history-title" }, element("div", { class: "heading" }, element("h2", { id: "history-title" }, "Generations")), this.history),
      element("section", { "aria-labelledby": "views-title" }, element("div", { class: "heading" }, element("h2", { id: "views-title" }, "Views")), this.views));
  }

  async refresh() {
    const { pipeline } = this.app;
    if (!pipeline) {
      replaceIfNew(this.note, "away", element("p", { class: "note" }, "How the pipeline stands cannot be had from this server."));
      return;
    }
    replaceIfNew(this.note, pipeline.unknown, ...pipeline.unknown.map((what) => element("p", { class: "note" }, what)));
    const view = pipeline.views.find((one) => one.view === this.settings.view) ?? pipeline.views[0];
    const names = pipeline.views.map((one) => [one.view, `${one.view} (${one.source})`]);
    replaceIfNew(this.chooser, [names, view?.view], () => select("View", names, view?.view, (chosen) => go("seam", "", { ...this.settings, view: chosen }, { replace: true })));
    if (!view) return;
    this.strips.show(pipeline, view);
    this.#facts(pipeline, view);
    this.#runs(pipeline);
    this.#history(pipeline, view);
    this.#views(pipeline);
  }

  #facts(pipeline, view) {
    const source = pipeline.sources.find((one) => one.name === view.source);
    const now = Date.parse(pipeline.now);
    const sum = (values) => (values.some((value) => value === null) ? null : values.reduce((a, b) => a + b, 0));
    const lag = sum(view.partitions.map((part) => {
      const end = source.partitions.find((place) => place.partition === part.partition)?.log_end ?? null;
      return end === null ? null : Math.max(0, end - Math.max(part.position ?? 0, part.cut ?? 0));
    }));
    const { generation } = view;
    const made = [
      fact("Lag", count(lag), lag === 1 ? "record is not in the answer yet" : "records are not in the answer yet", lag > 0 ? "some" : null),
      fact("Late events", count(source.late), source.late === null ? "counted where events are folded" : "came after newer ones; all are counted"),
      fact("Duplicates", count(source.duplicates), source.duplicates === null ? "counted where events are folded" : "came again; counted once"),
      fact("Refused", count(source.dead_letters), element("a", { href: link("refused", source.name) }, "kept with the reason")),
      fact("Drift", drift(generation), "between the halves at the last publish"),
      fact("Generation", generation ? String(generation.number) : "none", generation ? `published ${ago(generation.published, now)}` : "batch has not run yet"),
    ];
    this.facts.replaceChildren(...made);
  }

  #runs({ batch, now }) {
    const at = Date.parse(now);
    const schedule = batch.schedule ? `Schedule ${batch.schedule} (${batch.zone})` : "No schedule: runs are started by hand, with `seam batch run`";
    const next = batch.next ? `, next at ${show(batch.next, "exact")}` : "";
    const running = batch.running.map((run) => this.#running(run, at));
    const idle = running.length === 0 && element("p", null, "No run is at work.");
    const rows = (batch.runs ?? []).map((run) => [
      run.view, show(run.begun, "exact"), run.status, run.generation === null ? "" : String(run.generation), String(run.days), count(run.rows), `${run.seconds.toFixed(2)} s`, run.error ?? "",
    ]);
    const columns = ["View", "Begun", "Ended as", { name: "Generation", number: true }, { name: "Days", number: true }, { name: "Events", number: true }, { name: "Took", number: true }, { name: "Because", wrap: true }];
    const list = batch.runs === null
      ? element("p", { class: "hint" }, "The runs that ended are known to the process that runs them; the generations below say what came of them.")
      : rows.length > 0 ? table("The latest runs that found something to do, or failed", columns.map((column) => (typeof column === "string" ? { name: column } : column)), rows) : null;
    replaceIfNew(this.runs, [batch, running.length > 0 && now], element("p", { class: "hint" }, schedule + next), running, idle || "", list ?? "");
  }

  #running(run) {
    const known = run.days !== null;
    const what = known ? `${run.view}: day ${run.days_done} of ${run.days}` : `${run.view} is being recomputed`;
    const bar = element("progress", known ? { max: Math.max(1, run.days), value: run.days_done } : {}, what);
    bar.setAttribute("aria-label", what);
    return element("div", { class: "running" }, element("p", null, element("strong", null, what), run.holder ? ` by ${run.holder}` : ""), bar);
  }

  #history(pipeline, view) {
    const now = Date.parse(pipeline.now);
    const rows = view.history.map((generation, i) => {
      const covered = Object.values(generation.cut).reduce((a, b) => a + b, 0);
      const before = view.history[i + 1] ? Object.values(view.history[i + 1].cut).reduce((a, b) => a + b, 0) : null;
      const added = before === null ? (generation.number === 1 ? covered : null) : covered - before;
      return [String(generation.number), show(generation.published, "exact"), ago(generation.published, now), count(covered), added === null ? "" : `+${count(added)}`, drift(generation)];
    });
    const columns = [{ name: "Generation" }, { name: "Published" }, { name: "Age" }, { name: "Covers records", number: true }, { name: "Taken over from speed", number: true }, { name: "Drift" }];
    const made = rows.length > 0
      ? table(`The newest generations of ${view.view}`, columns, rows)
      : element("p", { class: "hint" }, "None yet: until the first, answers come from speed alone.");
    replaceIfNew(this.history, [view.id, view.history, Math.floor(now / 30_000)], made);
  }

  #views({ views, now }) {
    const rows = views.map((view) => [
      view.view, view.source, spanWords(view.pane),
      view.generation ? String(view.generation.number) : "none",
      view.generation ? ago(view.generation.published, Date.parse(now)) : "",
      view.generation ? count(view.generation.rows) : "", view.generation ? counted(view.generation.files, "file") : "", view.generation ? bytes(view.generation.bytes) : "",
      drift(view.generation),
      view.problem ?? "",
    ]);
    const columns = [{ name: "View" }, { name: "Source" }, { name: "Pane" }, { name: "Generation", number: true }, { name: "Published" }, { name: "Groups", number: true }, { name: "Files", number: true }, { name: "Size", number: true }, { name: "Drift" }, { name: "Trouble", wrap: true }];
    replaceIfNew(this.views, [views.map(({ partitions, ...rest }) => rest), Math.floor(Date.parse(now) / 30_000)], table("All views", columns, rows));
  }
}
