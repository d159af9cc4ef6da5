// What an undo would do now, before anything is written; and the undo.

import { consequence } from "../parts/consequences.js";
import { bdi, button, facts, fill, grow, h, paged, panel, quiet, refill, table, tick } from "../parts/dom.js";
import { confirm } from "../parts/dialog.js";
import { count, number } from "../parts/words.js";
import { link } from "../parts/route.js";
import { may } from "../parts/session.js";
import { obey } from "./verbs.js";

const PAGE = 100;

export function undoTab(place, view) {
  // The words of a preview hold for its version, and for the force with which it was read.
  let drawn = false, preview, forced;
  const pages = paged(view.draw), force = h("input", { type: "checkbox", on: { change: () => { pages.begin(); view.draw(); } } });
  const found = h("div.stack", quiet("Working it out…"));
  fill(place, found);

  async function update() {
    const job = view.job();
    if (!job.possible.includes("undo")) { fill(found, h("p.empty", `A job that is ${job.status.replaceAll("_", " ")} cannot be undone now.`)); return; }
    try {
      const by = force.checked;
      preview = { ...await view.read("undo-preview", { cursor: pages.cursor(), limit: PAGE, force: by ? "true" : "" }), status: job.status };
      forced = by;
    } catch (error) {
      if (error.name === "AbortError" || (drawn && ![409, 422].includes(error.status))) throw error;
      fill(found, h("p.panel", error.message));
      return;
    }
    drawn = true;
    refill(found, [{ ...preview, version: 0 }, pages.cursor()], () => [panel(preview.direction === "rollback" ? "What an undo would do now" : "What an undo of the undo would do now",
      facts([["Items", preview.items], ["Would be put back", preview.restored], ["Would stay, in conflict", preview.conflict], ["Would fail", preview.failed],
        ["Effects outside", preview.outside?.join(", ")], ["Compensated", preview.compensated || null]]),
      preview.exact ? null : quiet("The operation's own inverse or compensation may still find something in the way."),
      h("div.row", tick("over what others have written since (force; needs a reason)", force), grow(),
        may("undo") ? button("Undo this job", () => undo(view, preview, forced), { class: "danger" }) : null)),
    panel("In the way",
      table("What would stay as it is", ["Item", "Record", "By", "Reason"], preview.obstructions.map((each) => [each.position, h("code", each.record ?? ""), byWhom(each.by ?? ""), bdi(each.reason)]), "Nothing is in the way."),
      pages.turns(preview.next_cursor))]);
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
    act: (reason, post) => obey(view, post, "undo", { reason, force }, "The undo has begun.", preview),
  });
}
