// What may be asked of a job now; each verb says what will come of it, and takes a reason.

import { API, post } from "../parts/api.js";
import { capital, consequence } from "../parts/consequences.js";
import { button, h, labelled } from "../parts/dom.js";
import { confirm } from "../parts/dialog.js";
import { count } from "../parts/format.js";
import { notice } from "../parts/notices.js";
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
      : button(spoken(verb), () => tell(job, verb, changed), { class: FINAL.has(verb) ? "danger" : "" })),
    job.possible.includes("adjust") && may("submit") ? button("adjust", () => adjust(job, changed)) : null);
}

function tell(job, verb, changed) {
  const more = verb === "cancel" ? cancelOptions() : { drawn: null, body: () => ({}) };
  return confirm({
    title: `${capital(spoken(verb))} this job?`, verb: spoken(verb), final: FINAL.has(verb), needed: NEED_REASON.has(verb), more: more.drawn,
    about: h("p", { class: "consequence" }, `${capital(consequence(verb, job.counts, job))}.`),
    act: async (reason) => {
      await post(`${API}/jobs/${job.job_id}/${verb}`, { reason, ...more.body() }, { headers: asSeen(job) });
      notice(`${capital(spoken(verb))}: told.`);
      changed();
    },
  });
}

function cancelOptions() {
  const back = h("input", { type: "checkbox" }), gently = h("input", { type: "checkbox" });
  return {
    drawn: h("div", {}, may("undo") ? h("label", { class: "tick" }, back, "put back what was done (roll back)") : null,
      h("label", { class: "tick" }, gently, "let what is in flight end first (graceful)")),
    body: () => ({ roll_back: back.checked, graceful: gently.checked }),
  };
}

function adjust(job, changed) {
  const field = (words, value, props = {}) => labelled(words, h("input", { type: "number", min: "0", value: value ?? "", ...props }));
  const speed = field("Rate: items a second (empty: no cap)", job.caps.rate, { step: "any" });
  const calls = field("Concurrency: calls at once (empty: no cap)", job.caps.concurrency, { min: "1" });
  const first = field("Priority, 0 to 10, 10 first", job.priority, { max: "10" });
  const read = (label) => label.querySelector("input").value;
  return confirm({
    title: "Adjust this job", verb: "adjust", about: h("p", { class: "consequence" }, `Changes how the ${count(job.counts.pending, "pending item")} will be worked: obeyed within two seconds, by all workers together; what is settled stays.`),
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
