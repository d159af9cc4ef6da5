// What an undo would do now, before anything is written; and the undo.

import { consequence } from "../parts/consequences.js";
import { bdi, button, ends, facts, fill, grow, h, notice, panel, quiet, refill, table, tick } from "../parts/dom.js";
import { confirm } from "../parts/dialog.js";
import { count, number } from "../parts/words.js";
import { link } from "../parts/route.js";
import { may } from "../parts/session.js";
import { asSeen } from "../jobs/bulk.js";

const PAGE = 100;

export function undoTab(place, view) {
  let before = [], cursor = null, drawn = false;
  const force = h("input", { type: "checkbox", on: { change: () => { before = []; cursor = null; view.draw(); } } });
  const found = h("div.stack", quiet("Working it out…"));
  fill(place, found);

  async function update() {
    const job = view.job();
    if (!job.possible.includes("undo")) { fill(found, h("p.empty", `A job that is ${job.status.replaceAll("_", " ")} cannot be undone now.`)); return; }
    let preview;
    try {
      preview = await view.read("undo-preview", { cursor, limit: PAGE, force: force.checked ? "true" : "" });
    } catch (error) {
      if (error.name === "AbortError" || (drawn && ![409, 422].includes(error.status))) throw error;
      fill(found, h("p.panel", error.message));
      return;
    }
    const step = (to, way) => { way(); cursor = to; view.draw(); };
    drawn = true;
    refill(found, [{ ...preview, version: 0 }, cursor], () => [panel(preview.direction === "rollback" ? "What an undo would do now" : "What an undo of the undo would do now",
      facts([["Items", number(preview.items)], ["Would be put back", number(preview.restored)], ["Would stay, in conflict", number(preview.conflict)], ["Would fail", number(preview.failed)],
        ["Effects outside", preview.outside?.join(", ")], ["Compensated", preview.compensated || null]]),
      preview.exact ? null : quiet("The operation's own inverse or compensation may still find something in the way."),
      h("div.row", tick("over what others have written since (force; needs a reason)", force), grow(),
        may("undo") ? button("Undo this job", () => undo(view, preview, force.checked), { class: "danger" }) : null)),
    panel("In the way",
      table("What would stay as it is", ["Item", "Record", "By", "Reason"], preview.obstructions.map((each) => [number(each.position), h("code", each.record ?? ""), byWhom(each.by ?? ""), bdi(each.reason)]), "Nothing is in the way."),
      ends(
        before.length ? button("Earlier", () => step(before.at(-1), () => before.pop())) : null,
        preview.next_cursor ? button("Later", () => step(preview.next_cursor, () => before.push(cursor))) : null))]);
  }
  return { update };
}

/** Who was quicker: a job, to which there is a way, or somebody's single edit. */
function byWhom(by) {
  return /^[0-9a-f]{8}-[0-9a-f-]{27,}$/.test(by) ? link(["jobs", by], `job ${by.slice(-8)}`) : bdi(by);
}

function undo(view, preview, force) {
  const job = view.job();
  return confirm({
    title: "Undo this job?", verb: "undo", final: true, needed: force,
    about: preview.direction === "rollback"
      ? `Puts back ${count(preview.restored, "item")}; ${count(preview.conflict, "item")} stay${preview.conflict === 1 ? "s" : ""} as others have written since${force ? ", for not even force helps there" : ""}${preview.failed ? `; ${number(preview.failed)} cannot be put back` : ""}.`
      : `${consequence("undo", job.counts, job)}.`,
    act: async (reason, post) => {
      await post(`jobs/${job.job_id}/undo`, { reason, force }, { headers: asSeen(job) });
      notice("The undo has begun.");
      view.changed();
    },
  });
}
