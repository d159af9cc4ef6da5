// Submit: an operation, its items by a form or from a file, and a dry run before it is done.

import { API, ask, asked, get, random } from "../parts/api.js";
import { bdi, button, choice, ends, facts, fill, h, labelled, panel, quiet, table } from "../parts/dom.js";
import { bytes, count, cut, json } from "../parts/format.js";
import { failed } from "../parts/notices.js";
import { go, single } from "../parts/route.js";
import { asLines, look } from "../submit/files.js";
import { schemaForm } from "../submit/schema-form.js";

export function show(place, { parameters }) {
  document.title = "Submit - Countermand";
  let operations = [], chosen = null, form = null, params = null, file = null, seen = null, items = [];
  const body = h("div", { class: "stack" }), said = h("p", { class: "bad-words", role: "alert" });
  fill(place, h("h1", {}, "Submit"), body);
  get(`${API}/operations`).then((found) => {
    operations = found.items;
    choose(single(parameters, "operation", operations[0]?.kind));
  }).catch(failed);

  function choose(kind) {
    chosen = operations.find((each) => each.kind === kind) ?? operations[0];
    file = null;
    items = [];
    draw();
  }

  function draw() {
    form = schemaForm(chosen.item);
    params = schemaForm(chosen.params);
    const name = h("input", { name: "job-name", maxlength: "200" }), tags = h("input", { name: "tags", placeholder: "spring, letters" });
    const preview = h("div"), list = h("div");
    const picker = h("input", { type: "file", accept: ".csv,.tsv,.json,.jsonl,.ndjson", on: { change: () => take(picker.files[0], preview) } });
    const drop = h("div", { class: "drop-zone" }, h("p", {}, "Drop a file here (CSV, JSON, NDJSON), or choose one."), labelled("File", picker), preview);
    drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
    drop.addEventListener("dragleave", () => drop.classList.remove("over"));
    drop.addEventListener("drop", (event) => { event.preventDefault(); drop.classList.remove("over"); take(event.dataTransfer.files[0], preview); });
    const send = (dry) => () => submit({ dry, name: name.value, tags: tags.value }).catch((error) => fill(said, `${error.pointer ? `${error.pointer}: ` : ""}${error.message}`));
    fill(body,
      panel("What",
        h("div", { class: "form-grid" }, labelled("Operation", choice(operations.map(({ kind }) => [kind, kind]), chosen.kind, choose, { name: "operation" })), labelled("Name", name), labelled("Tags, with commas between", tags)),
        quiet(chosen.description),
        facts([["Undo", chosen.reversible], ["Destructive", chosen.destructive ? "yes: may wait for a second identity" : null], ["Effects outside", chosen.outside.join(", ")]])),
      panel("Parameters of the job", params.drawn),
      panel("Items", drop,
        h("h3", {}, "Or one by one"), form.drawn,
        h("div", { class: "row" }, button("Add this item", () => {
          try { items.push(form.read()); fill(said); } catch (error) { fill(said, error.message); }
          fill(list, rowsOf(items, `${count(items.length, "item")} by hand`));
        })), list),
      said,
      ends(button("Submit without a dry run", send(false)), button("Dry run first", send(true), { class: "primary" })));
  }

  async function take(given, preview) {
    if (!given) return;
    file = given;
    try {
      seen = await look(given);
      fill(preview, rowsOf(seen.rows, `${given.name}: ${seen.kind.toUpperCase()}, ${bytes(seen.size)}; its first rows`));
    } catch (error) { failed(error); }
  }

  async function submit({ dry, name, tags }) {
    fill(said);
    if (!file && !items.length) throw new Error("There is no item yet: choose a file, or add one by the form.");
    const lines = file ? await asLines(file, seen.kind) : new Blob(items.map((item) => `${JSON.stringify(item)}\n`));
    const query = { operation: chosen.kind, name, tag: tags.split(",").map((each) => each.trim()).filter(Boolean),
      params: JSON.stringify(params.read()), options: dry ? JSON.stringify({ dry_run: true }) : "" };
    const answer = await ask("POST", `${API}/jobs${asked(query)}`, { body: lines,
      headers: { "Content-Type": "application/x-ndjson", "Idempotency-Key": random() } });
    const { job_id: id } = await answer.json();
    go(["jobs", id], dry ? { tab: "plan" } : {});
  }
}

function rowsOf(items, caption) {
  const heads = [...new Set(items.flatMap((item) => Object.keys(item ?? {})))].slice(0, 12);
  return [quiet(caption), table(caption, heads, items.slice(0, 20).map((item) => heads.map((name) => bdi(cut(String(typeof item[name] === "string" ? item[name] : json(item[name]) ?? ""), 120)))), "No row could be read of its beginning.")];
}
