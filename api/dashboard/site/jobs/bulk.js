// The same verb for several jobs, with what it will do to them all.

import { get } from "../parts/api.js";
import { ofMany } from "../parts/consequences.js";
import { bdi, button, fill, h, notice } from "../parts/dom.js";
import { confirm } from "../parts/dialog.js";
import { AT_REST, FINAL, NEED_REASON, count, takes } from "../parts/words.js";
import { may } from "../parts/session.js";
import { title } from "./row.js";

const OFFERED = ["pause", "resume", "cancel", "retry", "undo", "archive"];
const TOGETHER = 6;

/** The bar of verbs; `chosen()` gives the ids, `clear()` forgets them. */
export function bulkBar(chosen, clear) {
  const words = h("span", { role: "status" });
  const verbs = OFFERED.filter((verb) => may(takes(verb)))
    .map((verb) => button(verb, () => askFor(verb, [...chosen()], clear)));
  const drawn = h("div.bulk", { role: "toolbar", "aria-label": "For the selected jobs", hidden: true },
    words, verbs, button("Clear selection", clear, { class: "quiet-button" }));
  const update = () => {
    const size = chosen().size;
    drawn.hidden = !size;
    fill(words, size ? `${count(size, "job")} selected` : "");
  };
  return { drawn, update };
}

async function askFor(verb, ids, clear) {
  const jobs = await each(ids, (id) => get(`jobs/${id}`));
  const { able, words } = ofMany(verb, jobs);
  if (!able.length) { notice(words, "warn"); return; }
  const more = [
    h("ul.short", able.slice(0, 8).map((job) => h("li", bdi(title(job)))),
      able.length > 8 ? h("li", `and ${count(able.length - 8, "more", "more")}`) : null)];
  const done = await confirm({
    title: `${verb} ${count(able.length, "job")}?`, about: words, more, verb, needed: NEED_REASON.has(verb), final: FINAL.has(verb),
    act: (reason, post, on) => tellAll(post, verb, able, reason, on),
  });
  if (done) clear();
}

/** Asks as long as it is `on`. Raises while some give no answer: those alone stay among the jobs, and are told again under their keys. */
async function tellAll(post, verb, jobs, reason, on) {
  const asked = jobs.splice(0), refusals = [], lost = [];
  let left = 0;
  await each(asked, async (job) => {
    if (!on()) { left += 1; return; }
    try {
      await post(`jobs/${job.job_id}/${verb}`, { reason }, { headers: asSeen(job) });
    } catch (error) {
      const answered = error.status && error.status < 500 && error.status !== 429;
      if (!answered) jobs.push(job);
      (answered ? refusals : lost).push(`${title(job)}: ${error.message}`);
    }
  });
  if (refusals.length) notice(`${count(refusals.length, "job")} refused ${verb}. ${refusals[0]}`, "bad");
  const told = asked.length - refusals.length - lost.length - left;
  if (told) notice(`${verb}: ${count(told, "job")} told.`);
  if (lost.length) throw new Error(`${count(lost.length, "job")} gave no answer. ${lost[0]}`);
}

/** What was said of a job at rest holds for the version that was seen. Pure. */
export function asSeen(job) {
  return AT_REST.has(job.status) ? { "If-Match": `"${job.version}"` } : {};
}

async function each(list, act) {
  const found = [], left = list.entries();
  const runner = async () => { for (const [index, one] of left) found[index] = await act(one); };
  await Promise.all(Array.from({ length: TOGETHER }, runner));
  return found;
}
