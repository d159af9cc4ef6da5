// How an event changes what is known of a job. Pure.

import { AT_REST } from "../parts/words.js";

const FIGURES = ["status", "version", "counts", "items_per_second", "eta_seconds"];

/** The summary after an event, or the same one if it tells nothing newer. */
export function folded(summary, event) {
  if (event.version < summary.version) return summary;
  const next = { ...summary };
  for (const name of FIGURES) if (event[name] !== undefined) next[name] = event[name];
  // Not every event tells in which direction an undo goes; the one before it has.
  if (event.percent !== null && event.percent !== undefined) next.percent = event.percent;
  if (AT_REST.has(next.status)) next.finished_at = summary.finished_at ?? event.at;
  else next.finished_at = null;
  return next;
}
