// The annotations of a project held against its rules, and what was found.

import { API, get, post } from "../parts/api.js";
import { button, facts, fill, grow, h, quiet, table } from "../parts/dom.js";
import { number } from "../parts/format.js";
import { follow } from "../parts/live.js";
import { failed, notice } from "../parts/notices.js";
import { address } from "../parts/route.js";
import { may } from "../parts/session.js";
import { chip, link, when } from "../parts/shown.js";

const KIND = "annotations.validate", LATEST = 100, PAUSE = 400;
const TONE = { error: "bad", warning: "warn", info: "calm" };

export function validation(project, signal) {
  const said = h("div", { class: "stack" });
  const drawn = h("section", { class: "panel", "aria-label": "Validation" },
    h("div", { class: "row" }, h("h2", {}, "Validation"), grow(), may("submit") ? button("Validate all annotations", () => begin().catch(failed)) : null), said);
  let own = "", timer = 0;
  const soon = () => { timer ||= setTimeout(() => { timer = 0; update().catch(failed); }, PAUSE); };
  const close = follow((_, event) => { if (event.job_id === own) soon(); }, soon);
  update().catch(failed);

  async function begin() {
    const { job_id: id } = await post(`${API}/jobs`, { operation: KIND, name: `Validation of ${project.name}`.slice(0, 200), params: { project_id: project.project_id },
      select: { table: "annotations", where: { op: "equals", column: "project_id", value: project.project_id }, confirm: "all" } });
    own = id;
    notice("The annotations are being held against the rules. Nothing is written.");
    soon();
  }

  async function update() {
    const job = own ? await get(`${API}/jobs/${own}`, {}, { signal })
      : (await get(`${API}/jobs`, { operation: KIND, limit: LATEST }, { signal })).items.find(({ params }) => params.project_id === project.project_id);
    if (!job) { fill(said, quiet("It was not validated lately.")); return; }
    own = job.job_id;
    const found = await get(`${API}/jobs/${own}/issues`, {}, { signal });
    fill(said, facts([["Job", link(address(["jobs", own]), own.slice(-8))], ["Status", chip(job.status)], ["When", when(job.created_at)], ["Looked at", number(found.items)], ["With issues", number(found.items_with_issues)], ["Score", found.score]]),
      table("Issues by rule", ["Rule", "Layer", "Severity", "Issues", "Items", ""], found.rules.map((each) => [h("code", {}, each.rule), each.layer, h("span", { class: `chip ${TONE[each.severity] ?? "calm"}` }, each.severity), number(each.issues), number(each.items),
        each.severity === "error" ? link(address(["jobs", own], { tab: "items", status: "failed", code: each.rule }), "Items", { "aria-label": `Items that fail ${each.rule}` }) : ""]), "No issue was found."));
  }

  return { drawn, close: () => { close(); clearTimeout(timer); } };
}
