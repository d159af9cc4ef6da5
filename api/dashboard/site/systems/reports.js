import { get, keep, reader } from "../parts/api.js";
import { bdi, button, choice, facts, fill, grow, h, labelled, quiet, table } from "../parts/dom.js";
import { moment, number, spoken } from "../parts/words.js";

const NAMES = ["summary", "trend", "errors", "activity", "resources"];

export function reports(project, signal) {
  const found = h("div.stack"), { read } = reader(update);
  const field = () => h("input", { type: "datetime-local", on: { change: read } });
  const from = field(), to = field();
  const name = choice(NAMES.map((each) => [each, each]), NAMES[0], read), bucket = choice([["", "as it fits"], ["hour", "hour"], ["day", "day"]], "", read);
  const iso = ({ value }) => value ? new Date(value).toISOString() : "";
  const path = () => `projects/${project.project_id}/reports/${name.value}`, query = () => ({ from: iso(from), to: iso(to), bucket: bucket.value });

  async function update() {
    const said = await get(path(), query(), signal);
    const { start, end, bucket: by } = said.period, rows = flat(said);
    const heads = [...new Set(rows.flatMap((row) => Object.keys(row)))];
    fill(found, quiet(`${moment(start)} to ${moment(end)}, by the ${by}`),
      facts(Object.entries(said).filter(([key, value]) => typeof value === "number" && key !== "project_id").map(([key, value]) => [spoken(key), value])),
      table(`Report: ${name.value}`, heads.map(spoken), rows.map((row) => heads.map((key) => bdi(cell(row[key])))), "Nothing has happened in that time."));
  }

  read();
  return h("section.panel", { "aria-label": "Reports" }, h("h2", "Reports"),
    h("div.filters", labelled("Report", name), labelled("From", from), labelled("To", to), labelled("By", bucket), grow(), button("CSV", () => keep(path(), { ...query(), format: "csv" }, `project-${project.project_id}-${name.value}.csv`))), found);
}

/** The rows of a report, what is within each beside it. Pure. */
function flat(said) {
  return (said.items?.length !== undefined ? said.items : said.operations ?? []).map((row) => within(row, ""));
}

function within(row, prefix) {
  return Object.assign({}, ...Object.entries(row).map(([name, value]) =>
    value && typeof value === "object" && !Array.isArray(value) ? within(value, `${prefix}${name} `) : { [prefix + name]: value }));
}

function cell(value) {
  if (typeof value === "number") return number(value);
  if (typeof value === "string" && /^\d{4}-\d\d-\d\dT/.test(value)) return moment(value);
  return value ?? "";
}
