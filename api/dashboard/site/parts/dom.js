// Elements, and the small things that several pages show. What is shown comes in as text nodes;
// no string ever becomes markup.

import { ITEM_STATUSES, NOTHING, ago, moment, number, percent, spoken, tone } from "./words.js";

const SVG = "http://www.w3.org/2000/svg", SEEN = new WeakMap();
const REACHED = "a, button, summary, input, select, textarea, [tabindex]";

/** An element with its classes, as `p.quiet`; what comes first may be its attributes, and `on` its listeners. */
export function h(name, ...content) {
  return filled((tag) => document.createElement(tag), name, content);
}

export function svg(name, ...content) {
  return filled((tag) => document.createElementNS(SVG, tag), name, content);
}

function filled(make, name, [first, ...children]) {
  if (first?.constructor !== Object) return filled(make, name, [{}, first, ...children]);
  const [tag, ...classes] = name.split("."), element = make(tag), { on = {}, ...attributes } = first;
  if (classes.length) element.setAttribute("class", classes.join(" "));
  for (const [name, value] of Object.entries(attributes)) {
    if (["value", "checked", "disabled", "selected"].includes(name)) {
      element[name] = value;
    } else if (value === true) {
      element.setAttribute(name, "");
    } else if ((value ?? false) !== false) {
      element.setAttribute(name, value);
    }
  }
  for (const [name, listener] of Object.entries(on)) element.addEventListener(name, listener);
  append(element, children);
  return element;
}

/** Elements, texts and lists of both; what is null or false is left out. */
export function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child !== false && (child ?? null) !== null) element.append(child);
  }
}

/** Other content, in place of what an element has. */
export function fill(element, ...children) {
  SEEN.delete(element);
  element.replaceChildren();
  append(element, children);
  return element;
}

/** The same, only where `seen`, which it shows, has changed; whoever is at a part stays there. */
export function refill(element, seen, make) {
  const as = JSON.stringify(seen);
  if (SEEN.get(element) !== as) {
    const at = document.activeElement, alike = () => [...element.querySelectorAll(REACHED)].filter((each) => named(each) === named(at));
    const place = alike().indexOf(at), folds = () => [...element.querySelectorAll("details")], open = folds().map((each) => each.open);
    fill(element, make());
    folds().forEach((each, number) => { each.open = open[number] ?? each.open; });
    if (place >= 0) (alike()[place] ?? alike().at(-1) ?? element.querySelector("[tabindex]"))?.focus();
  }
  SEEN.set(element, as);
}

/** By what something is known again when it was drawn anew; fields, by their kind. */
function named(each) {
  return each.ariaLabel ?? each.getAttribute("href") ?? (each.textContent || each.type);
}

/** The text, only where it has changed, so that what is read aloud is not read again. */
export function say(element, text) {
  const words = String(text ?? "");
  if (element.textContent !== words) element.textContent = words;
}

/** A button that does something, says why where it fails, and takes no other click before that is done. */
export function button(words, click, props = {}) {
  const made = h("button", { type: "button", on: { click: async (event) => {
    if (made.ariaDisabled) return;
    made.ariaDisabled = "true";
    try { await click(event); } catch (error) { failed(error); } finally { made.ariaDisabled = null; }
  } }, ...props }, words);
  return made;
}

export function labelled(words, control, props = {}) {
  return h("label.field", props, h("span", words), control);
}

/** Raise what is wrong with a field of a place: what the browser cannot read, it gives out as nothing. */
export function check(place) {
  const wrong = place.querySelector("input:invalid");
  if (!wrong) return;
  wrong.focus();
  throw new Error(`${wrong.labels[0].textContent}: ${wrong.validationMessage}`);
}

/** What is wrong, read aloud. */
export function alarm(words) {
  return h("p.bad-words", { role: "alert" }, words);
}

export function tick(words, box = h("input", { type: "checkbox" })) {
  return h("label.tick", box, words);
}

export function choice(options, value, change, props = {}) {
  const made = options.map(([key, words]) => h("option", { value: key, selected: key === value }, words));
  return h("select", { on: { change: (event) => change(event.target.value) }, ...props }, made);
}

/** What somebody has written, in the direction in which it runs. */
export function bdi(...words) {
  return h("bdi", words);
}

export function code(...words) {
  return h("code", words);
}

export function quiet(...words) {
  return h("p.quiet", words);
}

export function grow() {
  return h("span.grow");
}

/** A number as it is read; anything else as it is. */
function told(value) {
  return typeof value === "number" ? number(value) : value;
}

export function panel(title, ...children) {
  return h("section.panel", h("h2", title), children);
}

/** What ends a form or a list: buttons, on its far side. */
export function ends(...children) {
  return h("div.row.end", children);
}

/** The ways to what is before and behind, if there is either; who has come to an end stays at its button. */
export function turns(back, on, words = ["Earlier", "Later"]) {
  return back || on ? ends([back, on].map((go, place) => button(words[place], go, { "aria-disabled": !go && "true" }))) : null;
}

/** The pages of a list, known by their cursors; `draw` shows the one that was turned to. */
export function paged(draw) {
  let seen = [null];
  const to = (pages) => () => { seen = pages; draw(); };
  return { begin: () => { seen = [null]; }, cursor: () => seen.at(-1),
    turns: (next) => turns(seen[1] && to(seen.slice(0, -1)), next && to([...seen, next])) };
}

/** A table that may be wider than the page; rows are lists of cells. */
export function table(caption, heads, rows, empty = "There is none.") {
  if (!rows.length) return quiet(empty);
  const head = heads.map((words) => h("th", { scope: "col" }, words || h("span.away", "Actions")));
  const body = rows.map((cells) => h("tr", cells.map((cell) => h("td", told(cell)))));
  return h("div.scroll", { tabindex: "0", role: "region", "aria-label": caption },
    h("table.plain", h("caption.away", caption),
      h("thead", h("tr", head)), h("tbody", body)));
}

/** Names with their values, where there are any. */
export function facts(pairs) {
  const shown = pairs.filter(([, value]) => !["", null, undefined, NOTHING].includes(value));
  return h("dl.facts",
    shown.map(([name, value]) => h("div", h("dt", name), h("dd", told(value)))));
}

/** Hand the browser a file that the page has made or fetched. */
export function save(blob, name) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

export function chip(status) {
  return h(`span.chip.${tone(status)}`, spoken(status));
}

/** How far a job is, as a bar of items by status; `update` shows other counts. */
export function bar(counts, done) {
  const parts = ITEM_STATUSES.map(([status, kind]) => [status, h(`i.${kind}`)]);
  const drawn = h("div.bar", { role: "img" }, parts.map(([, part]) => part));
  const update = (now, share) => {
    const words = [];
    for (const [status, part] of parts) {
      const value = now[status] ?? 0;
      part.style.flexGrow = value;
      part.hidden = !value;
      if (value) words.push(`${number(value)} ${spoken(status)}`);
    }
    drawn.ariaLabel = `${percent(share)}: ${words.join(", ") || "no items"}`;
  };
  update(counts, done);
  return { drawn, update };
}

/** When something was: how long ago, and the moment itself for who asks. */
export function when(text) {
  return h("time", { datetime: text ?? "", title: moment(text) }, ago(text, Date.now()));
}

/** Let all such times go on; called every now and then. */
export function ageAll() {
  for (const each of document.querySelectorAll("time[datetime]")) {
    if (each.dateTime) say(each, ago(each.dateTime, Date.now()));
  }
}

const AT_MOST = 4;

export function notice(words, tone = "good") {
  const place = document.getElementById("notices");
  const note = h(`div.notice.${tone}`, h("span", words));
  note.append(button("×", () => note.remove(), { class: "close", "aria-label": "Dismiss" }));
  place.append(note);
  while (place.children.length > AT_MOST) place.firstChild.remove();
  setTimeout(() => note.remove(), tone === "bad" ? 20_000 : 8000);
}

/** What went wrong, in the server's words; nothing for what was given up on purpose. */
export function failed(error) {
  if (error.name === "AbortError" || error.status === 401) return;
  notice(error.message, "bad");
}
