// What was done to a project in bulk, live, with the files that came of it.

import { get, keep, reader } from "../parts/api.js";
import { bdi, button, chip, code, ends, facts, failed, fill, h, notice, refill, table, tick, turns, when } from "../parts/dom.js";
import { confirm, dialog } from "../parts/dialog.js";
import { AT_REST, bytes, count, number, percent } from "../parts/words.js";
import { follow } from "../parts/live.js";
import { link } from "../parts/route.js";
import { may } from "../parts/session.js";

const SHOWN = 20;

export function operations(project, signal) {
  const list = h("div"), drawn = h("section.panel", { "aria-label": "Imports, exports and other operations" }, h("h2", "Imports, exports and other operations"), list);
  let known = new Set(), offset = 0;
  const told = may("view"), { read, soon, close: end } = reader(update, told ? 400 : 2000), close = follow((_, said) => { if (known.has(said.job_id)) soon(); }, soon);
  read();

  async function update() {
    const { items, total } = await get("batch/operations", { project_id: project.project_id, limit: SHOWN, offset }, signal);
    known = new Set(items.map(({ job_id: id }) => id));
    // A list lags a little; what has just been made may not stand in it with its job yet. Who may not
    // see jobs is told of no events.
    if (items.some(({ created_at: at, status }) => at === null || !told && !AT_REST.has(status))) soon();
    const turn = (by) => () => { offset += by; read(); };
    refill(list, [items, total, offset], () => [table("Operations", ["No.", "What", "Status", "Done", "Failed", "Begun", ""], items.map((each) => [
      link(["jobs", each.job_id], number(each.operation_id), { title: "The job" }), bdi(each.type.replace("annotations.", ""), each.dry_run ? " (dry run)" : "", each.name ? ` ${each.name}` : ""),
      chip(each.status), `${number(each.processed)} of ${number(each.total)}, ${percent(each.progress_percentage)}`, each.failed, when(each.created_at), h("div.row", actions(each))])),
    turns(offset && turn(-SHOWN), offset + SHOWN < total && turn(SHOWN), ["Later ones", "Earlier ones"])]);
  }

  function actions(each) {
    const { links } = each, file = (path) => () => keep(path, {}, `operation-${each.operation_id}`), named = (words, act) => button(words, () => act(each), { "aria-label": `${words} of ${each.operation_id}` });
    return [links.import || links.export ? named("Report", links.import ? imported : exported) : null,
      links.rejects ? named("Rejects", file(links.rejects)) : null,
      links.download && each.status === "completed" && !each.dry_run ? named("Download", file(links.download)) : null,
      AT_REST.has(each.status) || each.status === "rolling_back" ? null : named("Cancel", (it) => cancel(it, soon))];
  }

  return { drawn, update: read, close: () => { close(); end(); } };
}

async function imported({ operation_id: id, links }) {
  const { file } = await get(links.import);
  dialog(`What the file of ${id} had`, (body, close) => fill(body,
    facts([["Format", file.format], ["Encoding", file.encoding], ["Accepted", count(file.accepted, file.subject)], ["Marks", file.annotations], ["Rejected", file.rejected],
      ["By code", Object.entries(file.codes ?? {}).map(([code, size]) => `${code} ${number(size)}`).join(", ")]]),
    table("Rejects", ["Line", "Code", "Why"], (file.rejects ?? []).map((each) => [number(each.line), code(each.code), bdi(each.message)]), "Nothing was rejected."),
    ends(button("Close", close))));
}

async function exported({ operation_id: id, links }) {
  const { export: said } = await get(links.export);
  dialog(`What export ${id} has read`, (body, close) => fill(body,
    facts([["Format", said.title], ["Documents", said.documents], ["Annotations", said.annotations], ["Left out", said.left_out], ["Failed", said.failed], ["Whole", said.complete ? "yes" : "not yet"], ["File", said.file ? `${said.file.name ?? ""} ${bytes(said.file.size)}` : null]]),
    h("h3", "What the format drops"), table("Losses", ["Code", "What", "Documents"], said.losses.map((each) => [code(each.code), bdi(each.message), each.documents]), "Nothing."),
    h("h3", "What no file has"), h("ul", said.beside.map((each) => h("li", each))), ends(button("Close", close))));
}

function cancel(operation, soon) {
  const back = h("input", { type: "checkbox" });
  return confirm({ title: `Cancel operation ${operation.operation_id}?`, verb: "cancel", final: true, reason: false,
    about: `Leaves ${number(operation.processed)} settled as they are; what is pending of ${number(operation.total)} will not be attempted.`,
    more: tick("put back what was done (roll back)", back),
    act: async (_, post) => { await post(operation.links.cancel, { roll_back: back.checked }, { method: "DELETE" }); notice("Cancelled."); soon(); } });
}
