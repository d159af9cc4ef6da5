// The annotations of a project held against its rules, and what was found.

import { asking, get, reader } from "../parts/api.js";
import { button, chip, facts, fill, grow, h, notice, quiet, refill, table, when } from "../parts/dom.js";
import { AT_REST } from "../parts/words.js";
import { follow } from "../parts/live.js";
import { link } from "../parts/route.js";
import { may } from "../parts/session.js";

const KIND = "annotations.validate", LATEST = 100;
const TONE = { error: "bad", warning: "warn", info: "calm" };

export function validation(project, signal) {
  const said = h("div.stack");
  const drawn = h("section.panel", { "aria-label": "Validation" },
    h("div.row", h("h2", "Validation"), grow(), may("submit") ? button("Validate all annotations", begin) : null), said);
  let own = "";
  const post = asking(), { read, soon, close: end } = reader(update), close = follow((_, event) => { if (event.job_id === own) soon(); }, soon);
  read();

  async function begin({ detail }) {
    // Of a double click.
    if (detail > 1) return;
    const { job_id: id } = await post("jobs", { operation: KIND, name: `Validation of ${project.name}`.slice(0, 200), params: { project_id: project.project_id },
      select: { table: "annotations", where: { op: "equals", column: "project_id", value: project.project_id }, confirm: "all" } });
    own = id;
    notice("The annotations are held against the rules. Nothing is written.");
    soon();
  }

  async function update() {
    const job = own ? await get(`jobs/${own}`, {}, signal)
      : (await get("jobs", { operation: KIND, limit: LATEST }, signal)).items.find(({ params }) => params.project_id === project.project_id);
    if (!job) { fill(said, quiet("It was not validated lately.")); return; }
    own ||= job.job_id;
    const found = AT_REST.has(job.status) ? await get(`jobs/${own}/issues`, {}, signal) : { rules: [] };
    refill(said, [job, found], () => [facts([["Job", link(["jobs", own], own.slice(-8))], ["Status", chip(job.status)], ["When", when(job.created_at)], ["Looked at", found.items ?? job.counts.total - job.counts.pending], ["With issues", found.items_with_issues], ["Score", String(found.score ?? "")]]),
      table("Issues by rule", ["Rule", "Layer", "Severity", "Issues", "Items", ""], found.rules.map((each) => [h("code", each.rule), each.layer, h(`span.chip.${TONE[each.severity] ?? "calm"}`, each.severity), each.issues, each.items,
        each.severity === "error" ? link(["jobs", own], "Items", { "aria-label": `Items that fail ${each.rule}` }, { tab: "items", status: "failed", code: each.rule }) : ""]), AT_REST.has(job.status) ? "No issue was found." : "Issues are told when it has ended.")]);
  }

  return { drawn, close: () => { close(); end(); } };
}
