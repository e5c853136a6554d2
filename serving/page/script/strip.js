// The log as a strip of cloth: what the generation covers, the stitches where speed is sewn to it, how far speed has come, and
// what is still beyond it. Below it, as a rail, how far the log is archived.
import { drawn, element, newId } from "./element.js";
import { count, counted, percent } from "./numbers.js";

/** Below this part of the width nobody would see a piece. */
const SMALLEST = 0.07;
const CLOTH = { top: 26, bottom: 70 };
const RAIL = { top: 76, bottom: 80 };

/** The pieces of one partition, in log order: `{ kind, from, to }`. `null` positions are unknown and make no piece. */
export function pieces({ start, cut, position, end }) {
  const covered = Math.max(cut ?? 0, position ?? 0);
  const first = Math.min(start ?? 0, cut ?? 0);
  const out = [
    { kind: "batch", from: first, to: cut ?? 0 },
    { kind: "speed", from: cut ?? 0, to: covered },
    { kind: "lag", from: covered, to: Math.max(end ?? covered, covered) },
  ];
  return out.filter((piece) => piece.to > piece.from);
}

/** Places along the width: in proportion, but no piece so small that it cannot be seen. Says whether it is in proportion. */
export function layout(list, width) {
  const total = list.reduce((sum, piece) => sum + piece.to - piece.from, 0);
  if (total === 0) return { places: [], inProportion: true };
  const parts = list.map((piece) => (piece.to - piece.from) / total);
  const small = parts.map((part) => part < SMALLEST);
  const left = 1 - small.filter(Boolean).length * SMALLEST;
  const large = parts.reduce((sum, part, i) => sum + (small[i] ? 0 : part), 0);
  let at = 0;
  const places = list.map((piece, i) => {
    const wide = (small[i] ? SMALLEST : (parts[i] / large) * left) * width;
    const place = { ...piece, x: at, wide };
    at += wide;
    return place;
  });
  return { places, inProportion: !small.includes(true) };
}

/** Where an offset lies. */
function locate(places, offset) {
  const place = places.find(({ from, to }) => offset >= from && offset <= to);
  if (!place) return offset <= (places[0]?.from ?? 0) ? 0 : (places.at(-1)?.x ?? 0) + (places.at(-1)?.wide ?? 0);
  return place.x + ((offset - place.from) / (place.to - place.from)) * place.wide;
}

/** Twill for the cloth, threads side by side for speed, a hatching for what nobody has read. */
function patterns() {
  return drawn("defs", null,
    drawn("pattern", { id: "twill", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(38)" },
      drawn("rect", { width: 6, height: 6, class: "cloth-ground" }), drawn("rect", { width: 2, height: 6, class: "cloth-thread" })),
    drawn("pattern", { id: "threads", width: 40, height: 5.5, patternUnits: "userSpaceOnUse" },
      drawn("rect", { width: 40, height: 5.5, class: "thread-ground" }), drawn("rect", { y: 2, width: 40, height: 1, class: "thread-line" })),
    drawn("pattern", { id: "unread", width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
      drawn("rect", { width: 1.2, height: 7, class: "unread" })));
}

export class Strip {
  /** `name` says which partition it is. */
  constructor(name) {
    this.name = name;
    this.svg = drawn("svg", { "aria-hidden": "true", focusable: "false" });
    this.id = newId("strip");
    this.words = element("figcaption", { id: this.id });
    this.plot = element("div", { class: "strip-plot", role: "img", "aria-labelledby": this.id }, this.svg);
    this.node = element("figure", { class: "strip" }, this.plot, this.words);
    new ResizeObserver(() => this.#draw()).observe(this.plot);
  }

  /** `{ start, archived, cut, position, end, generation, cuts?, segments? }`: offsets; `cuts` are those of earlier generations. */
  show(part) {
    const known = JSON.stringify(part);
    if (this.known === known) return;
    this.known = known;
    this.part = part;
    this.#draw();
    this.#tell();
  }

  #draw() {
    const { part } = this;
    const width = this.plot.clientWidth;
    if (!part || width === 0) return;
    const { places, inProportion } = layout(pieces(part), width);
    this.node.classList.toggle("folded-scale", !inProportion);
    this.svg.setAttribute("viewBox", `0 0 ${width} 108`);
    const at = (offset) => locate(places, offset);
    const height = CLOTH.bottom - CLOTH.top;
    const body = places.map(({ kind, x, wide }) => drawn("rect", { class: kind, x, y: CLOTH.top, width: Math.max(0, wide), height }));
    if (places.length === 0) body.push(drawn("rect", { class: "lag", x: 0, y: CLOTH.top, width, height }));
    const seams = (part.cuts ?? []).filter((cut) => cut > 0 && cut < part.cut).map((cut) =>
      drawn("line", { class: "earlier", x1: at(cut), x2: at(cut), y1: CLOTH.top, y2: CLOTH.bottom }));
    const segments = (part.segments ?? []).filter((end) => end > (part.cut ?? 0)).map((end) =>
      drawn("line", { class: "segment", x1: at(end), x2: at(end), y1: CLOTH.bottom - 12, y2: CLOTH.bottom }));
    this.svg.replaceChildren(patterns(), ...body, ...seams, ...segments, ...this.#rail(at), ...this.#stitches(at, width), ...this.#labels(places, at, width));
  }

  /** How far the archive has come. */
  #rail(at) {
    const { archived } = this.part;
    if (archived === null || archived === undefined || archived <= 0) return [];
    const [x, height] = [at(archived), RAIL.bottom - RAIL.top];
    return [drawn("rect", { class: "rail", x: 0, y: RAIL.top, width: x, height }),
      drawn("line", { class: "rail-end", x1: x, x2: x, y1: RAIL.top - 4, y2: RAIL.bottom + 4 })];
  }

  /** The seam itself: stitches across the cut. */
  #stitches(at, width) {
    const { cut, position } = this.part;
    if (!(cut > 0) || !((position ?? 0) > cut)) return [];
    const x = Math.min(width - 6, Math.max(6, at(cut)));
    const stitch = (y) => drawn("path", { class: "stitch", d: `M${x - 7} ${y + 3.5}L${x + 7} ${y - 3.5}` });
    const rows = [];
    for (let y = CLOTH.top + 6; y < CLOTH.bottom; y += 8) rows.push(stitch(y));
    return [drawn("line", { class: "cut", x1: x, x2: x, y1: CLOTH.top - 6, y2: CLOTH.bottom + 14 }), ...rows];
  }

  #labels(places, at, width) {
    const { cut, position, end, generation, archived } = this.part;
    const out = [];
    const text = (x, y, content, name, anchor) => drawn("text", { class: name, x, y, "text-anchor": anchor }, content);
    // A label stands where its mark is, pushed inside and away from the one to its right.
    const row = (marks, y) => {
      let free = width;
      for (const { x, content, name } of marks.toSorted((a, b) => b.x - a.x)) {
        const wide = content.length * 6.9;
        const start = Math.min(Math.max(0, x - wide / 2), free - wide);
        if (start < 0) continue;
        out.push(text(start, y, content, name, "start"));
        free = start - 12;
      }
    };
    const above = [];
    if (cut > 0) above.push({ x: at(cut), content: `B ${count(cut)}`, name: "mark" });
    if (position > (cut ?? 0)) above.push({ x: at(position), content: `S ${count(position)}`, name: "mark" });
    row(above, 14);
    const below = [];
    if (archived > 0) below.push({ x: at(archived), content: `archived to ${count(archived)}`, name: "note-mark" });
    if (end !== null && end > Math.max(position ?? 0, cut ?? 0)) below.push({ x: width, content: `log ends at ${count(end)}`, name: "note-mark" });
    row(below, 100);
    for (const { kind, x, wide } of places) {
      const name = { batch: `batch, generation ${generation ?? "?"}`, speed: "speed", lag: "not read yet" }[kind];
      const short = { batch: "batch", speed: "speed", lag: "lag" }[kind];
      const fits = [name, short].find((candidate) => candidate.length * 8 + 24 < wide);
      if (fits) out.push(text(x + (kind === "speed" ? 18 : 12), CLOTH.top + 27, fits, `piece-name on-${kind}`, "start"));
    }
    return out;
  }

  #tell() {
    const { cut, position, end, archived, generation } = this.part;
    const covered = Math.max(cut ?? 0, position ?? 0);
    const sentences = [];
    if (cut > 0) sentences.push(`generation ${generation} holds ${percent(cut, covered)} of it, up to record ${count(cut)}`);
    else sentences.push("no generation yet");
    if (position === null) sentences.push("what speed holds is unknown");
    else if (position > (cut ?? 0)) sentences.push(`speed adds ${counted(position - (cut ?? 0), "record")}, up to ${count(position)}`);
    else sentences.push("speed adds nothing");
    if (end === null) sentences.push("where the log ends is unknown");
    else sentences.push(end > covered ? `${counted(end - covered, "record")} are not read yet` : "nothing is left unread");
    if (archived !== null) sentences.push(`archived up to ${count(archived)}`);
    this.words.replaceChildren(element("strong", null, this.name), element("span", null, ` ${sentences.join("; ")}.`));
  }
}

/** The parts of one number as a small strip: batch and speed, with a stitch between. */
export function shareBar(shares) {
  const amount = (share) => Number(share.events ?? share.rows);
  const unit = "events" in shares.batch ? "event" : "row";
  const [batch, speed] = [amount(shares.batch), amount(shares.speed)];
  const total = batch + speed;
  const width = total > 0 ? (batch / total) * 100 : 0;
  const bar = drawn("svg", { class: "share", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" },
    total === 0 && drawn("rect", { class: "lag", width: 100, height: 10 }),
    batch > 0 && drawn("rect", { class: "batch", width, height: 10 }),
    speed > 0 && drawn("rect", { class: "speed", x: width, width: 100 - width, height: 10 }),
    batch > 0 && speed > 0 && drawn("line", { class: "cut", x1: width, x2: width, y1: 0, y2: 10, "vector-effect": "non-scaling-stroke" }));
  const words = total === 0 ? `no ${unit}s in this window` : `${counted(shares.batch.events ?? shares.batch.rows, unit)} from batch, ${count(shares.speed.events ?? shares.speed.rows)} from speed`;
  return element("div", { class: "shares", "data-batch": String(batch), "data-speed": String(speed) }, bar, element("p", null, words));
}
