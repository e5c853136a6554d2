// The page: reads where one is, keeps what all sections share up to date, and lets one section at a time draw itself.
import { Away, get, keysFrom, Problem } from "./api.js";
import { Ask } from "./ask.js";
import { element, replaceIfNew } from "./element.js";
import { Figures } from "./figures.js";
import { askPerson } from "./key.js";
import { Metric } from "./metric.js";
import { place } from "./place.js";
import { Refused } from "./refused.js";
import { Seam } from "./seam.js";
import { windowsOf } from "./series.js";

const SECTIONS = { figures: Figures, metric: Metric, seam: Seam, refused: Refused, ask: Ask };
/** How often to look, and after trouble. */
const LOOK = 1000;
const LOOK_AGAIN = [1000, 2000, 5000, 10000];
/** Looks between two at the whole pipeline and the list of metrics. */
const PIPELINE_EVERY = 2;

/** What all sections share. */
const app = {
  metrics: [],
  dashboard: [],
  pipeline: null,
  /** The end of the newest pane with events, in milliseconds; `null` without events. */
  newest: null,
  metric: (name) => app.metrics.find((metric) => metric.name === name),
  sources: () => [...new Set(app.metrics.map((metric) => metric.source))],
  /** Changes when a view gets a new generation: then what batch alone says is another answer. */
  generations: () => (app.pipeline?.views ?? []).map((view) => view.generation?.number ?? 0).join(),
  standardWindow: (metrics) => {
    const windows = windowsOf(metrics);
    return windows.includes(app.window) ? app.window : windows[0];
  },
  /** Says what an answer lacks. */
  warn(note, stamp) {
    const made = stamp.missing.map(({ view, partition, why }) => `${view} is without the speed part of ${partition}: ${why}. The number is exact up to where batch has come.`);
    replaceIfNew(note, made, ...made.map((text) => element("p", { class: "note alarm" }, text)));
  },
};

const main = document.getElementById("main");
const pulse = document.getElementById("pulse");
let section = null;
let entered = new AbortController();
let timer = 0;
let failures = 0;
let looks = 0;

function beat(text, kind) {
  pulse.className = `pulse ${kind}`;
  if (pulse.textContent !== text) pulse.textContent = text;
}

async function shared(signal) {
  const [metrics, dashboard] = await Promise.all([get("api/analytics/metrics", {}, { signal }), app.dashboard.length > 0 ? null : get("api/analytics/dashboard", {}, { signal }).catch(firstDashboard)]);
  app.metrics = metrics.body.metrics;
  if (dashboard) {
    app.dashboard = dashboard.body.metrics.map((figure) => app.metric(figure.metric)).filter(Boolean);
    app.window = dashboard.body.metrics[0]?.window;
    document.getElementById("project").textContent = dashboard.body.name;
    document.title = `${dashboard.body.name} · Seam`;
  }
}

/** A dashboard that has nothing to answer from yet is no reason to show nothing. */
function firstDashboard(error) {
  if (error instanceof Problem && error.status === 503) return null;
  throw error;
}

async function pipeline(signal) {
  try {
    const { body } = await get("api/analytics/pipeline", {}, { signal });
    app.pipeline = body;
    const now = Date.parse(body.now);
    const dashboards = new Set(app.dashboard.flatMap((metric) => metric.views.map((view) => view.id)));
    const ends = body.views.filter((view) => dashboards.has(view.id) && view.newest).map((view) => Date.parse(view.newest));
    // Where events come as they happen, the newest pane is the current one.
    const newest = ends.length > 0 ? Math.max(...ends) : null;
    app.newest = newest !== null && newest > now + 86400e3 ? now : newest;
  } catch (error) {
    if (!(error instanceof Problem) || ![403, 404].includes(error.status)) throw error;
    app.pipeline = null;
  }
}

async function look() {
  clearTimeout(timer);
  const { signal } = entered;
  let next = LOOK;
  try {
    if (looks % PIPELINE_EVERY === 0 || app.dashboard.length === 0) {
      await shared(signal);
      await pipeline(signal);
    }
    looks += 1;
    if (!section) enter();
    await section.refresh(signal);
    failures = 0;
    main.querySelector("[data-problem]")?.remove();
    beat("live", "live");
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof Problem || error instanceof Away)) throw error;
    next = LOOK_AGAIN[Math.min(failures, LOOK_AGAIN.length - 1)];
    failures += 1;
    trouble(error);
  }
  if (!signal.aborted && !document.hidden) timer = setTimeout(look, next);
}

function trouble(error) {
  const away = error instanceof Away;
  beat(away ? "no connection, trying again" : "no answer", "lost");
  if (!section && !away) main.replaceChildren(element("p", { class: "note alarm" }, error.message));
  if (!section || away || error.status === 503) return;
  main.querySelector("[data-problem]")?.remove();
  main.prepend(element("p", { class: "note alarm", "data-problem": "" }, error.message));
}

/** Leaves the section before and enters the one that the address names. */
function enter() {
  const here = place();
  const Section = SECTIONS[here.section] ?? Figures;
  const focused = document.activeElement?.id;
  section = new Section(app, here);
  main.replaceChildren(section.node);
  main.dataset.section = here.section;
  for (const link of document.querySelectorAll(".sections a")) {
    const current = link.hash === `#/${here.section === "metric" ? "figures" : here.section}`;
    if (current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

function moved() {
  const { section: name, name: of } = place();
  const isNew = app.at !== `${name}/${of}`;
  const chosen = document.activeElement?.closest?.(".controls, .ask") ? controlInFocus() : null;
  app.at = `${name}/${of}`;
  entered.abort();
  entered = new AbortController();
  if (app.metrics.length > 0) {
    enter();
    if (isNew) {
      scrollTo(0, 0);
      main.focus({ preventScroll: true });
    }
  }
  look().then(() => chosen && restore(chosen));
  section?.follow?.(entered.signal, () => look()).catch(() => {});
}

/** A setting that was chosen is drawn anew: the focus stays on it. */
function controlInFocus() {
  const { activeElement: active } = document;
  const group = active.closest("fieldset, .field");
  return { legend: group?.querySelector("legend, label")?.textContent, value: active.value };
}

function restore({ legend, value }) {
  const groups = [...main.querySelectorAll("fieldset, .field")].filter((group) => group.querySelector("legend, label")?.textContent === legend);
  const inputs = groups.flatMap((group) => [...group.querySelectorAll("input, select")]);
  (inputs.find((input) => input.value === value) ?? inputs[0])?.focus({ preventScroll: true });
}

keysFrom(askPerson);
addEventListener("hashchange", moved);
document.addEventListener("visibilitychange", () => document.hidden || look());
main.replaceChildren(element("p", { class: "hint" }, "Asking for the first answer…"));
moved();
