// What a live stream can say: an EventSource hands out only what it was asked for by name.

export const STORED = [
  "job.adjusted", "job.approved", "job.archived", "job.attempts_due", "job.cancelled",
  "job.cancelling", "job.children_moved", "job.chunks_closed", "job.chunks_planned",
  "job.deadline_passed", "job.dependencies_met", "job.emptied", "job.finished", "job.held",
  "job.items_appended", "job.items_edited", "job.opened", "job.paused", "job.prepared",
  "job.rejected", "job.released", "job.repeats_skipped", "job.resumed", "job.retry_started",
  "job.sealed", "job.shredded", "job.skipped", "job.start_due", "job.steps_submitted",
  "job.stopped", "job.submitted", "job.undo_started",
];

export const PASSING = ["progress", "stream.opened", "broadcast"];
