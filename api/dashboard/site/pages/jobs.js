// The list of jobs, live; a job by itself is shown by ./job.js.

import { get, reader } from "../parts/api.js";
import { button, failed, fill, h, say } from "../parts/dom.js";
import { number } from "../parts/words.js";
import { follow } from "../parts/live.js";
import { go } from "../parts/route.js";
import { Windowed } from "../parts/windowed.js";
import { bulkBar } from "../jobs/bulk.js";
import { filterBar, offer, queryOf } from "../jobs/filters.js";
import { PAGE, Pager } from "../jobs/pager.js";
import { COLUMNS, makeGap, makeRow, updateRow } from "../jobs/row.js";

const TOGETHER = 120, LATER = 2500;
const BORN = new Set(["job.submitted", "job.opened", "job.steps_submitted"]);
const INNER = new Set(["progress", "job.chunks_planned", "job.chunks_closed", "job.items_appended"]);

export function show(place, { parameters }) {
  document.title = "Jobs - Countermand";
  const chosen = new Map(), pending = new Map(), moves = new Set();
  let query = queryOf(parameters), operations = [], fresh = 0, timer = 0, later = 0, own = parameters;
  const { read: renew, soon, close } = reader(refresh);

  const pager = new Pager((cursor, signal) => get("jobs", { ...query, cursor, limit: PAGE }, signal)
    .catch((error) => { failed(error); throw error; }), () => { rows.draw(); tellSize(); });
  const filters = h("div"), size = h("p.size", { role: "status" });
  const news = button("", reload, { class: "news", hidden: true });
  const bulk = bulkBar(() => new Set(chosen.keys()), () => { chosen.clear(); bulk.update(); rows.soon(); });
  const body = h("tbody"), scroller = h("div.list", { tabindex: "0", role: "region", "aria-label": "List of jobs" },
    h("table", { "aria-rowcount": "-1" }, h("caption.away", "Jobs, as the filters above have them"),
      h("thead", h("tr", h("th.mark", h("input", { type: "checkbox", "aria-label": "Select all that are loaded", on: { change: chooseAll } })),
        COLUMNS.map((words) => h("th", { scope: "col" }, words)))), body));
  const how = { isChosen: (id) => chosen.has(id), choose };
  const rows = new Windowed(scroller, body, { length: () => pager.length, reached: (last) => pager.reach(last), row });

  fill(place, h("h1.away", "Jobs"), filters, h("div.row", size, news), bulk.drawn, scroller);
  drawFilters(parameters);
  pager.load(0).catch(() => {}).then(() => get("operations")).then(({ items }) => { operations = items; offer(filters.firstChild, parameters, operations); }).catch(failed);
  const unfollow = follow(taken, (first) => first || scroller.scrollTop < 10 ? renew() : reload());
  place.addEventListener("moved", moved);
  scroller.addEventListener("keydown", byKey);

  function row(index) {
    const job = pager.at(index);
    if (!job) return { key: `gap ${index}`, make: makeGap, update: () => {} };
    return { key: job.job_id, make: () => makeRow(job, how), update: (element) => updateRow(element, job) };
  }

  function drawFilters(now) {
    const within = filters.contains(document.activeElement);
    fill(filters, filterBar(now, (wanted) => {
      own = wanted;
      go(["jobs"], wanted, { replace: true });
    }));
    offer(filters.firstChild, now, operations);
    if (within) filters.querySelector("button").focus();
  }

  function moved({ detail }) {
    parameters = detail.parameters;
    const wanted = queryOf(parameters);
    // What was chosen here is shown already; whoever goes back, or has cleared all, has other filters.
    if (JSON.stringify(queryOf(own)) !== JSON.stringify(wanted) || !Object.keys(own).length) drawFilters(parameters);
    own = parameters;
    if (JSON.stringify(wanted) === JSON.stringify(query)) return;
    query = wanted;
    chosen.clear();
    bulk.update();
    scroller.scrollTop = 0;
    reload();
  }

  function reload() {
    fresh = 0;
    news.hidden = true;
    pager.reset();
    pager.load(0);
  }

  // Events are gathered, so that fifty a second are drawn eight times.
  function taken(name, said) {
    if (name === "broadcast" || !said.job_id) return;
    if (BORN.has(name)) fresh += 1;
    if (!INNER.has(name)) moves.add(said.job_id);
    const known = pending.get(said.job_id);
    if (!known || said.version >= known.version) pending.set(said.job_id, said);
    timer ||= setTimeout(draw, TOGETHER);
  }

  function draw() {
    timer = 0;
    pager.update(pending);
    pending.clear();
    rows.soon();
    const strangers = [...moves].some((id) => !pager.has(id));
    moves.clear();
    if (strangers) tellNews();
  }

  /** Who looks at the top sees new jobs come; whoever reads further down is only told. */
  function tellNews() {
    if (scroller.scrollTop < 10 && !chosen.size) {
      soon();
      // The list may lag behind the events, so it is looked at once more.
      later ||= setTimeout(() => { later = 0; renew(); }, LATER);
    } else if (fresh) {
      news.hidden = false;
      fill(news, `${number(fresh)} new: show`);
    }
  }

  /** The first page again, in place of the present one, so that nothing flickers. */
  async function refresh() {
    fresh = 0;
    const mine = query, page = await pager.fresh(null).catch(() => null);
    if (!page || scroller.scrollTop > 10 || mine !== query) return;
    pager.reset();
    pager.take(0, page);
    news.hidden = true;
  }

  function tellSize() {
    const length = pager.length;
    say(size, length || !pager.ended ? `${number(length)}${pager.ended ? "" : "+"} ${length === 1 ? "job" : "jobs"}` : "No job is like this.");
  }

  function choose(job, on) {
    if (on) chosen.set(job.job_id, job); else chosen.delete(job.job_id);
    bulk.update();
  }

  function chooseAll({ target }) {
    for (const { items } of pager.pages) items?.forEach((job) => choose(job, target.checked));
    rows.soon();
  }

  /** Up and down go from job to job. */
  function byKey(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const at = document.activeElement?.closest?.("tr[data-job]");
    if (!step || (!at && event.key === "ArrowUp")) return;
    let next = at ? at : body.firstChild;
    do { next = step > 0 ? next.nextSibling : next.previousSibling; } while (next && !next.dataset?.job);
    if (!next) return;
    event.preventDefault();
    next.querySelector("a").focus();
  }

  return () => {
    unfollow();
    clearTimeout(timer);
    close();
    clearTimeout(later);
    rows.close();
    pager.giveUp.abort();
    place.removeEventListener("moved", moved);
  };
}
