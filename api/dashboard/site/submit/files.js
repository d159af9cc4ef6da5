// Files of items: what they are, and what their first rows say. Read in pieces.

import { exact, json, readable } from "../parts/words.js";

const LOOK = 256_000;

/** What a file seems to be, and its first items, without reading more than its beginning. */
export async function look(file) {
  const whole = file.size <= LOOK, text = await textOf(file.slice(0, LOOK), whole), kind = kindOf(text, file.name);
  const rows = kind === "csv" ? csvItems(text, whole) : kind === "json" ? jsonItems(text, whole) : lineItems(text, whole);
  return { kind, rows: rows.slice(0, 20), size: file.size };
}

/** What a file is known by as long as nobody has changed it. */
export function fingerprint({ name, size, lastModified }) {
  return ` ${name} ${size} ${lastModified}`;
}

async function textOf(piece, whole = true) {
  try { return new TextDecoder("utf-8", { fatal: true }).decode(await piece.arrayBuffer(), { stream: !whole }); } catch (error) {
    throw error instanceof TypeError ? new Error("The file is not in UTF-8: save it so.", { cause: error }) : error;
  }
}

/** From what stands at its beginning, and then from its name. Pure. */
export function kindOf(text, name = "") {
  const start = text.trimStart();
  if (start.startsWith("[")) return "json";
  if (start.startsWith("{")) return "ndjson";
  return /\.(ndjson|jsonl)$/i.test(name) ? "ndjson" : "csv";
}

/** Items of whole lines; a line that is no JSON is told as it is. Pure. */
export function lineItems(text, whole) {
  const lines = text.split("\n");
  if (!whole) lines.pop();
  return lines.filter((line) => line.trim()).map((line) => {
    try { return readable(line); } catch { return { "no JSON": line }; }
  });
}

function jsonItems(text, whole) {
  if (!whole) return [];
  try { return readable(text); } catch (error) { return [{ "no JSON": error.message }]; }
}

/** Records of CSV by the names in the first line; RFC 4180, with `,` `;` or tab between cells. Pure. */
export function csvItems(text, whole = true) {
  const [{ cells: heads } = { cells: [] }, ...rest] = csvRows(text, whole), twice = heads.find((name, place) => heads.indexOf(name) < place);
  if (twice !== undefined) throw new Error(`Two columns are called "${twice}": give each a name of its own.`);
  return rest.map(({ line, cells }) => {
    if (cells.length > heads.length) throw new Error(`Line ${line} has ${cells.length} cells for ${heads.length} columns: put what has a separator in it between quotes.`);
    return Object.fromEntries(heads.map((name, place) => [name, typed(cells[place] ?? "")]));
  });
}

function csvRows(text, whole) {
  const first = text.slice(0, text.indexOf("\n") + 1 || undefined);
  const mark = [",", ";", "\t"].sort((a, b) => first.split(b).length - first.split(a).length)[0];
  const rows = [];
  let cells = [], cell = "", quoted = false, line = 1, from = 1;
  const end = () => {
    cells.push(cell);
    if (cells.length > 1 || cell.trim()) rows.push({ line: from, cells });
    cells = [];
    cell = "";
  };
  for (let at = 0; at < text.length; at += 1) {
    const letter = text[at];
    if (letter === "\n") line += 1;
    if (quoted) {
      if (letter !== "\"") cell += letter;
      else if (text[at + 1] === "\"") { cell += letter; at += 1; } else quoted = false;
    } else if (letter === "\"" && !cell) quoted = true;
    else if (letter === mark) { cells.push(cell); cell = ""; }
    else if (letter === "\n") {
      cell = cell.replace(/\r$/, "");
      end();
      from = line;
    } else cell += letter;
  }
  if (whole && quoted) throw new Error(`The row that begins in line ${from} ends within quotes: close them, or double a quote that belongs to the text.`);
  if (whole && (cell || cells.length)) end();
  return rows;
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
  const text = await textOf(file);
  return ndjson(kind === "csv" ? csvItems(text) : exact(text));
}

export function ndjson(items) {
  return new Blob(items.map((item) => `${json(item)}\n`));
}
