// Where one is: the section and its settings, kept in the address so that every picture can be linked to.

/** What is chosen unless the address says otherwise. */
const STANDARD = { range: "1d", end: "newest" };

/** Reads `#/section/name?settings`. */
export function place() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [section, ...rest] = path.split("/").map(decodeURIComponent);
  const settings = Object.fromEntries(new URLSearchParams(query ?? ""));
  return { section: section || "figures", name: rest.join("/"), settings: { ...STANDARD, ...settings } };
}

/** The address of a place. */
export function link(section, name, settings) {
  const given = Object.entries(settings ?? {}).filter(([key, value]) => value && STANDARD[key] !== value);
  const query = new URLSearchParams(given).toString();
  return `#/${section}${name ? `/${encodeURIComponent(name)}` : ""}${query ? `?${query}` : ""}`;
}

/** Goes there; a setting alone makes no new step of the history. */
export function go(section, name, settings, { replace = false } = {}) {
  const to = link(section, name, settings);
  if (replace) {
    history.replaceState(null, "", to);
    dispatchEvent(new HashChangeEvent("hashchange"));
  } else {
    location.hash = to;
  }
}
