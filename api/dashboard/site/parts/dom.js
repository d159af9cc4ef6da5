// Elements. What is shown comes in as text nodes; no string ever becomes markup.

const SVG = "http://www.w3.org/2000/svg";
const SEEN = new WeakMap();

/** An element; `props` are attributes, `on` its listeners, `class` may be a list. */
export function h(name, props = {}, ...children) {
  return filled(document.createElement(name), props, children);
}

/** The same for what is drawn. */
export function svg(name, props = {}, ...children) {
  return filled(document.createElementNS(SVG, name), props, children);
}

function filled(element, { on = {}, ...attributes }, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "value" || name === "checked" || name === "disabled" || name === "selected") {
      element[name] = value;
    } else if (value === true) {
      element.setAttribute(name, "");
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, Array.isArray(value) ? value.join(" ") : String(value));
    }
  }
  for (const [name, listener] of Object.entries(on)) element.addEventListener(name, listener);
  append(element, children);
  return element;
}

/** Elements, texts and lists of both; what is null or false is left out. */
export function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
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
    const now = document.activeElement, named = (each) => each.ariaLabel ?? each.getAttribute("href");
    const at = element.contains(now) && named(now);
    fill(element, make());
    if (at) [...element.querySelectorAll("[aria-label], a")].find((each) => named(each) === at)?.focus();
  }
  SEEN.set(element, as);
}

/** The text, only where it has changed, so that what is read aloud is not read again. */
export function say(element, text) {
  const words = String(text ?? "");
  if (element.textContent !== words) element.textContent = words;
}

/** A button that does something. */
export function button(words, click, props = {}) {
  return h("button", { type: "button", on: { click }, ...props }, words);
}

/** A control with its label before it. */
export function labelled(words, control, props = {}) {
  return h("label", { class: "field", ...props }, h("span", {}, words), control);
}

/** A box with its words behind it. */
export function tick(words, box = h("input", { type: "checkbox" })) {
  return h("label", { class: "tick" }, box, words);
}

/** A list of one's own choosing. */
export function choice(options, value, change, props = {}) {
  const made = options.map(([key, words]) => h("option", { value: key, selected: key === value }, words));
  return h("select", { on: { change: (event) => change(event.target.value) }, ...props }, made);
}

/** What somebody has written, in the direction in which it runs. */
export function bdi(...words) {
  return h("bdi", {}, words);
}

export function code(...words) {
  return h("code", {}, words);
}

export function quiet(...words) {
  return h("p", { class: "quiet" }, words);
}

export function grow() {
  return h("span", { class: "grow" });
}

/** A part of a page, with its title. */
export function panel(title, ...children) {
  return h("section", { class: "panel" }, h("h2", {}, title), children);
}

/** What ends a form or a list: buttons, on its far side. */
export function ends(...children) {
  return h("div", { class: "row end" }, children);
}

/** A table that may be wider than the page; rows are lists of cells. */
export function table(caption, heads, rows, empty = "There is none.") {
  if (!rows.length) return h("p", { class: "quiet" }, empty);
  const head = heads.map((words) => h("th", { scope: "col" }, words || h("span", { class: "away" }, "Actions")));
  const body = rows.map((cells) => h("tr", {}, cells.map((cell) => h("td", {}, cell))));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", { class: "plain" }, h("caption", { class: "away" }, caption),
      h("thead", {}, h("tr", {}, head)), h("tbody", {}, body)));
}

/** Names with their values. */
export function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h("dl", { class: "facts" },
    shown.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

/** Hand the browser a file that the page has made or fetched. */
export function save(blob, name) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
