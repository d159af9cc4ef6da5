// Requests to the server, and its refusals.

import { identifying } from "./session.js";

export const API = "/api/v1";

/** A refusal: what the server says of it, with its code. */
export class Problem extends Error {
  constructor(status, said) {
    super(said.detail || said.title || `The server has answered ${status}.`);
    this.status = status;
    this.code = said.code ?? "";
    this.pointer = said.pointer ?? "";
    this.said = said;
  }
}

/** There was no answer at all. */
export class Away extends Error {
  constructor() {
    super("The server does not answer. The page goes on as soon as it does.");
    this.status = 0;
    this.code = "away";
  }
}

const gone = new Set();

/** Call when the server no longer knows who asks. */
export function whenSignedOut(listener) {
  gone.add(listener);
}

/** The document of a GET. */
export async function get(path, query = {}, { signal } = {}) {
  return (await ask("GET", path + asked(query), { signal, headers: { Accept: "application/json" } })).json();
}

/** The document of a POST; each has a key of its own, so that it is done once. */
export async function post(path, body = {}, { headers = {}, method = "POST", key = random() } = {}) {
  const sent = { "Content-Type": "application/json", "Idempotency-Key": key, ...headers };
  const answer = await ask(method, path, { body: JSON.stringify(body), headers: sent });
  return answer.status === 204 ? null : answer.json();
}

/** Any request; raises Problem or Away. */
export async function ask(method, path, { body, headers = {}, signal } = {}) {
  let answer;
  try {
    answer = await fetch(path, {
      method, body, signal, headers: { ...identifying(), ...headers },
      credentials: "omit", cache: "no-store", redirect: "error",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Away();
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  if (answer.status === 401) gone.forEach((listener) => listener(said));
  throw new Problem(answer.status, said);
}

/** Parameters as the end of an address. */
export function asked(query) {
  const found = new URLSearchParams();
  for (const [name, given] of Object.entries(query)) {
    for (const value of [given].flat()) {
      if (value !== null && value !== undefined && value !== "") found.append(name, value);
    }
  }
  const text = found.toString();
  return text ? `?${text}` : "";
}

/** A word that nobody else says; pages that came over plain HTTP have no crypto.randomUUID. */
export function random() {
  const numbers = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(numbers, (each) => each.toString(16).padStart(2, "0")).join("");
}
