// What a live stream can say: an EventSource hands out only what it was asked for by name.

export const STORED = `
  adjusted approved archived attempts_due cancelled cancelling children_moved chunks_closed
  chunks_planned deadline_passed dependencies_met emptied finished held items_appended
  items_edited opened paused prepared rejected released repeats_skipped resumed retry_started
  sealed shredded skipped start_due steps_submitted stopped submitted undo_started
`.trim().split(/\s+/).map((each) => `job.${each}`);

export const PASSING = ["progress", "stream.opened", "broadcast"];
