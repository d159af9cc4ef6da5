// What a dry run has found: record by record what would change, and doing just that.

import { button, code, facts, fill, h, notice, panel, quiet, refill, table } from "../parts/dom.js";
import { confirm } from "../parts/dialog.js";
import { AT_REST, count, json, number } from "../parts/words.js";
import { go, link } from "../parts/route.js";
import { may } from "../parts/session.js";

const SHOWN = 50;

export function planTab(place, view) {
  async function update() {
    const job = view.job();
    if (!AT_REST.has(job.status)) { fill(place, h("p.empty", "The dry run is under way.")); return; }
    const [plan, page] = await Promise.all([
      view.read("plan").catch((error) => ({ refused: error.message })),
      view.read("items", { status: "planned", limit: SHOWN })]);
    const changes = page.items.flatMap(({ changes: each }) => each ?? []);
    refill(place, [plan, page, view.at()], () => [plan.refused ? h("p.panel.bad-words", plan.refused) : planPanel(job, plan, view),
      panel(page.next_cursor ? `Changes of the first ${SHOWN} items` : "Changes",
        changes.length ? changesTable(changes) : quiet(plan.validated_only ? "Only validated: such operations are not applied in a dry run." : "No record would change."))]);
  }
  return { update };
}

function planPanel(job, plan, view) {
  const able = !plan.applied_by && !plan.changed.length && may("submit") && !view.at();
  return h("section.panel",
    facts([["Would be done", plan.counts.planned ?? 0], ["Would fail", plan.counts.failed], ["Would be skipped", plan.counts.skipped],
      ["Digest", h("code", plan.digest)]]),
    plan.changed.length ? h("p.bad-words", `The plan holds no more: ${plan.changed.map(({ table: name, record }) => `${name}/${json(record)}`).join(", ")}${plan.more_changed ? " and more" : ""} changed since.`) : null,
    plan.applied_by ? h("p", "Applied by ", link(["jobs", plan.applied_by], plan.applied_by)) : null,
    able ? h("div.row", button("Apply this plan", () => apply(job, plan, view), { class: "primary" })) : null);
}

function apply(job, plan, view) {
  return confirm({
    title: "Apply this plan?", verb: "apply", reason: false,
    about: `Does what was planned for ${count(plan.counts.planned ?? 0, "item")} and nothing else; a record that somebody changes before is left alone.`,
    act: async (_, post) => {
      const made = await post(`jobs/${job.job_id}/apply`, { digest: plan.digest });
      notice("The plan is being applied.");
      go(["jobs", made.job_id]);
    },
  });
}

/** A table of changes as a dry run tells them; a last `{more}` is what it leaves out. */
export function changesTable(changes) {
  const rows = [];
  for (const each of changes) {
    if (each.more) { rows.push(["", "", "", `${number(each.more)} more records`]); continue; }
    const record = `${each.table}/${json(each.id ?? undefined) || "new"}`;
    const columns = new Set([...Object.keys(each.before ?? {}), ...Object.keys(each.after ?? {})]);
    for (const column of columns) {
      rows.push([code(record), column, h("del", json(each.before?.[column])), h("ins", json(each.after?.[column]))]);
    }
    if (!columns.size) rows.push([code(record), each.change, "", ""]);
  }
  return table("Changes", ["Record", "Column", "Before", "After"], rows);
}
