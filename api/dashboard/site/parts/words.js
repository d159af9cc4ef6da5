// The words of the API and the command line for statuses and verbs, and what they mean. Pure.

export const STATUSES = ["draft", "awaiting_approval", "pending", "running", "paused", "cancelling",
  "rolling_back", "completed", "completed_with_errors", "failed", "cancelled", "rolled_back",
  "rollback_incomplete", "rejected", "archived"];

export const AT_REST = new Set(["completed", "completed_with_errors", "failed", "cancelled",
  "rolled_back", "rollback_incomplete", "rejected", "archived"]);

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

/** Verbs that are refused without a reason. */
export const NEED_REASON = new Set(["shred"]);

export const PERMISSIONS = {
  approve: "approve", reject: "approve", pause: "submit", resume: "submit", cancel: "submit",
  retry: "submit", undo: "undo", hold: "administer", release: "administer",
  archive: "administer", shred: "administer", adjust: "submit", apply: "submit", seal: "submit",
};
