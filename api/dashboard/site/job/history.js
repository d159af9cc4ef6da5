// A job's chunks and latencies, folded from its stored events; read in pages, as far as one looks.

const PAGE = 500, MOST = 20_000;

export function empty() {
  return { version: 0, chunks: new Map(), latencies: [], more: 0 };
}

/** Take one event in; what is not about chunks only moves the version. Pure but for its state. */
function fold(state, event) {
  state.version = event.version;
  if (event.event === "job.chunks_planned") event.chunks.forEach((each) => planned(state, each));
  if (event.event === "job.chunks_closed") event.chunks.forEach((each) => closed(state, each, event.at));
  return state;
}

function planned(state, { chunk, cause, items }) {
  if (state.chunks.size >= MOST) { state.more += 1; return; }
  const count = items.reduce((sum, [first, end]) => sum + end - first, 0);
  state.chunks.set(chunk, { chunk, cause, first: items[0]?.[0] ?? 0, count, state: "open", ms: null, failed: 0 });
}

function closed(state, said, at) {
  const known = state.chunks.get(said.chunk);
  if (!known) return;
  Object.assign(known, { state: stateOf(said), ms: said.duration_ms, failed: said.failed, conflict: said.conflict });
  state.latencies.push([Date.parse(at) / 1000, said.duration_ms]);
}

/** In one word, what became of a chunk. Pure. */
function stateOf({ closing, succeeded, failed, conflict, rolled_back: back, skipped, planned: seen = 0 }) {
  if (closing !== "done") return "given back";
  if (conflict) return "conflict";
  if (failed) return succeeded || skipped || seen ? "some failed" : "failed";
  if (back) return "rolled back";
  if (seen) return "planned";
  return succeeded ? "done" : "skipped";
}

export const TONE = { open: "busy", done: "good", "some failed": "warn", failed: "bad",
  conflict: "warn", "rolled back": "calm", skipped: "calm", "given back": "calm", planned: "busy" };

/** Reads on behind what is known, up to a version; `told` is called after each page. */
export async function readOn(state, read, until, told) {
  for (;;) {
    const page = await read("events", { after: state.version, limit: PAGE });
    for (const event of page.items) {
      if (until && event.version > until) { told(state); return; }
      fold(state, event);
    }
    told(state);
    if (page.next_after === null) return;
  }
}
