// How a job goes: why it waits, its figures, its chunks, its throughput, its steps.

import { bdi, code, facts, fill, h, refill } from "../parts/dom.js";
import { BATCH, count, duration, milliseconds, moment, rate, spoken } from "../parts/words.js";
import { link } from "../parts/route.js";
import { charts } from "./charts.js";
import { graph } from "./graph.js";
import { heatmap } from "./heatmap.js";
import { empty, readOn } from "./history.js";

export function overviewTab(place, view) {
  const isBatch = view.job().operation === BATCH;
  const waiting = h("div"), figures = h("section.panel"), steps = h("div");
  const map = isBatch ? null : heatmap(), plots = isBatch ? null : charts();
  let history = empty(), reading = false, seen = 0;
  fill(place, waiting, steps, figures, plots?.drawn, map?.drawn);

  async function update() {
    const job = view.job(), at = view.at();
    fill(waiting, waitingPanel(job));
    refill(figures, job, () => [h("h2", "Figures"), figuresOf(job)]);
    refill(steps, job.steps ?? [], () => job.steps?.length ? graph(job.steps) : null);
    if (isBatch || reading) return;
    if (seen > job.version) history = empty();
    seen = job.version;
    reading = true;
    try {
      await readOn(history, view.read, at, (state) => map.update(state));
      await plots.update(history, view.read);
    } finally { reading = false; }
  }
  return { update, close: () => { map?.close(); plots?.close(); } };
}

function waitingPanel(job) {
  const parts = [], tell = (name, ...words) => parts.push(h("p", h("b", `${name}: `), words));
  if (job.waiting) tell(`Why it waits (${spoken(job.waiting.reason)})`, bdi(job.waiting.text));
  if (job.reason) tell("Reason", bdi(job.reason));
  if (job.deadline?.warning) tell("Deadline", job.deadline.warning);
  if (job.retrying) parts.push(h("p", `${count(job.retrying, "item")} failed and will be tried again, the next at ${moment(job.next_attempt_at)}.`));
  for (const [name, word] of [["Held", job.held], ["Shredded", job.shredded], ["Archived", job.archived]]) {
    if (word) tell(name, bdi(`${word.by ?? word.actor ?? ""} ${word.reason ?? ""}`));
  }
  return parts.length ? h("section.panel.waiting", parts) : null;
}

function figuresOf(job) {
  const run = job.progress, eta = run?.eta;
  const after = (job.options.after ?? []).map(({ job_id: id, end }) => link(["jobs", id], `${id.slice(-8)} ${end ?? ""} `));
  return facts([
    ["Rate now", rate(run?.now)], ["Mean rate", rate(run?.mean)],
    ["Time left, 4 times in 5", eta ? `${duration(eta.low)} to ${duration(eta.high)}` : null],
    ["Chunks: median, p95", run?.chunk_ms ? `${milliseconds(run.chunk_ms.p50)}, ${milliseconds(run.chunk_ms.p95)}` : null],
    ["Items: median, p95", run?.item_ms ? `${milliseconds(run.item_ms.p50)}, ${milliseconds(run.item_ms.p95)}` : null],
    ["Priority", job.priority], ["Rate cap", rate(job.caps.rate)],
    ["Concurrency cap", job.caps.concurrency],
    ["Undone", job.generation ? count(job.generation, "time") : null], ["Starts", moment(job.start_at)],
    ["Deadline", moment(job.deadline?.at)],
    ["Comes after", after.length ? after : null], ["Part of", job.parent ? link(["jobs", job.parent], job.parent.slice(-8)) : null],
    ["Parameters", Object.keys(job.params).length ? code(JSON.stringify(job.params)) : null],
    ["Options", code(JSON.stringify(job.options))],
  ]);
}
