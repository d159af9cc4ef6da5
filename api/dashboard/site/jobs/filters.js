// What the list of jobs is narrowed to; all of it stands in the address.

import { button, choice, fill, h, labelled, tick } from "../parts/dom.js";
import { single } from "../parts/route.js";
import { STATUSES, spoken } from "../parts/words.js";

const NAMES = ["status", "operation", "system", "tag", "q", "created_after", "created_before", "sort"];

const SORTS = [["", "Newest first"], ["created_at", "Oldest first"], ["name", "Name"],
  ["-priority", "Priority"], ["status", "Status"], ["operation", "Operation"]];

/** The parameters of GET /api/v1/jobs that an address asks for. Pure. */
export function queryOf(parameters) {
  const query = {};
  for (const name of NAMES) {
    const values = (parameters[name] ?? []).filter(Boolean);
    if (!values.length) continue;
    query[name] = name === "status" ? values.filter((each) => STATUSES.includes(each)) : values[0];
  }
  return query;
}

/** The bar of filters; `changed` is given the parameters that the address is to have. */
export function filterBar(parameters, changed) {
  let now = { ...parameters };
  const set = (name, value) => { now = { ...now, [name]: value ? [value].flat() : [] }; changed(now); };
  const input = (name, words, props = {}) => labelled(words, h("input", {
    name, value: single(now, name), maxlength: "200", on: { change: (event) => set(name, event.target.value.trim()) }, ...props,
  }));
  const pick = (name, words, options = [["", "All"]]) => labelled(words, choice(options, single(now, name), (value) => set(name, value), { name }));
  const search = input("q", "Search names", { type: "search", on: { input: later((value) => set("q", value)) } });
  return h("form.filters", { role: "search", "aria-label": "Filter jobs", on: { submit: (event) => event.preventDefault() } },
    search, statuses(now, (chosen) => set("status", chosen)), h("details.rest", { open: innerWidth > 720 }, h("summary", "More filters"),
    pick("system", "System"), pick("operation", "Operation"), input("tag", "Tag"), moment("created_after", "From", now, set), moment("created_before", "Until", now, set),
    pick("sort", "Sort", SORTS),
    button("Clear", () => changed({}), { class: "quiet-button" })));
}

/** Let a bar offer what there is; what was chosen stays, also where it is not there any more. */
export function offer(bar, parameters, operations) {
  const offered = { system: operations.map(({ system }) => system), operation: operations.map(({ kind }) => kind) };
  for (const [name, found] of Object.entries(offered)) {
    const field = bar.elements[name], chosen = field.value || single(parameters, name);
    const values = [...new Set([...found, chosen])].filter(Boolean).sort();
    fill(field, h("option", { value: "" }, "All"), values.map((each) => h("option", { value: each }, each)));
    field.value = chosen;
  }
}

function statuses(now, set) {
  const chosen = new Set(now.status ?? []);
  const summary = h("summary");
  const tell = () => fill(summary, "Status", chosen.size ? h("b.many", chosen.size) : "");
  const boxes = STATUSES.map((status) => tick(spoken(status),
    h("input", { type: "checkbox", name: "status", value: status, checked: chosen.has(status), on: { change: (event) => {
      if (event.target.checked) chosen.add(status); else chosen.delete(status);
      tell();
      set([...chosen]);
    } } })));
  tell();
  const box = h("details.drop", { on: {
    keydown: (event) => { if (event.key === "Escape" && box.open) { box.open = false; summary.focus(); } },
    focusout: (event) => { if (event.relatedTarget && !box.contains(event.relatedTarget)) box.open = false; },
  } }, summary, h("div.drop-body", { role: "group", "aria-label": "Status" }, boxes));
  return box;
}

function moment(name, words, now, set) {
  return labelled(words, h("input", { type: "datetime-local", name, value: local(single(now, name)),
    on: { change: ({ target }) => set(name, target.value ? new Date(target.value).toISOString() : "") } }));
}

/** A moment as such a field takes it: in the time of this place, to the minute. */
function local(text) {
  const at = new Date(text);
  if (!text || Number.isNaN(at.valueOf())) return "";
  return new Date(at.valueOf() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

function later(act) {
  let timer = 0;
  return (event) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(event.target.value.trim()), 250);
  };
}
