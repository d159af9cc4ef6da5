// A list of any length, read in pages, and how an event changes what is known of a job in it; pages
// far from what is shown are given up.

import { AT_REST } from "../parts/words.js";

const KEPT = 12, FIGURES = ["status", "version", "counts", "items_per_second", "eta_seconds"];
export const PAGE = 100;

export class Pager {
  /** `read(cursor, signal)` answers `{items, next_cursor}`; `changed` is called after each page. */
  constructor(read, changed) {
    this.read = read;
    this.changed = changed;
    this.told = new Map();
    this.readings = 0;
    this.reset();
  }

  reset() {
    this.giveUp?.abort();
    this.giveUp = new AbortController();
    this.pages = [unread(null)];
    this.ended = false;
  }

  get length() {
    return this.pages.reduce((sum, { size }) => sum + size, 0);
  }

  /** The job at a place; undefined as long as its page is not here, which is then asked for. */
  at(index) {
    const number = Math.floor(index / PAGE);
    const page = this.pages[number];
    if (!page) return undefined;
    if (page.items) return page.items[index - number * PAGE];
    this.load(number);
    return undefined;
  }

  /** Ask for the first page, or for the next one when the end of what is known is near. */
  reach(last) {
    const number = this.pages.length - 1;
    if (this.ended || last < this.length - PAGE / 2) return;
    if (this.pages[number].items === null) this.load(number);
  }

  load(number) {
    const page = this.pages[number];
    if (page.reading) return page.reading;
    const { signal } = this.giveUp;
    page.reading = this.fresh(page.cursor, signal)
      .then((answer) => { if (!signal.aborted) this.take(number, answer); })
      .finally(() => { page.reading = null; });
    page.reading.catch(() => {});
    return page.reading;
  }

  /** A page as of now: what it says of a job may be from before an event that came while it was read. */
  async fresh(cursor, signal) {
    this.readings += 1;
    try {
      const page = await this.read(cursor, signal);
      return { ...page, items: page.items.map((job) => this.folded(job)) };
    } finally {
      this.readings -= 1;
      if (!this.readings) this.told.clear();
    }
  }

  take(number, { items, next_cursor: following }) {
    const page = this.pages[number];
    page.items = items;
    page.size = items.length;
    if (number === this.pages.length - 1) {
      this.ended = following === null;
      if (following !== null) this.pages.push(unread(following));
    }
    this.forgetFar(number);
    this.changed();
  }

  forgetFar(number) {
    this.pages.forEach((page, other) => {
      if (Math.abs(other - number) > KEPT / 2) page.items = null;
    });
  }

  /** Take in the latest event of each of some jobs, whether they are here or on their way. */
  update(events) {
    for (const [id, event] of events) this.told.set(id, event);
    for (const { items } of this.pages) items?.forEach((job, index) => { items[index] = this.folded(job); });
    if (!this.readings) this.told.clear();
  }

  folded(job) {
    const event = this.told.get(job.job_id);
    return event ? folded(job, event) : job;
  }

  has(id) {
    return this.pages.some(({ items }) => items?.some((job) => job.job_id === id));
  }
}

function unread(cursor) {
  return { cursor, items: null, size: 0, reading: null };
}

/** The summary after an event, or the same one if it tells nothing newer. Pure. */
export function folded(summary, event) {
  if (event.version < summary.version) return summary;
  const next = { ...summary };
  for (const name of FIGURES) if (event[name] !== undefined) next[name] = event[name];
  // Not every event tells in which direction an undo goes; the one before it has.
  next.percent = event.percent ?? summary.percent;
  next.finished_at = AT_REST.has(next.status) ? summary.finished_at ?? event.at : null;
  return next;
}
