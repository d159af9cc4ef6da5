// Small things that several pages show: chips, bars, moments.

import { h, say } from "./dom.js";
import { ago, moment, number, percent } from "./format.js";
import { ITEM_STATUSES, spoken, tone } from "./words.js";

/** A status, as a word with a colour. */
export function chip(status) {
  return h("span", { class: `chip ${tone(status)}` }, spoken(status));
}

/** How far a job is, as a bar of items by status; `update` shows other counts. */
export function bar(counts, done) {
  const parts = ITEM_STATUSES.map(([status, kind]) => [status, h("i", { class: kind })]);
  const drawn = h("div", { class: "bar", role: "img" }, parts.map(([, part]) => part));
  const update = (now, share) => {
    const words = [];
    for (const [status, part] of parts) {
      const value = now[status] ?? 0;
      part.style.flexGrow = value;
      part.hidden = !value;
      if (value) words.push(`${number(value)} ${spoken(status)}`);
    }
    drawn.setAttribute("aria-label", `${percent(share)}: ${words.join(", ") || "no items"}`);
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

/** A link within the page. */
export function link(there, words, props = {}) {
  return h("a", { href: there, ...props }, words);
}
