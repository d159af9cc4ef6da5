// One item: what was sent, what has come of it, each attempt, and another body for it.

import { API, get, post } from "../parts/api.js";
import { button, fill, h, labelled, table } from "../parts/dom.js";
import { confirm, dialog } from "../parts/dialog.js";
import { milliseconds, moment, number } from "../parts/format.js";
import { failed, notice } from "../parts/notices.js";
import { may } from "../parts/session.js";
import { chip } from "../parts/shown.js";
import { changesTable } from "./changes.js";
import { parsed } from "./errors.js";

export async function openItem(view, position) {
  const job = view.job();
  let item;
  try { item = await get(`${API}/jobs/${job.job_id}/items/${position}`); } catch (error) { failed(error); return; }
  dialog(`Item ${number(position)}`, (body, close) => {
    const able = ["failed"].includes(item.status) && job.possible.includes("retry") && may("submit") && !item.shredded;
    fill(body, h("div", { class: "row" }, chip(item.status), item.error ? h("code", {}, item.error.code) : null),
      item.error ? h("p", {}, h("bdi", {}, item.error.message)) : null,
      item.changes?.length ? changesTable(item.changes) : null,
      h("h3", {}, "Sent"), item.shredded ? h("p", { class: "quiet" }, "Shredded: nobody can read it.") : document_(item.item),
      item.result === null ? null : [h("h3", {}, "Result"), document_(item.result)],
      item.bodies?.length > 1 ? [h("h3", {}, "Earlier bodies"), item.bodies.slice(0, -1).map(document_)] : null,
      h("h3", {}, "Attempts"), table("Attempts", ["When", "Chunk", "Cause", "Status", "Took", "Error"], item.attempts.map((each) => [
        moment(each.at), number(each.chunk), each.cause, chip(each.status), milliseconds(each.duration_ms), h("bdi", {}, each.error?.message ?? "")])),
      h("div", { class: "row end" }, able ? button("Edit and replay", () => { close(); edit(view, item); }) : null, button("Close", close)));
  });
}

function edit(view, item) {
  const job = view.job();
  const body = h("textarea", { class: "code", spellcheck: "false", rows: "10", value: JSON.stringify(item.item, null, 2) });
  return confirm({
    title: `Edit item ${number(item.position)} and replay it`, verb: "replay",
    about: h("p", { class: "consequence" }, `Re-runs this one item with the body below; leaves all others as they are. The old body is kept in the audit trail.`),
    more: labelled("Body", body),
    act: async (reason) => {
      await post(`${API}/jobs/${job.job_id}/retry`, { reason, edits: [{ item: item.position, body: parsed(body.value) }] });
      notice("Replaying one item.");
      view.changed();
    },
  });
}

function document_(value) {
  return h("pre", { tabindex: "0" }, JSON.stringify(value, null, 2));
}
