// Elements, made in one expression; text is always text.
const SVG = "http://www.w3.org/2000/svg";

function fill(made, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) made.addEventListener(event, listener);
    } else if (name === "value" && "value" in made) {
      made.value = value;
    } else if (name === "checked" || name === "selected" || name === "open") {
      made[name] = Boolean(value);
    } else {
      made.setAttribute(name, value === true ? "" : value);
    }
  }
  made.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** An HTML element: `element("p", { class: "hint" }, "text", other)`. */
export function element(tag, properties, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** The same for SVG. */
export function drawn(tag, properties, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

let last = 0;

/** A new id, for labels. */
export function newId(name) {
  last += 1;
  return `${name}-${last}`;
}

/** Says something to those who listen, politely. */
export function announce(text) {
  const announcer = document.getElementById("announcer");
  if (announcer.textContent !== text) announcer.textContent = text;
}

/** A choice among a few, as radio buttons in one row. `options` are `[value, text]`. */
export function choices(legend, options, chosen, choose) {
  const name = newId("choice");
  const option = ([value, text]) =>
    element("label", null,
      element("input", { type: "radio", name, value, checked: value === chosen, on: { change: () => choose(value) } }),
      element("span", null, text));
  return element("fieldset", null,
    element("legend", null, legend), element("div", { class: "choices" }, options.map(option)));
}

/** A choice among many. */
export function select(label, options, chosen, choose) {
  const id = newId("select");
  const option = ([value, text]) => element("option", { value, selected: value === chosen }, text);
  return element("div", { class: "field" },
    element("label", { for: id }, label),
    element("select", { id, on: { change: (event) => choose(event.target.value) } }, options.map(option)));
}

/** A table: `columns` are `{ name, number?, wrap? }`, rows are lists of cells (text or nodes). */
export function table(caption, columns, rows) {
  const kind = (column) => (column.number ? "number" : column.wrap ? "wrap" : null);
  const cell = (content, i) =>
    i === 0
      ? element("th", { scope: "row", class: kind(columns[0]) }, content)
      : element("td", { class: kind(columns[i]) }, content);
  const head = columns.map((column) => element("th", { scope: "col", class: kind(column) }, column.name));
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    element("table", null,
      element("caption", null, caption),
      element("thead", null, element("tr", null, head)),
      element("tbody", null, rows.map((row) => element("tr", null, row.map(cell))))));
}

/** Puts new children into a place only if they were made from something else than what is there. */
export function replaceIfNew(place, made, ...children) {
  const key = JSON.stringify(made);
  if (place.madeFrom === key) return;
  place.madeFrom = key;
  place.replaceChildren(...children.flat().map((child) => (typeof child === "function" ? child() : child)));
}
