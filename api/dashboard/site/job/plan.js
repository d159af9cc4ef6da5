// What a dry run has found: record by record what would change, and doing just that.

import { API, post } from "../parts/api.js";
import { button, facts, fill, h, panel, quiet, refill } from "../parts/dom.js";
import { confirm } from "../parts/dialog.js";
import { count, number } from "../parts/format.js";
import { notice } from "../parts/notices.js";
import { address, go } from "../parts/route.js";
import { may } from "../parts/session.js";
import { link } from "../parts/shown.js";
import { AT_REST } from "../parts/words.js";
import { changesTable } from "./changes.js";

const SHOWN = 50;

export function planTab(place, view) {
  async function update() {
    const job = view.job();
    if (!AT_REST.has(job.status)) { fill(place, h("p", { class: "empty" }, "The dry run is under way.")); return; }
    const [plan, page] = await Promise.all([
      view.read("plan").catch((error) => ({ refused: error.message })),
      view.read("items", { status: "planned", limit: SHOWN })]);
    const changes = page.items.flatMap(({ changes: each }) => each ?? []);
    refill(place, [plan, page], () => [plan.refused ? h("p", { class: "panel bad-words" }, plan.refused) : planPanel(job, plan, view),
      panel(page.next_cursor ? `Changes of the first ${SHOWN} items` : "Changes",
        changes.length ? changesTable(changes) : quiet(plan.validated_only ? "Only validated: such operations are not applied in a dry run." : "No record would change."))]);
  }
  return { update };
}

function planPanel(job, plan, view) {
  const able = !plan.applied_by && !plan.changed.length && may("submit");
  return h("section", { class: "panel" },
    facts([["Would be done", number(plan.counts.planned ?? 0)], ["Would fail", number(plan.counts.failed)], ["Would be skipped", number(plan.counts.skipped)],
      ["Digest", h("code", {}, plan.digest)]]),
    plan.changed.length ? h("p", { class: "bad-words" }, `The plan holds no more: ${plan.changed.map(({ table: name, record }) => `${name}/${record}`).join(", ")}${plan.more_changed ? " and more" : ""} changed since.`) : null,
    plan.applied_by ? h("p", {}, "Applied by ", link(address(["jobs", plan.applied_by]), plan.applied_by)) : null,
    able ? h("div", { class: "row" }, button("Apply this plan", () => apply(job, plan, view), { class: "primary" })) : null);
}

function apply(job, plan, view) {
  return confirm({
    title: "Apply this plan?", verb: "apply", reason: false,
    about: `Does what was planned for ${count(plan.counts.planned ?? 0, "item")} and nothing else; a record that somebody changes before is left alone.`,
    act: async () => {
      const made = await post(`${API}/jobs/${job.job_id}/apply`, { digest: plan.digest });
      notice("The plan is being applied.");
      go(["jobs", made.job_id]);
    },
  });
}
