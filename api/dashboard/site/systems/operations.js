// What was done to a project in bulk, live, with the files that came of it.

import { API, ask, get, post } from "../parts/api.js";
import { bdi, button, code, ends, facts, fill, h, refill, save, table, tick } from "../parts/dom.js";
import { confirm, dialog } from "../parts/dialog.js";
import { bytes, count, number, percent } from "../parts/format.js";
import { follow } from "../parts/live.js";
import { failed, notice } from "../parts/notices.js";
import { address } from "../parts/route.js";
import { chip, link, when } from "../parts/shown.js";
import { AT_REST } from "../parts/words.js";

const SHOWN = 20, PAUSE = 400;

export function operations(project, signal) {
  const list = h("div"), drawn = h("section", { class: "panel", "aria-label": "Imports, exports and other operations" }, h("h2", {}, "Imports, exports and other operations"), list);
  let known = new Set(), timer = 0, offset = 0;
  const read = () => update().catch(failed), soon = () => { timer ||= setTimeout(() => { timer = 0; read(); }, PAUSE); };
  const close = follow((_, said) => { if (known.has(said.job_id)) soon(); }, soon);
  read();

  async function update() {
    const { items, total } = await get(`${API}/batch/operations`, { project_id: project.project_id, limit: SHOWN, offset }, { signal });
    known = new Set(items.map(({ job_id: id }) => id));
    // A list lags a little; what has just been made may not stand in it with its job yet.
    if (items.some(({ created_at: at }) => at === null)) soon();
    const turn = (by) => () => { offset += by; read(); };
    refill(list, [items, total, offset], () => [table("Operations", ["No.", "What", "Status", "Done", "Failed", "Begun", ""], items.map((each) => [
      link(address(["jobs", each.job_id]), number(each.operation_id), { title: "The job" }), bdi(each.type.replace("annotations.", ""), each.dry_run ? " (dry run)" : "", each.name ? ` ${each.name}` : ""),
      chip(each.status), `${number(each.processed)} of ${number(each.total)}, ${percent(each.progress_percentage)}`, number(each.failed), when(each.created_at), h("div", { class: "row" }, actions(each))])),
    ends(offset ? button("Later ones", turn(-SHOWN)) : null, offset + SHOWN < total ? button("Earlier ones", turn(SHOWN)) : null)]);
  }

  function actions(each) {
    const { links } = each, named = (words, act) => button(words, () => act(each).catch(failed), { "aria-label": `${words} of ${each.operation_id}` });
    return [links.import || links.export ? named("Report", links.import ? imported : exported) : null,
      links.rejects ? named("Rejects", (it) => keep(it, links.rejects)) : null,
      links.download && each.status === "completed" && !each.dry_run ? named("Download", (it) => keep(it, links.download)) : null,
      AT_REST.has(each.status) ? null : named("Cancel", (it) => cancel(it, soon))];
  }

  return { drawn, update: read, close: () => { close(); clearTimeout(timer); } };
}

async function keep(operation, path) {
  const answer = await ask("GET", path);
  const named = /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition") ?? "");
  save(await answer.blob(), named?.[1] ?? `operation-${operation.operation_id}`);
}

async function imported({ operation_id: id, links }) {
  const { file } = await get(links.import);
  dialog(`What the file of ${id} had`, (body, close) => fill(body,
    facts([["Format", file.format], ["Encoding", file.encoding], ["Accepted", count(file.accepted, file.subject)], ["Marks", number(file.annotations)], ["Rejected", number(file.rejected)],
      ["By code", Object.entries(file.codes ?? {}).map(([code, size]) => `${code} ${number(size)}`).join(", ")]]),
    table("Rejects", ["Line", "Code", "Why"], (file.rejects ?? []).map((each) => [number(each.line), code(each.code), bdi(each.message)]), "Nothing was rejected."),
    ends(button("Close", close))));
}

async function exported({ operation_id: id, links }) {
  const { export: said } = await get(links.export);
  dialog(`What export ${id} has read`, (body, close) => fill(body,
    facts([["Format", said.title], ["Documents", number(said.documents)], ["Annotations", number(said.annotations)], ["Left out", number(said.left_out)], ["Failed", number(said.failed)], ["Whole", said.complete ? "yes" : "not yet"], ["File", said.file ? `${said.file.name ?? ""} ${bytes(said.file.size)}` : null]]),
    h("h3", {}, "What the format drops"), table("Losses", ["Code", "What", "Documents"], said.losses.map((each) => [code(each.code), bdi(each.message), number(each.documents)]), "Nothing."),
    h("h3", {}, "What no file has"), h("ul", {}, said.beside.map((each) => h("li", {}, each))), ends(button("Close", close))));
}

function cancel(operation, soon) {
  const back = h("input", { type: "checkbox" });
  return confirm({ title: `Cancel operation ${operation.operation_id}?`, verb: "cancel", final: true, reason: false,
    about: `Leaves ${number(operation.processed)} settled as they are; what is pending of ${number(operation.total)} will not be attempted.`,
    more: tick("put back what was done (roll back)", back),
    act: async () => { await post(operation.links.cancel, { roll_back: back.checked }, { method: "DELETE" }); notice("Cancelled."); soon(); } });
}
