// A table of any length of which only the rows in sight are in the document.

import { h } from "./dom.js";

const BEYOND = 8;

export class Windowed {
  /**
   * `scroller` has a `tbody` with rows of equal height. `row(index)` gives `{key, make, update}`;
   * `reached(index)` is told the last row in sight.
   */
  constructor(scroller, body, { length, row, reached }) {
    Object.assign(this, { scroller, body, length, row, reached });
    this.rows = new Map();
    this.above = spacer();
    this.below = spacer();
    body.append(this.above, this.below);
    this.frame = 0;
    scroller.addEventListener("scroll", () => this.soon(), { passive: true });
    this.resized = new ResizeObserver(() => this.soon());
    this.resized.observe(scroller);
  }

  /** Draw once, however often it is asked for until then. */
  soon() {
    this.frame ||= requestAnimationFrame(() => { this.frame = 0; this.draw(); });
  }

  draw() {
    const height = parseFloat(getComputedStyle(this.body).getPropertyValue("--row")) || 44;
    const total = this.length();
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / height) - BEYOND);
    const seen = Math.ceil(this.scroller.clientHeight / height) + 2 * BEYOND;
    const last = Math.min(total, first + seen);
    const wanted = [];
    for (let index = first; index < last; index += 1) wanted.push(this.row(index));
    this.place(wanted, first);
    this.above.firstChild.style.height = `${first * height}px`;
    this.below.firstChild.style.height = `${Math.max(0, total - last) * height}px`;
    this.reached(last);
  }

  /** Rows that stay are not moved, so that what has the focus keeps it. */
  place(wanted, first) {
    const keys = new Set(wanted.map(({ key }) => key));
    for (const [key, element] of this.rows) {
      if (!keys.has(key)) { element.remove(); this.rows.delete(key); }
    }
    let after = this.above;
    wanted.forEach(({ key, make, update }, offset) => {
      let element = this.rows.get(key);
      if (!element) this.rows.set(key, element = make());
      else update(element);
      element.setAttribute("aria-rowindex", first + offset + 2);
      if (after.nextSibling !== element) after.after(element);
      after = element;
    });
  }

  close() {
    cancelAnimationFrame(this.frame);
    this.resized.disconnect();
  }
}

function spacer() {
  return h("tr.spacer", { "aria-hidden": "true" }, h("td"));
}
