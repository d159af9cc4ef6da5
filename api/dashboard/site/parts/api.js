// Requests to the server, and its refusals.

import { identifying, session } from "./session.js";
import { failed, save } from "./dom.js";

const API = "/api/v1/", HEEDED = /^\/api\/v1\/(jobs|batch)/, KEPT = 120_000, AGAIN = 2000, AWAY = new Set([0, 502, 503, 504]);

/** A refusal: what the server says of it, and of which place; or none, where there was no answer at all. */
function problem(status, { detail, title, pointer }) {
  return Object.assign(new Error((pointer ? `${pointer}: ` : "") + (detail || title || `The server has answered ${status}.`)), { status });
}

let gone = () => {};

/** Call when the server no longer knows who asks. */
export function whenSignedOut(listener) {
  gone = listener;
}

/** The document of a GET, as `read` has it; a path that does not begin at the root is one of the API. */
export async function get(path, query = {}, signal, read = JSON.parse) {
  return read(await (await ask("GET", path + asked(query), { signal, headers: { Accept: "application/json" } })).text());
}

/** Save a file that the server makes, under its name or else this one. */
export async function keep(path, query, name) {
  const answer = await ask("GET", path + asked(query));
  save(await answer.blob(), /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition") ?? "")?.[1] ?? name);
}

/** The document of a POST, or of what is like it. */
export async function post(path, body = {}, { headers = {}, method = "POST", open } = {}) {
  const answer = await ask(method, path, { body: JSON.stringify(body), headers: { "Content-Type": "application/json", ...headers }, open });
  return answer.status === 204 ? null : answer.json();
}

/** A way to post from one place, such as a dialog: whoever presses again for want of an answer asks the same. */
export function asking(open = new Map()) {
  return (path, body, how) => post(path, body, { ...how, open });
}

/**
 * Any request. What changes something, `about` this, has a key, so that it is done once where keys
 * are heeded; `open` keeps those of what was asked from a place and has no answer.
 */
export async function ask(method, path, { body, about = body, headers = {}, signal, open = new Map() } = {}) {
  const where = place(path), same = `${method} ${path} ${about}`, reads = method === "GET", key = keyOf(open, same);
  const remember = () => open.set(same, [key, Date.now()]);
  if (!reads) headers = { "Idempotency-Key": key, ...headers };
  const { token } = session;
  let answer;
  try {
    answer = await fetch(where, {
      method, body, signal, headers: { ...identifying(), ...headers },
      credentials: "same-origin", cache: "no-store", redirect: "error",
    });
    // What breaks off is no answer.
    if (!reads) await answer.clone().arrayBuffer();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    remember();
    throw problem(0, { detail: reads ? "The server does not answer. The page goes on as soon as it does."
      : `The server does not answer, and it is not known whether it arrived. ${HEEDED.test(where) ? "Press again within two minutes: it is done once." : "Look before you press again."}` });
  }
  if (answer.status >= 500) remember();
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  if (answer.status === 401 && token === session.token) gone(said);
  throw problem(answer.status, said);
}

/** The key of what had no answer a moment ago; who asks for the same later wants it once more. */
function keyOf(open, same) {
  const [key, at] = open.get(same) ?? [];
  open.delete(same);
  return Date.now() - at < KEPT ? key : random();
}

export function place(path) {
  return path.startsWith("/") ? path : API + path;
}

export function asked(query) {
  const found = new URLSearchParams();
  for (const [name, given] of Object.entries(query)) {
    for (const value of [given].flat()) {
      if ((value ?? "") !== "") found.append(name, value);
    }
  }
  const text = found.toString();
  return text ? `?${text}` : "";
}

/** A word that nobody else says; pages that came over plain HTTP have no crypto.randomUUID. */
function random() {
  return crypto.getRandomValues(new Uint32Array(4)).join("-");
}

/**
 * `read` has something read, and once more if that is asked for meanwhile, so that no answer
 * overtakes a later one; `soon` does so when what comes in quick succession is over.
 */
export function reader(update, pause = 400) {
  let wanted = false, reading = null, timer = 0, away = false;
  async function all() {
    while (wanted) {
      wanted = false;
      await update().then(() => { away = false; }, unread);
    }
    reading = null;
  }
  /** What had no answer is read again, and told of once. */
  function unread(error) {
    if (!away || !AWAY.has(error.status)) failed(error);
    away = AWAY.has(error.status);
    if (away) soon(AGAIN);
  }
  function read() {
    clearTimeout(timer);
    timer = 0;
    wanted = true;
    return reading ??= all();
  }
  function soon(wait = pause) { timer ||= setTimeout(read, wait); }
  return { read, soon: () => soon(), close: () => clearTimeout(timer) };
}
