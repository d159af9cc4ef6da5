// A form from a JSON Schema, as pydantic writes them; what it cannot show is typed as JSON, and
// what nobody has filled in is not sent: of an update it would be a change.

import { exact, written } from "../parts/words.js";
import { fill, h, labelled, quiet } from "../parts/dom.js";

/** The schema that a `$ref` or an optional value stands for. Pure. */
function plain(schema, root) {
  if (schema.$ref) return plain({ ...root.$defs?.[schema.$ref.split("/").pop()], ...schema, $ref: undefined }, root);
  const some = schema.anyOf?.filter((each) => each.type !== "null");
  return some?.length === 1 ? plain({ ...schema, anyOf: undefined, ...some[0] }, root) : schema;
}

/** `{drawn, read}` for the fields of an object; `read` raises for what is no JSON. */
export function schemaForm(schema) {
  const required = new Set(schema.required ?? []);
  const fields = Object.entries(schema.properties ?? {}).map(([name, given]) => field(name, plain(given, schema), required.has(name)));
  const drawn = h("div.form-grid", fields.map(({ drawn: each }) => each));
  if (!fields.length) fill(drawn, quiet("It takes nothing."));
  return { drawn, read: () => Object.fromEntries(fields.map(({ read }) => read()).filter(Boolean)) };
}

function field(name, schema, required) {
  const { control, value } = controlOf(name, schema, required);
  const words = `${schema.title ?? name}${required ? "" : " (optional)"}`;
  const drawn = labelled(words, control);
  if (schema.description) drawn.append(h("small.hint", schema.description));
  return { drawn, read: () => {
    const said = value();
    return said === undefined ? null : [name, said];
  } };
}

function controlOf(name, schema, required) {
  const of = (control, read) => ({ control, value: () => read(control) }), picks = schema.enum ?? (schema.type === "boolean" ? [false, true] : null);
  if (picks) {
    return of(h("select", { name }, required ? null : h("option", { value: "" }, ""), picks.map((each) => h("option", { value: JSON.stringify(each) }, String(each)))), ({ value }) => value ? JSON.parse(value) : undefined);
  }
  if (schema.type === "integer" || schema.type === "number") {
    return of(h("input", { type: "number", name, required, step: schema.type === "integer" ? "1" : "any", min: schema.minimum, max: schema.maximum }), ({ value }) => value === "" ? undefined : numberOf(value));
  }
  if (schema.type === "string") {
    return of(h("input", { name, "aria-required": String(required), maxlength: schema.maxLength }), ({ value }) => value === "" && !required ? undefined : value);
  }
  return of(h("textarea.code", { name, rows: "3", spellcheck: "false" }), ({ value }) => value.trim() ? written(value, name) : undefined);
}

function numberOf(text) {
  const value = Number(text);
  return Math.abs(value) <= Number.MAX_SAFE_INTEGER ? value : exact(text);
}
