// What may be asked of a job now; each verb says what will come of it, and takes a reason.

import { API, get, post } from "../parts/api.js";
import { capital, consequence } from "../parts/consequences.js";
import { button, fill, h, labelled, tick } from "../parts/dom.js";
import { confirm } from "../parts/dialog.js";
import { count, number } from "../parts/format.js";
import { failed, notice } from "../parts/notices.js";
import { address } from "../parts/route.js";
import { may } from "../parts/session.js";
import { link } from "../parts/shown.js";
import { FINAL, NEED_REASON, PERMISSIONS, spoken, VERBS } from "../parts/words.js";
import { asSeen } from "../jobs/bulk.js";

/** The buttons of a job; `changed` is called when it has taken one. */
export function verbBar(job, changed) {
  const able = VERBS.filter((verb) => job.possible.includes(verb) && may(PERMISSIONS[verb]));
  return h("div", { class: "row verbs", role: "toolbar", "aria-label": "What can be asked of this job" },
    able.map((verb) => verb === "undo"
      ? link(address(["jobs", job.job_id], { tab: "undo" }), "undo…", { class: "button" })
      : button(spoken(verb), () => tell(job, verb, changed).catch(failed), { class: FINAL.has(verb) ? "danger" : "" })),
    job.possible.includes("adjust") && may("submit") ? button("adjust", () => adjust(job, changed)) : null);
}

async function tell(job, verb, changed) {
  const about = h("span"), say = (words) => fill(about, `${capital(words)}.`);
  say(consequence(verb, job.counts, job));
  const more = await OPTIONS[verb]?.(job, say) ?? { drawn: null, body: () => ({}) };
  return confirm({
    title: `${capital(spoken(verb))} this job?`, verb: spoken(verb), final: FINAL.has(verb), needed: NEED_REASON.has(verb), about, more: more.drawn, reason: verb !== "seal",
    act: async (reason) => {
      // What was seen is sealed: a part that has come since is refused.
      const body = verb === "seal" ? { items: job.counts.total } : { reason, ...more.body() };
      await post(`${API}/jobs/${job.job_id}/${verb}`, body, { headers: asSeen(job) });
      notice(`${capital(spoken(verb))}: told.`);
      changed();
    },
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
async function retryOptions(job, say) {
  const { failed: fails, skipped, succeeded } = job.counts;
  const { items } = skipped ? await get(`${API}/jobs/${job.job_id}/items`, { status: "unattempted", limit: 1 }) : { items: [] };
  const left = h("input", { type: "checkbox", checked: items.length && !fails, on: { change: told } });
  function told() {
    say(left.checked ? `works what was left unattempted of ${count(skipped, "skipped item")}, leaves ${number(fails)} failed and ${number(succeeded)} succeeded` : consequence("retry", job.counts));
  }
  told();
  return { drawn: items.length ? tick("what was left unattempted, instead of what has failed", left) : null, body: () => left.checked ? { unattempted: true } : {} };
}

function adjust(job, changed) {
  const field = (words, value, props = {}) => labelled(words, h("input", { type: "number", min: "0", value: value ?? "", ...props }));
  const speed = field("Rate: items a second (empty: no cap)", job.caps.rate, { step: "any" });
  const calls = field("Concurrency: calls at once (empty: no cap)", job.caps.concurrency, { min: "1" });
  const first = field("Priority, 0 to 10, 10 first", job.priority, { max: "10" });
  const read = (label) => label.querySelector("input").value;
  return confirm({
    title: "Adjust this job", verb: "adjust", about: `Changes how the ${count(job.counts.pending, "pending item")} will be worked: obeyed within two seconds, by all workers together; what is settled stays.`,
    more: [speed, calls, first],
    act: async (reason) => {
      const wanted = { reason, priority: Number(read(first)) }, lift = [];
      for (const [name, label] of [["rate", speed], ["concurrency", calls]]) {
        if (read(label)) wanted[name] = Number(read(label));
        else if (job.caps[name] !== null) lift.push(name);
      }
      if (lift.length) wanted.lift = lift;
      await post(`${API}/jobs/${job.job_id}/adjust`, wanted);
      notice("Adjusted.");
      changed();
    },
  });
}
