// What an item would change, or has: column by column, before and after.

import { code, h, table } from "../parts/dom.js";
import { json, number } from "../parts/format.js";

/** A table of changes as a dry run tells them; a last `{more}` is what it leaves out. */
export function changesTable(changes) {
  const rows = [];
  for (const each of changes) {
    if (each.more) { rows.push(["", "", "", `${number(each.more)} more records`]); continue; }
    const record = `${each.table}/${each.id ?? "new"}`;
    const columns = new Set([...Object.keys(each.before ?? {}), ...Object.keys(each.after ?? {})]);
    for (const column of columns) {
      rows.push([code(record), column, h("del", {}, json(each.before?.[column])), h("ins", {}, json(each.after?.[column]))]);
    }
    if (!columns.size) rows.push([code(record), each.change, "", ""]);
  }
  return table("Changes", ["Record", "Column", "Before", "After"], rows);
}
