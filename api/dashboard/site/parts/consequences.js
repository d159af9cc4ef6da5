// What a verb will do to jobs, said before it is done. Pure.

import { count, number } from "./words.js";

const SAYING = {
  seal: (all) => `works the ${count(all.total, "item")} that it has, but for what was left out; takes no further ones`,
  approve: (all) => `lets ${count(all.total, "item")} begin`,
  reject: (all) => `ends it for good; ${count(all.total, "item")} ${all.total === 1 ? "is" : "are"} skipped`,
  pause: (all) => `stops what is in flight; ${count(all.pending, "item")} stay${all.pending === 1 ? "s" : ""} pending, ${number(settled(all))} done stay done`,
  resume: (all) => `works ${count(all.pending, "pending item")}, leaves ${number(settled(all))} settled`,
  cancel: (all) => `leaves ${number(settled(all))} done as they are; ${count(all.pending, "pending item")} will not be attempted`,
  retry: (all) => `re-runs ${count(all.failed, "failed item")}, leaves ${number(done(all))} done`,
  undo: (all) => `puts back what ${count(all.succeeded, "item")} changed; what others changed since stays, as a conflict`,
  hold: () => "keeps it from being shredded and archived until it is released",
  release: () => "lets it be shredded and archived again",
  archive: (all) => `puts it away for good: no undo, retry or apply of ${count(all.total, "item")} any more`,
  shred: (all) => `destroys for good what was sent: nobody reads the bodies of ${count(all.total, "item")} again`,
};

/** One sentence about what a verb does to items with these counts. */
export function consequence(verb, counts, job = {}) {
  if (verb === "undo" && job.status === "rolled_back") {
    return `applies again what the undo put back: ${count(counts.rolled_back, "item")}`;
  }
  return SAYING[verb]?.(counts) ?? "";
}

/** The sum of the counts of several jobs. */
function together(jobs) {
  const all = {};
  for (const { counts } of jobs) {
    for (const [name, value] of Object.entries(counts)) all[name] = (all[name] ?? 0) + value;
  }
  return all;
}

/** What becomes of a selection: who can take the verb, who cannot, and what it does. */
export function ofMany(verb, jobs) {
  const able = jobs.filter((job) => job.possible.includes(verb)), unable = jobs.length - able.length;
  if (!able.length) return { able, words: `None of them can take ${verb} now.` };
  const rest = unable ? ` ${count(unable, "job")} cannot take it now and ${unable === 1 ? "is left as it is" : "are left as they are"}.` : "";
  return { able, words: `${capital(verb)} of ${count(able.length, "job")}: ${consequence(verb, together(able))}.${rest}` };
}

export function capital(words) {
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function settled(counts) {
  return counts.total - counts.pending;
}

function done(counts) {
  return counts.total - counts.failed - counts.pending;
}
