// The settings that all pictures share: window, range, step, and where they end.
import { choices, element, newId, select } from "./element.js";
import { paneOf } from "./series.js";
import { span, spanText, spanWords, STEPS, iso, show } from "./times.js";

const RANGES = ["1h", "6h", "12h", "1d", "3d", "7d", "14d", "30d"];

/** Ranges of which the metric's panes make a picture. */
export function rangesFor(pane) {
  const fits = RANGES.filter((range) => span(range) >= pane * 4);
  return fits.length > 0 ? fits : [spanText(pane * 24)];
}

/** The row of controls; `change` gets what was changed. */
export function controls({ settings, metric, windows, newest, withStep, change }) {
  const pane = paneOf(metric);
  const range = span(settings.range);
  const steps = STEPS.filter((step) => span(step) % pane === 0 && span(step) < range && range / span(step) <= 1500);
  const hint = newest ? `Newest events: ${show(newest, "full")}` : "No events yet";
  return element("form", { class: "controls", "aria-label": "What is shown", on: { submit: (event) => event.preventDefault() } },
    choices("Window", windows.map((window) => [window, window]), settings.window, (window) => change({ window })),
    choices("Range", rangesFor(pane).map((option) => [option, option]), settings.range, (chosen) => change({ range: chosen })),
    withStep && select("A point every", [["", "as fits"], ...steps.map((step) => [step, spanWords(step)])], settings.step ?? "", (step) => change({ step })),
    ending(settings, newest, change, hint));
}

function ending(settings, newest, change, hint) {
  const fixed = settings.end !== "newest" && settings.end !== "now";
  const id = newId("end");
  const moment = newest ?? Date.now();
  const pick = (value) => change({ end: value === "at" ? iso(moment) : value });
  return element("div", { class: "field ending", title: hint },
    choices("Ends with", [["newest", "newest events"], ["now", "now"], ["at", "a moment"]], fixed ? "at" : settings.end, pick),
    fixed && element("div", { class: "field" },
      element("label", { for: id }, "Moment, UTC"),
      element("input", { id, type: "datetime-local", value: String(settings.end).slice(0, 16), on: { change: (event) => event.target.value && change({ end: `${event.target.value}:00Z` }) } })));
}
