// Submit: an operation, its items by a form or from a file, and a dry run before it is done.

import { ask, asked, get } from "../parts/api.js";
import { alarm, bdi, button, check, choice, ends, facts, failed, fill, h, labelled, notice, panel, quiet, table } from "../parts/dom.js";
import { bytes, count, cut, json, spoken } from "../parts/words.js";
import { go, single } from "../parts/route.js";
import { asLines, fingerprint, look, ndjson } from "../submit/files.js";
import { schemaForm } from "../submit/schema-form.js";

export function show(place, { parameters }) {
  document.title = "Submit - Countermand";
  let operations = [], chosen = null, form = null, params = null, file = null, seen = null, items = [], sending = false;
  const body = h("div.stack"), said = alarm(), open = new Map();
  const about = h("div"), wanted = h("div"), fields = h("div"), preview = h("div"), list = h("div");
  const name = h("input", { name: "job-name", maxlength: "200" }), tags = h("input", { name: "tags", placeholder: "spring, letters" });
  const picker = h("input", { type: "file", accept: ".csv,.tsv,.json,.jsonl,.ndjson", on: { change: () => take(picker.files[0]) } });
  fill(place, h("h1", "Submit"), body);
  get("operations").then((found) => {
    operations = found.items;
    choose(single(parameters, "operation", operations[0]?.kind));
    draw();
  }).catch(failed);

  /** All else stays, and so does the focus of who goes through the list by keyboard. */
  function choose(kind) {
    chosen = operations.find((each) => each.kind === kind) ?? operations[0];
    file = null;
    picker.value = "";
    items = [];
    form = schemaForm(chosen.item);
    params = schemaForm(chosen.params);
    fill(about, quiet(chosen.description),
      facts([["Undo", spoken(chosen.reversible)], ["Destructive", chosen.destructive ? "yes: may wait for a second identity" : null], ["Effects outside", chosen.outside.join(", ")]]));
    fill(wanted, params.drawn);
    fill(fields, form.drawn);
    [preview, list, said].forEach((each) => fill(each));
  }

  function draw() {
    const drop = h("div.drop-zone", h("p", "Drop a file here (CSV, JSON, NDJSON), or choose one."), labelled("File", picker), preview);
    for (const kind of ["dragover", "dragleave", "drop"]) drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
      if (kind === "drop") take(event.dataTransfer.files[0]);
    });
    fill(body,
      panel("What",
        h("div.form-grid", labelled("Operation", choice(operations.map(({ kind }) => [kind, kind]), chosen.kind, choose, { name: "operation" })), labelled("Name", name), labelled("Tags, with commas between", tags)),
        about),
      panel("Parameters of the job", wanted),
      panel("Items", drop,
        h("h3", "Or one by one"), fields,
        h("div.row", button("Add this item", () => {
          try { check(fields); items.push(form.read()); fill(said); } catch (error) { fill(said, error.message); }
          fill(list, rowsOf(items, `${count(items.length, "item")} by hand`));
        })), list),
      said,
      ends(button("Submit without a dry run", () => send(false)), button("Dry run first", () => send(true), { class: "primary" })));
  }

  /** Once, however often it is clicked. */
  async function send(dry) {
    if (sending) return;
    sending = true;
    try { await submit(dry); } catch (error) { if (said.isConnected) fill(said, error.message); else failed(error); }
    sending = false;
  }

  async function take(given) {
    if (!given) return;
    file = null;
    fill(preview);
    try {
      seen = await look(given);
      file = given;
      fill(preview, rowsOf(seen.rows, `${given.name}: ${seen.kind.toUpperCase()}, ${bytes(seen.size)}; its first rows`));
    } catch (error) { failed(error); }
  }

  async function submit(dry) {
    fill(said);
    if (file && items.length) throw new Error("Items come from a file or by hand, not both: load the page again.");
    if (!file && !items.length) throw new Error("There is no item yet: choose a file, or add one by the form.");
    check(wanted);
    const lines = file ? await asLines(file, seen.kind) : ndjson(items);
    const query = { operation: chosen.kind, name: name.value, tag: tags.value.split(",").map((each) => each.trim()).filter(Boolean),
      params: JSON.stringify(params.read()), options: dry ? JSON.stringify({ dry_run: true }) : "" };
    const answer = await ask("POST", `jobs${asked(query)}`, { body: lines, open,
      about: file ? fingerprint(file) : json(items), headers: { "Content-Type": "application/x-ndjson" } });
    const { job_id: id } = await answer.json();
    if (said.isConnected) go(["jobs", id], dry ? { tab: "plan" } : {});
    else notice(`Job ${id.slice(-8)} was submitted.`);
  }
}

function rowsOf(items, caption) {
  const heads = [...new Set(items.flatMap((item) => Object.keys(item ?? {})))].slice(0, 12);
  return [quiet(caption), table(caption, heads, items.slice(0, 20).map((item) => heads.map((name) => bdi(cut(typeof item[name] === "string" ? item[name] : json(item[name]), 120)))), "No row could be read of its beginning.")];
}
