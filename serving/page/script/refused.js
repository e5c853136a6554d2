// Refused events: why, when, and the bytes as they came.
import { get } from "./api.js";
import { element, replaceIfNew, select } from "./element.js";
import { bytes, counted } from "./numbers.js";
import { go } from "./place.js";
import { show } from "./times.js";

const LIMIT = 100;

/** JSON with line breaks, anything else as it is. */
function readable(letter) {
  if (letter.event === undefined) return `${letter.event_base64} (base64: these bytes are no text)`;
  try { return JSON.stringify(JSON.parse(letter.event), null, 2); } catch { return letter.event; }
}

/** Reasons with how often each was given, the most frequent first. */
function reasons(letters) {
  const found = new Map();
  for (const { reason } of letters) {
    const kind = reason.replace(/"[^"]*"/g, "…");
    found.set(kind, (found.get(kind) ?? 0) + 1);
  }
  return [...found].sort((a, b) => b[1] - a[1]);
}

/** The section. */
export class Refused {
  constructor(app, { name }) {
    this.app = app;
    this.name = name;
    this.chooser = element("div", { class: "controls" });
    this.list = element("div");
    this.node = element("section", { class: "stack", "aria-labelledby": "refused-title" },
      element("div", { class: "heading" },
        element("h1", { id: "refused-title" }, "Refused events"),
        element("p", null, "What did not fit its source's definition is not lost: it is kept with the reason and the bytes that came.")),
      this.chooser, this.list);
  }

  async refresh(signal) {
    const sources = this.app.sources();
    const source = sources.includes(this.name) ? this.name : sources[0];
    if (!source) return;
    replaceIfNew(this.chooser, [sources, source], () => select("Source", sources.map((one) => [one, one]), source, (chosen) => go("refused", chosen, {})));
    const { body, mark } = await get("api/analytics/dead_letters", { source, limit: LIMIT }, { signal });
    replaceIfNew(this.list, mark, ...this.#letters(body, source));
  }

  #letters({ kept, letters }, source) {
    if (letters.length === 0) return [element("p", { class: "note" }, `Nothing of ${source} was refused.`)];
    const newest = letters.toReversed();
    const shown = newest.length < kept ? `, the newest ${newest.length} are shown` : "";
    return [
      element("p", null, `${counted(kept, "refused event")} of ${source}${shown}.`),
      element("ul", { class: "reasons" }, reasons(newest).slice(0, 8).map(([reason, times]) => element("li", null, element("strong", null, `${times}\u00d7`), " ", reason))),
      element("ol", { class: "letters", reversed: true }, newest.map((letter) => this.#letter(letter))),
    ];
  }

  #letter(letter) {
    const cut = letter.event !== undefined && new TextEncoder().encode(letter.event).length < letter.bytes;
    return element("li", { "data-entry": String(letter.entry) },
      element("details", null,
        element("summary", null, element("span", { class: "reason" }, letter.reason), element("span", { class: "hint" }, `number ${letter.entry}, ${show(letter.received, "exact")}, line ${letter.line}, ${bytes(letter.bytes)}`)),
        element("pre", { tabindex: "0" }, readable(letter)),
        cut && element("p", { class: "hint" }, "It was too large to keep whole.")));
  }
}
