// Where one is, as it stands behind the # of the address, and the ways to elsewhere.

import { asked } from "./api.js";
import { h } from "./dom.js";

/** `#/jobs/ID?tab=items` as its parts and its parameters; a parameter may be there twice. */
function parsed(hash) {
  const [, path, query] = /^#?([^?]*)\??(.*)$/.exec(hash);
  const parts = path.split("/").filter(Boolean).map(decoded);
  const parameters = {};
  for (const [name, value] of new URLSearchParams(query)) {
    (parameters[name] ??= []).push(value);
  }
  return { parts, parameters };
}

/** The same the other way round; empty parameters are left out. */
export function address(parts, parameters = {}) {
  return `#/${parts.map(encodeURIComponent).join("/")}${asked(parameters)}`;
}

export function link(parts, words, props = {}, parameters = {}) {
  return h("a", { href: address(parts, parameters), ...props }, words);
}

export function single(parameters, name, otherwise = "") {
  return parameters[name]?.[0] ?? otherwise;
}

export function here() {
  return parsed(location.hash);
}

/** Go there; `replace` for what the way back should not stop at. */
export function go(parts, parameters = {}, { replace = false } = {}) {
  const there = address(parts, parameters);
  if (there === location.hash) return;
  if (!replace) location.hash = there;
  else {
    history.replaceState(null, "", there);
    dispatchEvent(new HashChangeEvent("hashchange"));
  }
}

function decoded(part) {
  try { return decodeURIComponent(part); } catch { return part; }
}
