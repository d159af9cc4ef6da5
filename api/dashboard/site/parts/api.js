// Requests to the server, and its refusals.

import { identifying } from "./session.js";
import { failed } from "./dom.js";

const API = "/api/v1/";

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
 * Any request. What changes something, `about` this, has a key, so that it
 * is done once; `open` keeps the keys of what was asked from a place and has no answer yet.
 */
export async function ask(method, path, { body, about = body, headers = {}, signal, open = new Map() } = {}) {
  const same = `${method} ${path} ${about}`, key = open.get(same) ?? random();
  if (method !== "GET") {
    open.set(same, key);
    headers = { "Idempotency-Key": key, ...headers };
  }
  let answer;
  try {
    answer = await fetch(place(path), {
      method, body, signal, headers: { ...identifying(), ...headers },
      credentials: "omit", cache: "no-store", redirect: "error",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw problem(0, { detail: method === "GET" ? "The server does not answer. The page goes on as soon as it does."
      : "The server does not answer, and it is not known whether it arrived. Press again: it is done once." });
  }
  if (answer.status < 500) open.delete(same);
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  if (answer.status === 401) gone(said);
  throw problem(answer.status, said);
}

export function place(path) {
  return path.startsWith("/") ? path : API + path;
}

/** Parameters as the end of an address. */
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
  const numbers = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(numbers, (each) => each.toString(16).padStart(2, "0")).join("");
}

/**
 * `read` has something read, and once more if that is asked for meanwhile, so that no answer
 * overtakes a later one; `soon` does so when what comes in quick succession is over.
 */
export function reader(update, pause = 400) {
  let wanted = false, reading = null, timer = 0;
  async function all() {
    while (wanted) {
      wanted = false;
      await update().catch(failed);
    }
    reading = null;
  }
  function read() {
    clearTimeout(timer);
    timer = 0;
    wanted = true;
    return reading ??= all();
  }
  return { read, soon: () => { timer ||= setTimeout(read, pause); }, close: () => clearTimeout(timer) };
}
