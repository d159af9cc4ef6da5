// Files of items: what they are, and what their first rows say. Read in pieces.

const LOOK = 256_000;

/** What a file seems to be, and its first items, without reading more than its beginning. */
export async function look(file) {
  const text = await file.slice(0, LOOK).text();
  const whole = file.size <= LOOK, kind = kindOf(text, file.name);
  const rows = kind === "csv" ? csvItems(text, whole) : kind === "json" ? jsonItems(text, whole) : lineItems(text, whole);
  return { kind, rows: rows.slice(0, 20), size: file.size };
}

/** From what stands at its beginning, and then from its name. Pure. */
export function kindOf(text, name = "") {
  const start = text.replace(/^\ufeff/, "").trimStart();
  if (start.startsWith("[")) return "json";
  if (start.startsWith("{")) return "ndjson";
  return /\.(ndjson|jsonl)$/i.test(name) ? "ndjson" : "csv";
}

/** Items of whole lines; a line that is no JSON is told as it is. Pure. */
export function lineItems(text, whole) {
  const lines = text.replace(/^\ufeff/, "").split("\n");
  if (!whole) lines.pop();
  return lines.filter((line) => line.trim()).map((line) => {
    try { return JSON.parse(line); } catch { return { "no JSON": line }; }
  });
}

function jsonItems(text, whole) {
  if (!whole) return [];
  try { return JSON.parse(text.replace(/^\ufeff/, "")); } catch (error) { return [{ "no JSON": error.message }]; }
}

/** Records of CSV by the names in the first line; RFC 4180, with `,` `;` or tab between cells. Pure. */
export function csvItems(text, whole = true) {
  const rows = csvRows(text.replace(/^\ufeff/, ""), whole);
  const [heads, ...rest] = rows;
  return (heads ? rest : []).map((cells) => Object.fromEntries(heads.map((name, place) => [name, typed(cells[place] ?? "")])));
}

export function csvRows(text, whole) {
  const first = text.slice(0, text.indexOf("\n") + 1 || undefined);
  const mark = [",", ";", "\t"].sort((a, b) => first.split(b).length - first.split(a).length)[0];
  const rows = [];
  let cells = [], cell = "", quoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const letter = text[at];
    if (quoted) {
      if (letter !== "\"") cell += letter;
      else if (text[at + 1] === "\"") { cell += letter; at += 1; } else quoted = false;
    } else if (letter === "\"") quoted = true;
    else if (letter === mark) { cells.push(cell); cell = ""; }
    else if (letter === "\n") { rows.push([...cells, cell.replace(/\r$/, "")]); cells = []; cell = ""; }
    else cell += letter;
  }
  if (whole && (cell || cells.length)) rows.push([...cells, cell]);
  return rows.filter((row) => row.length > 1 || row[0].trim());
}

/** A cell as the value that it looks like; what would not come back the same stays text. Pure. */
export function typed(text) {
  if (/^(true|false|null)$/.test(text)) return JSON.parse(text);
  const number = Number(text);
  return text.trim() && String(number) === text && Number.isFinite(number) ? number : text;
}

/** What is sent of a file: NDJSON as it is, anything else made into it. */
export async function asLines(file, kind) {
  if (kind === "ndjson") return file;
  const text = await file.text();
  const items = kind === "csv" ? csvItems(text) : JSON.parse(text.replace(/^\ufeff/, ""));
  return new Blob(items.map((item) => `${JSON.stringify(item)}\n`), { type: "application/x-ndjson" });
}
