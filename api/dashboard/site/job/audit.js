// The audit trail: every stored event with who and why, the latest first or from the beginning.

import { API, get } from "../parts/api.js";
import { button, fill, h, table } from "../parts/dom.js";
import { moment, number } from "../parts/format.js";
import { failed } from "../parts/notices.js";
import { address } from "../parts/route.js";
import { chip, link } from "../parts/shown.js";

const PAGE = 100;

export function auditTab(place, view) {
  let after = null;
  const list = h("section", { class: "panel" });
  fill(place, list);

  async function update() {
    const job = view.job(), from = after ?? Math.max(0, job.version - PAGE);
    const { items } = await get(`${API}/jobs/${job.job_id}/events`, { after: from, limit: PAGE }, { signal: view.signal });
    const seen = items.filter(({ version }) => version <= job.version).reverse();
    const go = (to) => () => { after = to; update().catch(failed); };
    fill(list, h("h2", {}, "Audit trail"),
      h("p", { class: "quiet" }, "Each event is chained to the one before it by its hash; countermand audit verify checks the whole chain with its signatures."),
      table("Audit trail", ["Version", "When", "Event", "Actor", "Status", "Said"], seen.map((each) => [
        link(address(["jobs", job.job_id], { at: each.version }), number(each.version), { title: "The job at this version" }),
        moment(each.at), h("code", {}, each.event), h("bdi", {}, each.actor), chip(each.status), h("bdi", {}, saidIn(each))])),
      h("div", { class: "row end" },
        from > 0 ? button("Earlier", go(Math.max(0, from - PAGE))) : null,
        from + PAGE < job.version ? button("Later", go(from + PAGE + PAGE >= job.version ? null : from + PAGE)) : null));
  }
  return { update };
}

/** What an event says beside its figures, in a line. Pure. */
export function saidIn(event) {
  const parts = [];
  if (event.reason) parts.push(event.reason);
  if (event.force) parts.push("by force");
  if (Array.isArray(event.chunks)) parts.push(`${event.chunks.length} chunks`);
  if (typeof event.items === "number") parts.push(`${number(event.items)} items`);
  if (event.sha256) parts.push(`sha256 ${event.sha256.slice(0, 12)}…`);
  return parts.join(", ");
}
