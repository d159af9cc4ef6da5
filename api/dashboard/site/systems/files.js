// Files of a project: one is sent and becomes a job, another is made by one.

import { API, ask, post, random } from "../parts/api.js";
import { button, choice, ends, fill, h, labelled, tick } from "../parts/dom.js";
import { count } from "../parts/format.js";
import { notice } from "../parts/notices.js";

const READ = ["csv", "xlsx", "jsonl", "json", "conll", "doccano", "labelstudio", "labelstudio-images", "xml", "coco", "yolo", "pascal-voc"];
const WRITTEN = READ.filter((name) => name !== "pascal-voc");

/** A form whose buttons send it, and which says why it was refused. */
function form(title, fields, buttons) {
  const said = h("p", { class: "bad-words", role: "alert" });
  const send = (act) => async ({ target }) => {
    target.disabled = true;
    fill(said);
    try { await act(); } catch (error) { fill(said, `${error.pointer ? `${error.pointer}: ` : ""}${error.message}`); }
    target.disabled = false;
  };
  return h("section", { class: "panel", "aria-label": title }, h("h2", {}, title), fields, said,
    ends(buttons.map(([words, act, kind]) => button(words, send(act), { class: kind }))));
}

function ticked(words, checked = false) {
  const box = h("input", { type: "checkbox", checked });
  return [box, tick(words, box)];
}

function optional(words, names) {
  return choice([["", words], ...names.map((name) => [name, name])], "", () => {});
}

export function importForm(project, sent) {
  const file = h("input", { type: "file" }), format = optional("found out", READ), mapping = h("input", { maxlength: "200" });
  const [labels, labelsDrawn] = ticked("make the labels that are missing", true), [all, allDrawn] = ticked("put all back with the first failure");
  const take = (dry) => async () => {
    if (!file.files.length) throw new Error("Choose a file first.");
    const body = new FormData();
    for (const [name, value] of [["project_id", project.project_id], ["format", format.value], ["field_mapping", mapping.value.trim()],
      ["auto_detect_labels", labels.checked], ["rollback_on_error", all.checked], ["dry_run", dry]]) if (value !== "") body.append(name, value);
    body.append("file", file.files[0]);
    const answer = await ask("POST", `${API}/batch/text/import`, { body, headers: { "Idempotency-Key": random() } });
    const { file: found } = await answer.json();
    notice(`${count(found.accepted, found.subject)} taken, ${count(found.rejected, "piece")} rejected.`, found.rejected ? "warn" : "good");
    sent();
  };
  return form("Import a file", h("div", { class: "form-grid" }, labelled("File of texts or images", file), labelled("Format", format), labelled("Field mapping, by its name", mapping), labelsDrawn, allDrawn),
    [["Dry run", take(true), ""], ["Import", take(false), "primary"]]);
}

export function exportForm(project, sent) {
  const format = choice(WRITTEN.map((name) => [name, name]), "jsonl", () => {}), mapping = h("input", { maxlength: "200" });
  const least = h("input", { type: "number", min: "0", max: "1", step: "any" }), validity = optional("all", ["valid", "invalid"]), by = h("input", { maxlength: "200" });
  const [empty, emptyDrawn] = ticked("with what has no annotation", true);
  const take = (dry) => async () => {
    const filters = {};
    if (least.value) filters.confidence_min = Number(least.value);
    if (validity.value) filters.validity = validity.value;
    if (by.value.trim()) filters.created_by = by.value.trim();
    const wanted = { project_id: project.project_id, format: format.value, filters, empty_texts: empty.checked, dry_run: dry };
    if (mapping.value.trim()) wanted.field_mapping = mapping.value.trim();
    await post(`${API}/batch/export`, wanted);
    notice(dry ? "Looking what the file would lack: see its report." : "The export has begun; its file is offered when it is whole.");
    sent();
  };
  return form("Export a file", h("div", { class: "form-grid" }, labelled("Written as", format), labelled("Confidence at least", least), labelled("Valid by the rules", validity), labelled("Made by", by), labelled("Field mapping, by its name ", mapping), emptyDrawn),
    [["What is lost", take(true), ""], ["Export", take(false), "primary"]]);
}
