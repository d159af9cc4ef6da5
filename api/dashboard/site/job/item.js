// One item: what was sent, what has come of it, each attempt, and another body for it.

import { bdi, button, chip, ends, fill, h, labelled, quiet, table } from "../parts/dom.js";
import { confirm, dialog } from "../parts/dialog.js";
import { exact, milliseconds, moment, number, written } from "../parts/words.js";
import { may } from "../parts/session.js";
import { changesTable } from "./plan.js";
import { obey } from "./verbs.js";

export async function openItem(view, position) {
  const job = view.job(), item = await view.read(`items/${position}`);
  dialog(`Item ${number(position)}`, (body, close) => {
    const { possible } = job, draft = possible.includes("edit") && item.status === "pending";
    const able = (draft || item.status === "failed" && possible.includes("retry")) && may("submit") && !item.shredded && !view.at();
    const then = (words, act) => able ? button(words, () => { close(); return act(view, item, draft); }) : null;
    fill(body, h("div.row", chip(item.status), item.error ? h("code", item.error.code) : null),
      item.error ? h("p", bdi(item.error.message)) : null,
      item.changes?.length ? changesTable(item.changes) : null,
      h("h3", "Sent"), item.shredded ? quiet("Shredded: nobody can read it.") : document_(item.item),
      item.result === null ? null : [h("h3", "Result"), document_(item.result)],
      item.bodies?.length > 1 ? [h("h3", "Earlier bodies"), item.bodies.slice(0, -1).map(document_)] : null,
      h("h3", "Attempts"), table("Attempts", ["When", "Chunk", "Cause", "Status", "Took", "Error"], item.attempts.map((each) => [
        moment(each.at), number(each.chunk), each.cause, chip(each.status), milliseconds(each.duration_ms), bdi(each.error?.message ?? "")])),
      ends(then(draft ? "Edit" : "Edit and replay", edit), draft ? then("Leave out", leaveOut) : null, button("Close", close)));
  });
}

async function edit(view, { position }, draft) {
  const { item } = await view.read(`items/${position}`, {}, exact);
  const body = h("textarea.code", { spellcheck: "false", rows: "10", value: JSON.stringify(item, null, 2) });
  return confirm({
    title: `Edit item ${number(position)}${draft ? "" : " and replay it"}`, verb: draft ? "edit" : "replay",
    about: `${draft ? "Gives" : "Re-runs"} this one item ${draft ? "" : "with "}the body below; leaves all others as they are. The old body is kept in the audit trail.`,
    more: labelled("Body", body),
    act: (reason, post) => obey(view, post, draft ? "edit" : "retry", { reason, edits: [{ item: position, body: written(body.value) }] }, draft ? "The item has another body." : "Replaying one item."),
  });
}

function leaveOut(view, { position }) {
  return confirm({
    title: `Leave item ${number(position)} out?`, verb: "leave out", final: true,
    about: "The item keeps its place and is skipped; nothing brings it back.",
    act: (reason, post) => obey(view, post, "edit", { reason, drop: [position] }, "The item is left out."),
  });
}

function document_(value) {
  return h("pre", { tabindex: "0" }, JSON.stringify(value, null, 2));
}
