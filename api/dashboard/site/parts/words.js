// Numbers and moments as people read them, and the words of the API and the command line for
// statuses and verbs. Pure.

const NUMBER = new Intl.NumberFormat("en");
const ONE = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const MOMENT = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

export const NOTHING = "–";

/** A way to tell a value, or that there is none. */
function orNothing(tell) {
  return (value) => (value ?? null) === null ? NOTHING : tell(value);
}

export const number = orNothing((value) => NUMBER.format(value.rawJSON ?? value));
export const percent = orNothing((value) => `${ONE.format(value)} %`);
export const moment = orNothing((text) => MOMENT.format(new Date(text)));

/** Items a second; small rates are told by the minute. */
export const rate = orNothing((value) => value > 0 && value < 0.1 ? `${ONE.format(value * 60)}/min` : `${ONE.format(value)}/s`);

/** Seconds in the two largest units that are not none. */
export const duration = orNothing((seconds) => {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${ONE.format(seconds)} s`;
  const whole = Math.round(seconds);
  const parts = [[Math.floor(whole / 86400), "d"], [Math.floor(whole / 3600) % 24, "h"],
    [Math.floor(whole / 60) % 60, "min"], [whole % 60, "s"]];
  const first = parts.findIndex(([count]) => count > 0);
  return parts.slice(first, first + 2).filter(([count]) => count > 0)
    .map(([count, unit]) => `${count} ${unit}`).join(" ");
});

export const milliseconds = orNothing((value) => duration(value / 1000));

export const bytes = orNothing((value) => {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let left = value, unit = 0;
  while (left >= 1000 && unit < units.length - 1) { left /= 1000; unit += 1; }
  return `${ONE.format(left)} ${units[unit]}`;
});

/** How long ago; `now` in milliseconds. */
export function ago(text, now) {
  if (!text) return NOTHING;
  const seconds = (now - Date.parse(text)) / 1000, about = duration(Math.max(1, Math.abs(seconds))).split(" ").slice(0, 2).join(" ");
  if (seconds < 0) return `in ${about}`;
  return seconds < 10 ? "just now" : `${about} ago`;
}

export function count(value, one, many = `${one}s`) {
  return `${number(value)} ${value === 1 ? one : many}`;
}

export function cut(text, length) {
  return text.length > length ? `${Array.from(text).slice(0, length).join("")}…` : text;
}

/**
 * The document of a text, none of whose whole numbers is changed: one that is too long for a number
 * of the page stays as it was written. Raises for a browser that cannot keep it so.
 */
export function exact(text) {
  if (!/\d{16}/.test(text)) return JSON.parse(text);
  return JSON.parse(text, (_, value, said) => {
    if (typeof value !== "number" || Number.isSafeInteger(value) || value % 1) return value;
    if (!JSON.rawJSON) throw new Error(`A number near ${value} would be changed by this browser: take one that keeps whole numbers of any length.`);
    return /^-?\d+$/.test(said.source) ? JSON.rawJSON(said.source) : value;
  });
}

/** The same for what is only looked at: as near as the browser comes to it. */
export const readable = JSON.rawJSON ? exact : JSON.parse;

/** What somebody has written, as a document; raises with the place of the fault. */
export function written(text, name = "This") {
  try { return exact(text); } catch (error) { throw new Error(`${name} is no JSON: ${error.message}`, { cause: error }); }
}

export function json(value) {
  return value === undefined ? "" : JSON.stringify(value);
}

const RESTING = ["completed", "completed_with_errors", "failed", "cancelled", "rolled_back", "rollback_incomplete",
  "rejected", "archived"];

export const STATUSES = ["draft", "awaiting_approval", "pending", "running", "paused", "cancelling", "rolling_back", ...RESTING];

export const AT_REST = new Set(RESTING);

/** The operation of a job that stands for several. */
export const BATCH = "batch.steps";

/** Which of five colours a status has; the word stands beside it. */
const TONES = {
  completed: "good", running: "busy", rolling_back: "busy", cancelling: "busy",
  completed_with_errors: "warn", rollback_incomplete: "bad", failed: "bad",
  paused: "warn", awaiting_approval: "warn",
};

export function tone(status) {
  return TONES[status] ?? "calm";
}

export function spoken(name) {
  return String(name).replaceAll("_", " ");
}

/** Items by status in the order in which a bar shows them, with their tones. */
export const ITEM_STATUSES = [["succeeded", "good"], ["planned", "busy"], ["rolled_back", "calm"],
  ["skipped", "calm"], ["conflict", "warn"], ["failed", "bad"], ["pending", "none"]];

/** What can be asked of jobs at rest and of others, in the order of its buttons. */
export const VERBS = ["seal", "approve", "reject", "pause", "resume", "cancel", "retry", "undo", "hold",
  "release", "archive", "shred"];

/** Verbs that nothing takes back. */
export const FINAL = new Set(["archive", "shred", "reject", "cancel"]);

export const NEED_REASON = new Set(["shred"]);

const PERMISSIONS = { approve: "approve", reject: "approve", undo: "undo", hold: "administer", release: "administer", archive: "administer", shred: "administer" };

export const takes = (verb) => PERMISSIONS[verb] ?? "submit";
