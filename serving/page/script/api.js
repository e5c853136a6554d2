// Asking the server: what was answered once is asked for by its tag, numbers keep their digits, problems say what is wrong.
import { parse } from "./numbers.js";

/** Answers kept for their tags. */
const KEPT = 300;
const kept = new Map();

/** What the server refused, in its own words. */
export class Problem extends Error {
  constructor(status, document, path) {
    super(document?.detail || document?.title || `the server answered ${status} at ${path}`);
    this.status = status;
    this.document = document;
  }
}

/** The server cannot be reached. */
export class Away extends Error {}

let askForKey = null;
let waiting = null;

/** Who is to ask people for a key: a function of the reason that resolves when there is one. */
export function keysFrom(ask) {
  askForKey = ask;
}

/** The key of this tab. */
export function key() {
  try { return sessionStorage.getItem("seam-key"); } catch { return null; }
}

/** Keeps a key for this tab. */
export function keep(text) {
  sessionStorage.setItem("seam-key", text);
  kept.clear();
}

/** The address of a route with its parameters; those without a value are left out, lists are repeated. */
export function address(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of [value].flat()) if (one !== undefined && one !== null && one !== "") query.append(name, one);
  }
  // Colons and commas are plain in a query, and people read these addresses.
  const text = query.toString().replaceAll("%3A", ":").replaceAll("%2C", ",");
  return text ? `${path}?${text}` : path;
}

async function request(url, headers, signal) {
  const secret = key();
  const sent = secret ? { ...headers, authorization: `Bearer ${secret}` } : headers;
  const response = await fetch(url, { headers: sent, signal, cache: "no-store" }).catch((error) => {
    throw error.name === "AbortError" ? error : new Away(error.message);
  });
  if (response.status !== 401 || !askForKey) return response;
  const document = await response.json().catch(() => null);
  // One question for all requests that were refused together.
  if (key() === secret) {
    waiting ??= askForKey(document?.detail).finally(() => { waiting = null; });
    await waiting;
  }
  return request(url, headers, signal);
}

/** GET as JSON: `{ body, mark, lag, url }`. The same mark is the same body. */
export async function get(path, parameters, { signal } = {}) {
  const url = address(path, parameters);
  const known = kept.get(url);
  const response = await request(url, known?.tag ? { "if-none-match": known.tag } : {}, signal);
  const lag = response.headers.get("seam-lag");
  if (response.status === 304 && known) {
    kept.delete(url);
    kept.set(url, known);
    return { ...known, lag, url };
  }
  const text = await response.text();
  if (!response.ok) {
    let document = null;
    try { document = JSON.parse(text); } catch { /* a probe or a proxy answers in plain text */ }
    throw new Problem(response.status, document, path);
  }
  const tag = response.headers.get("etag");
  const answer = { body: parse(text), tag, mark: tag ?? text };
  kept.set(url, answer);
  if (kept.size > KEPT) kept.delete(kept.keys().next().value);
  return { ...answer, lag, url };
}

/** GET as text, whatever it is. */
export async function getText(url, headers = {}) {
  const response = await request(url, headers);
  return { status: response.status, type: response.headers.get("content-type") ?? "", tag: response.headers.get("etag"), text: await response.text() };
}

/** Server-sent events; calls `hear` with each event's name and data until the signal ends it or the server does. */
export async function listen(path, parameters, hear, signal) {
  const response = await request(address(path, parameters), { accept: "text/event-stream" }, signal);
  if (!response.ok) throw new Problem(response.status, await response.json().catch(() => null), path);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffered = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = (buffered + value).split("\n\n");
    buffered = events.pop();
    for (const event of events) {
      const lines = event.split("\n");
      const field = (name) => lines.filter((line) => line.startsWith(`${name}:`)).map((line) => line.slice(name.length + 1).trim()).join("\n");
      if (field("data")) hear(field("event") || "message", field("data"));
    }
  }
}
