// What may be asked of a job now; each verb says what will come of it, and takes a reason.

import { capital, consequence } from "../parts/consequences.js";
import { button, fill, h, notice, tick } from "../parts/dom.js";
import { LIMITS, confirm, numbers } from "../parts/dialog.js";
import { BATCH, FINAL, NEED_REASON, VERBS, count, number, spoken, takes } from "../parts/words.js";
import { link } from "../parts/route.js";
import { may } from "../parts/session.js";
import { asSeen } from "../jobs/bulk.js";

/** The buttons of a job, which ask it as it is when they are pressed. */
export function verbBar(view) {
  const { job_id: id, operation, possible } = view.job(), able = VERBS.filter((verb) => possible.includes(verb) && may(takes(verb)));
  return h("div.row.verbs", { role: "toolbar", "aria-label": "What can be asked of this job" },
    able.map((verb) => verb === "undo" && operation !== BATCH
      ? link(["jobs", id], "undo…", { class: "button" }, { tab: "undo" })
      : button(spoken(verb), () => tell(view, verb), { class: FINAL.has(verb) ? "danger" : "" })),
    possible.includes("adjust") && may("submit") ? button("adjust", () => adjust(view)) : null);
}

/** Have it done, say so, and show what has come of it; what was said holds of the job as it was `seen`. */
export async function obey(view, post, verb, body, words, seen) {
  await post(`jobs/${view.job().job_id}/${verb}`, body, { headers: seen && asSeen(seen) });
  notice(words);
  view.changed();
}

async function tell(view, verb) {
  const job = view.job(), about = h("span"), say = (words) => fill(about, `${capital(words)}.`);
  say(consequence(verb, job.counts, job));
  const more = await OPTIONS[verb]?.(job, say, view) ?? { drawn: null, body: () => ({}) };
  return confirm({
    title: `${capital(spoken(verb))} this job?`, verb: spoken(verb), final: FINAL.has(verb), needed: NEED_REASON.has(verb), about, more: more.drawn, reason: verb !== "seal",
    // What was seen is sealed: a part that has come since is refused.
    act: (reason, post) => obey(view, post, verb, verb === "seal" ? { items: job.counts.total } : { reason, ...more.body() }, `${capital(spoken(verb))}: told.`, job),
  });
}

const OPTIONS = { cancel: cancelOptions, retry: retryOptions };

function cancelOptions() {
  const back = h("input", { type: "checkbox" }), gently = h("input", { type: "checkbox" });
  return {
    drawn: [may("undo") ? tick("put back what was done (roll back)", back) : null, tick("let what is in flight end first (graceful)", gently)],
    body: () => ({ roll_back: back.checked, graceful: gently.checked }),
  };
}

/** What a stop or a cancel has left is worked instead of what has failed, if it is asked for. */
async function retryOptions(job, say, view) {
  const { failed: fails, skipped, succeeded } = job.counts;
  const { items } = skipped ? await view.read("items", { status: "unattempted", limit: 1 }) : { items: [] };
  const left = h("input", { type: "checkbox", checked: items.length && !fails, on: { change: told } });
  function told() {
    say(left.checked ? `works what was left unattempted of ${count(skipped, "skipped item")}, leaves ${number(fails)} failed and ${number(succeeded)} succeeded` : consequence("retry", job.counts));
  }
  told();
  return { drawn: items.length ? tick("what was left unattempted, instead of what has failed", left) : null, body: () => left.checked ? { unattempted: true } : {} };
}

function adjust(view) {
  const job = view.job(), fields = numbers({ ...job.caps, priority: job.priority }, [...LIMITS, ["priority", "Priority, 0 to 10, 10 first", { max: "10", required: true }]]);
  return confirm({
    title: "Adjust this job", verb: "adjust", about: `Changes how the ${count(job.counts.pending, "pending item")} will be worked: obeyed within two seconds, by all workers together; what is settled stays.`,
    more: fields.drawn,
    act: (reason, post) => obey(view, post, "adjust", { reason, ...fields.changed() }, "Adjusted."),
  });
}
