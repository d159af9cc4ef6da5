// A list of any length, read in pages; those far from what is shown are given up.

const KEPT = 12;
export const PAGE = 100;

export class Pager {
  /** `read(cursor, signal)` answers `{items, next_cursor}`; `changed` is called after each page. */
  constructor(read, changed) {
    this.read = read;
    this.changed = changed;
    this.reset();
  }

  /** Forget all of it. */
  reset() {
    this.giveUp?.abort();
    this.giveUp = new AbortController();
    this.pages = [{ cursor: null, items: null, size: 0, reading: null }];
    this.ended = false;
  }

  /** How many rows are known of. */
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
    page.reading = this.read(page.cursor, signal)
      .then((answer) => { if (!signal.aborted) this.take(number, answer); })
      .finally(() => { page.reading = null; });
    page.reading.catch(() => {});
    return page.reading;
  }

  take(number, { items, next_cursor: following }) {
    const page = this.pages[number];
    page.items = items;
    page.size = items.length;
    if (number === this.pages.length - 1) {
      this.ended = following === null;
      if (following !== null) this.pages.push({ cursor: following, items: null, size: 0, reading: null });
    }
    this.forgetFar(number);
    this.changed();
  }

  forgetFar(number) {
    this.pages.forEach((page, other) => {
      if (Math.abs(other - number) > KEPT / 2) page.items = null;
    });
  }

  /** Change the jobs that are here; `change` returns another one or the same. */
  update(ids, change) {
    for (const page of this.pages) {
      page.items?.forEach((job, index) => {
        if (ids.has(job.job_id)) page.items[index] = change(job);
      });
    }
  }

  has(id) {
    return this.pages.some(({ items }) => items?.some((job) => job.job_id === id));
  }
}
