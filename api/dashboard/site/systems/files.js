// Files of a project: one is sent and becomes a job, another is made by one.

import { ask, asking } from "../parts/api.js";
import { fingerprint } from "../submit/files.js";
import { alarm, button, check, choice, ends, fill, h, labelled, notice, tick } from "../parts/dom.js";
import { count } from "../parts/words.js";

const READ = ["csv", "xlsx", "jsonl", "json", "conll", "doccano", "labelstudio", "labelstudio-images", "xml", "coco", "yolo", "pascal-voc"];
const WRITTEN = READ.filter((name) => name !== "pascal-voc");

/** A form whose buttons send it, and which says why it was refused. */
function form(title, fields, buttons) {
  const said = alarm(), drawn = h("section.panel", { "aria-label": title }, h("h2", title), fields, said,
    ends(buttons.map(([words, act, kind]) => button(words, () => send(act), { class: kind }))));
  async function send(act) {
    fill(said);
    try { check(drawn); await act(); } catch (error) { fill(said, error.message); }
  }
  return drawn;
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
  const [labels, labelsDrawn] = ticked("make the labels that are missing", true), [all, allDrawn] = ticked("put all back with the first failure"), open = new Map();
  const take = (dry) => async () => {
    if (!file.files.length) throw new Error("Choose a file first.");
    const body = new FormData(), chosen = file.files[0], said = [["project_id", project.project_id], ["format", format.value], ["field_mapping", mapping.value.trim()],
      ["auto_detect_labels", labels.checked], ["rollback_on_error", all.checked], ["dry_run", dry]].filter(([, value]) => value !== "");
    for (const [name, value] of [...said, ["file", chosen]]) body.append(name, value);
    const answer = await ask("POST", `batch/text/import`, { body, about: said + fingerprint(chosen), open });
    const { file: found } = await answer.json();
    notice(`${count(found.accepted, found.subject)} taken, ${count(found.rejected, "piece")} rejected.`, found.rejected ? "warn" : "good");
    sent();
  };
  return form("Import a file", h("div.form-grid", labelled("File of texts or images", file), labelled("Format", format), labelled("Field mapping, by its name", mapping), labelsDrawn, allDrawn),
    [["Dry run", take(true), ""], ["Import", take(false), "primary"]]);
}

export function exportForm(project, sent) {
  const format = choice(WRITTEN.map((name) => [name, name]), "jsonl", () => {}), mapping = h("input", { maxlength: "200" });
  const least = h("input", { type: "number", min: "0", max: "1", step: "any" }), validity = optional("all", ["valid", "invalid"]), by = h("input", { maxlength: "200" });
  const [empty, emptyDrawn] = ticked("with what has no annotation", true), post = asking();
  const take = (dry) => async () => {
    const filters = {};
    if (least.value) filters.confidence_min = Number(least.value);
    if (validity.value) filters.validity = validity.value;
    if (by.value.trim()) filters.created_by = by.value.trim();
    const wanted = { project_id: project.project_id, format: format.value, filters, empty_texts: empty.checked, dry_run: dry };
    if (mapping.value.trim()) wanted.field_mapping = mapping.value.trim();
    await post("batch/export", wanted);
    notice(dry ? "Looking what the file would lack: see its report." : "The export has begun; its file is offered when it is whole.");
    sent();
  };
  return form("Export a file", h("div.form-grid", labelled("Written as", format), labelled("Confidence at least", least), labelled("Valid by the rules", validity), labelled("Made by", by), labelled("Field mapping, by its name ", mapping), emptyDrawn),
    [["What is lost", take(true), ""], ["Export", take(false), "primary"]]);
}
