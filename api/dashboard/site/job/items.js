// Items, filtered and in pages, and all of them as a file.

import { keep } from "../parts/api.js";
import { button, chip, choice, fill, grow, h, labelled, paged, refill, table } from "../parts/dom.js";
import { ITEM_STATUSES, cut, json, milliseconds, number, spoken } from "../parts/words.js";
import { single } from "../parts/route.js";
import { may } from "../parts/session.js";
import { openItem } from "./item.js";

const STATUSES = [...ITEM_STATUSES.map(([each]) => each), "unattempted"];
const PAGE = 50, NAMES = ["status", "code", "key", "record"];

export function itemsTab(place, view) {
  const list = h("div"), pages = paged(view.draw);
  const query = () => Object.fromEntries(NAMES.map((name) => [name, single(view.parameters(), name)]).filter(([, value]) => value));
  const set = (name, value) => { pages.begin(); view.go({ [name]: value }); };
  const input = (name, words, hint) => labelled(words, h("input", { name, value: single(view.parameters(), name), placeholder: hint, on: { change: (event) => set(name, event.target.value.trim()) } }));
  const download = (format) => button(format.toUpperCase(), () => keep(`jobs/${view.job().job_id}/items`, { ...query(), include: "item", format }, `${view.job().job_id}.${format}`));
  fill(place, h("div.filters",
    labelled("Status", choice([["", "All"], ...STATUSES.map((each) => [each, spoken(each)])], single(view.parameters(), "status"), (value) => set("status", value), { name: "status" })),
    input("code", "Code", ""), input("key", "Key", ""), input("record", "Record", "table/id"), grow(),
    may("export") ? h("div.row", { role: "group", "aria-label": "Download these items" }, h("span.quiet", "Download"), download("ndjson"), download("csv")) : null),
  list);

  async function update() {
    const page = await view.read("items", { ...query(), include: "item", cursor: pages.cursor(), limit: PAGE });
    refill(list, [page, pages.cursor()], () => [table("Items", ["Item", "Status", "Sent", "Result or error", "Chunk", "Attempt", "Took"], page.items.map((each) => [
      button(number(each.position), () => openItem(view, each.position), { class: "quiet-button" }), chip(each.status),
      h("bdi.code", each.shredded ? "shredded" : cut(json(each.item), 160)),
      h(each.error ? "bdi.bad-words" : "bdi.code", each.error ? `${each.error.code}: ${cut(each.error.message, 200)}` : each.result === null ? "" : cut(json(each.result), 160)),
      number(each.chunk), number(each.attempt), milliseconds(each.duration_ms)]), "No item is like this."),
    pages.turns(page.next_cursor)]);
  }

  return { update };
}
