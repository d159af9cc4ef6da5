// What an undo would do now, before anything is written; and the undo.

import { API, get, post } from "../parts/api.js";
import { consequence } from "../parts/consequences.js";
import { button, facts, fill, h, table } from "../parts/dom.js";
import { confirm } from "../parts/dialog.js";
import { count, number } from "../parts/format.js";
import { failed, notice } from "../parts/notices.js";
import { address } from "../parts/route.js";
import { may } from "../parts/session.js";
import { link } from "../parts/shown.js";
import { asSeen } from "../jobs/bulk.js";

const PAGE = 100;

export function undoTab(place, view) {
  let before = [], cursor = null;
  const force = h("input", { type: "checkbox", on: { change: () => { before = []; cursor = null; update().catch(failed); } } });
  const found = h("div", { class: "stack" });
  fill(place, found);

  async function update() {
    const job = view.job();
    if (!job.possible.includes("undo")) { fill(found, h("p", { class: "empty" }, `A job that is ${job.status.replaceAll("_", " ")} cannot be undone now.`)); return; }
    let preview;
    try {
      preview = await get(`${API}/jobs/${job.job_id}/undo-preview`, { cursor, limit: PAGE, force: force.checked ? "true" : "" }, { signal: view.signal });
    } catch (error) {
      if (error.status !== 409 && error.status !== 422) throw error;
      fill(found, h("p", { class: "panel" }, error.message));
      return;
    }
    const step = (to, way) => { way(); cursor = to; update().catch(failed); };
    fill(found, h("section", { class: "panel" }, h("h2", {}, preview.direction === "rollback" ? "What an undo would do now" : "What an undo of the undo would do now"),
      facts([["Items", number(preview.items)], ["Would be put back", number(preview.restored)], ["Would stay, in conflict", number(preview.conflict)], ["Would fail", number(preview.failed)],
        ["Effects outside", preview.outside?.length ? preview.outside.join(", ") : null], ["Compensated", preview.compensated ? number(preview.compensated) : null]]),
      preview.exact ? null : h("p", { class: "quiet" }, "The operation's own inverse or compensation may still find something in the way."),
      h("div", { class: "row" }, h("label", { class: "tick" }, force, "over what others have written since (force; needs a reason)"), h("span", { class: "grow" }),
        may("undo") ? button("Undo this job", () => undo(view, preview, force.checked), { class: "danger" }) : null)),
    h("section", { class: "panel" }, h("h2", {}, "In the way"),
      table("What would stay as it is", ["Item", "Record", "By", "Reason"], preview.obstructions.map((each) => [number(each.position), h("code", {}, each.record ?? ""), byWhom(each.by ?? ""), h("bdi", {}, each.reason)]), "Nothing is in the way."),
      h("div", { class: "row end" },
        before.length ? button("Earlier", () => step(before.at(-1), () => before.pop())) : null,
        preview.next_cursor ? button("Later", () => step(preview.next_cursor, () => before.push(cursor))) : null)));
  }
  return { update };
}

/** Who was quicker: a job, to which there is a way, or somebody's single edit. */
function byWhom(by) {
  return /^[0-9a-f]{8}-[0-9a-f-]{27,}$/.test(by) ? link(address(["jobs", by]), `job ${by.slice(-8)}`) : h("bdi", {}, by);
}

function undo(view, preview, force) {
  const job = view.job();
  return confirm({
    title: "Undo this job?", verb: "undo", final: true, needed: force,
    about: h("p", { class: "consequence" }, preview.direction === "rollback"
      ? `Puts back ${count(preview.restored, "item")}; ${count(preview.conflict, "item")} stay${preview.conflict === 1 ? "s" : ""} as others have written since${force ? ", for not even force helps there" : ""}${preview.failed ? `; ${number(preview.failed)} cannot be put back` : ""}.`
      : `${consequence("undo", job.counts, job)}.`),
    act: async (reason) => {
      await post(`${API}/jobs/${job.job_id}/undo`, { reason, force }, { headers: asSeen(job) });
      notice("The undo has begun.");
      view.changed();
    },
  });
}
