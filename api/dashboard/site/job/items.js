// Items, filtered and in pages, and all of them as a file.

import { ask, asked } from "../parts/api.js";
import { button, chip, choice, ends, fill, grow, h, labelled, refill, save, table } from "../parts/dom.js";
import { ITEM_STATUSES, cut, json, milliseconds, number, spoken } from "../parts/words.js";
import { single } from "../parts/route.js";
import { may } from "../parts/session.js";
import { openItem } from "./item.js";

const STATUSES = [...ITEM_STATUSES.map(([each]) => each), "unattempted"];
const PAGE = 50, NAMES = ["status", "code", "key", "record"];

export function itemsTab(place, view) {
  let before = [], cursor = null, next = null;
  const list = h("div"), earlier = button("Earlier", () => { cursor = before.pop() ?? null; view.draw(); });
  const later = button("Later", () => { before.push(cursor); cursor = next; view.draw(); });
  const query = () => Object.fromEntries(NAMES.map((name) => [name, single(view.parameters(), name)]).filter(([, value]) => value));
  const set = (name, value) => { before = []; cursor = null; view.go({ [name]: value }); };
  const input = (name, words, hint) => labelled(words, h("input", { name, value: single(view.parameters(), name), placeholder: hint, on: { change: (event) => set(name, event.target.value.trim()) } }));
  const download = (format) => button(format.toUpperCase(), () => keep(format));
  fill(place, h("div.filters",
    labelled("Status", choice([["", "All"], ...STATUSES.map((each) => [each, spoken(each)])], single(view.parameters(), "status"), (value) => set("status", value), { name: "status" })),
    input("code", "Code", ""), input("key", "Key", ""), input("record", "Record", "table/id"), grow(),
    may("export") ? h("div.row", { role: "group", "aria-label": "Download these items" }, h("span.quiet", "Download"), download("ndjson"), download("csv")) : null),
  list, ends(earlier, later));

  async function update() {
    const page = await view.read("items", { ...query(), include: "item", cursor, limit: PAGE });
    next = page.next_cursor;
    earlier.disabled = !before.length;
    later.disabled = next === null;
    refill(list, page, () => table("Items", ["Item", "Status", "Sent", "Result or error", "Chunk", "Attempt", "Took"], page.items.map((each) => [
      button(number(each.position), () => openItem(view, each.position), { class: "quiet-button" }), chip(each.status),
      h("bdi.code", each.shredded ? "shredded" : cut(json(each.item), 160)),
      h(each.error ? "bdi.bad-words" : "bdi.code", each.error ? `${each.error.code}: ${cut(each.error.message, 200)}` : each.result === null ? "" : cut(json(each.result), 160)),
      number(each.chunk), number(each.attempt), milliseconds(each.duration_ms)]), "No item is like this."));
  }

  async function keep(format) {
    const answer = await ask("GET", `jobs/${view.job().job_id}/items${asked({ ...query(), include: "item", format })}`);
    save(await answer.blob(), `${view.job().job_id}.${format}`);
  }

  return { update };
}
