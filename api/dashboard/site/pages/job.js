// One job: its head, live, and one of several tabs below it.

import { API, get } from "../parts/api.js";
import { bdi, facts, fill, h, refill } from "../parts/dom.js";
import { duration, number, percent } from "../parts/format.js";
import { follow } from "../parts/live.js";
import { failed } from "../parts/notices.js";
import { address, go, single } from "../parts/route.js";
import { bar, chip, link, when } from "../parts/shown.js";
import { AT_REST, ITEM_STATUSES, spoken } from "../parts/words.js";
import { folded } from "../jobs/fold.js";
import { title } from "../jobs/row.js";
import { errorsTab } from "../job/errors.js";
import { itemsTab } from "../job/items.js";
import { overviewTab } from "../job/overview.js";
import { auditTab } from "../job/audit.js";
import { planTab } from "../job/plan.js";
import { travelBar } from "../job/travel.js";
import { undoTab } from "../job/undo.js";
import { verbBar } from "../job/verbs.js";

const TABS = { overview: ["Overview", overviewTab], items: ["Items", itemsTab], errors: ["Errors", errorsTab],
  plan: ["Plan", planTab], undo: ["Undo", undoTab], audit: ["Audit", auditTab] };
const PAUSE = 700;
const LOOK = 10_000;

export function show(place, { parts, parameters }) {
  const id = parts[1], giveUp = new AbortController();
  let job = null, tab = null, shown = "", timer = 0, reading = false, again = false, newest = 0, own = new AbortController(), drawing = Promise.resolve();
  const head = h("header", { class: "job-head" }), tabs = h("nav", { class: "tabs", "aria-label": "Of this job" }), body = h("div", { class: "stack" });
  const renew = () => refresh().catch(failed);
  const view = {
    job: () => job, at: () => Number(single(parameters, "at")) || null,
    parameters: () => parameters, draw,
    read: (what, query = {}) => get(`${API}/jobs/${id}/${what}`, query, { signal: own.signal }), changed: renew,
    go: (changes) => go(["jobs", id], { ...parameters, ...changes }, { replace: true }),
  };
  const travel = travelBar(view);
  fill(place, h("p", {}, link("#/jobs", "← Jobs")), head, travel.drawn, tabs, body);
  refresh().catch(gone);
  const unfollow = follow((name, said) => {
    const mine = said.job_id === id;
    if (mine) newest = Math.max(newest, said.version);
    // What is being read may be from before this event.
    if (mine && reading) again = true;
    if (!job || view.at() || !(mine || job.steps?.some((step) => step.job_id === said.job_id))) return;
    if (mine) { job = { ...folded(job, said), possible: job.possible }; drawHead(); }
    if (name !== "progress" || job.status === "running") timer ||= setTimeout(() => { timer = 0; renew(); }, PAUSE);
  }, renew);
  place.addEventListener("moved", moved);
  // Why a job waits changes without an event of its own.
  const looking = setInterval(() => { if (job && !AT_REST.has(job.status) && !view.at() && !document.hidden) renew(); }, LOOK);

  /** The job again, and what the open tab shows of it. */
  async function refresh() {
    if (reading) { again = true; return; }
    reading = true;
    try {
      do {
        again = false;
        job = await get(`${API}/jobs/${id}`, { at: view.at() }, { signal: giveUp.signal });
        newest = Math.max(newest, job.version);
        if (view.at() && newest <= view.at()) newest = (await get(`${API}/jobs/${id}`, { fields: "version" }, { signal: giveUp.signal })).version;
        drawHead();
        travel.update(job, newest);
        drawTabs();
        await drawTab();
      } while (again && !giveUp.signal.aborted);
    } finally { reading = false; }
  }

  /** What the tab shows, again; one drawing after another, so that the last stays. */
  function drawTab() {
    drawing = drawing.catch(() => {}).then(() => tab.update()).catch((error) => { if (error.name !== "AbortError") throw error; });
    return drawing;
  }

  function gone(error) {
    if (error.status === 404) fill(body, h("p", { class: "empty" }, error.message));
    else failed(error);
  }

  function moved({ detail }) {
    const before = view.at();
    parameters = detail.parameters;
    if (!job || view.at() !== before) refresh().catch(gone);
    else draw();
  }

  /** What is below the head, at once: whatever is still read for what was there before is given up. */
  function draw() {
    own.abort();
    own = new AbortController();
    drawTabs();
    drawTab().catch(failed);
  }

  let drawn;
  function drawHead() {
    document.title = `${title(job)} - Countermand`;
    if (drawn && drawn.status === job.status && drawn.possible === String(job.possible) && drawn.at === view.at()) {
      drawn.progress.update(job.counts, job.percent);
      fill(drawn.figures, countsOf(job));
      return;
    }
    const progress = bar(job.counts, job.percent), figures = h("div");
    drawn = { status: job.status, possible: String(job.possible), at: view.at(), progress, figures };
    fill(figures, countsOf(job));
    fill(head, h("div", { class: "row" }, h("h1", {}, bdi(title(job))), chip(job.status), job.dry_run ? h("span", { class: "chip busy" }, "dry run") : null),
      h("p", { class: "quiet row" }, h("code", {}, job.operation), h("span", {}, "by ", bdi(job.created_by), " ", when(job.created_at)),
        job.tags.map((each) => h("bdi", { class: "tag" }, each)), h("code", { class: "id" }, job.job_id)),
      progress.drawn, figures, view.at() ? null : verbBar(job, view.changed));
  }

  function drawTabs() {
    const name = wanted();
    const known = Object.entries(TABS).filter(([each]) => offered(each));
    refill(tabs, [view.at(), name, known.length], () => known.map(([each, [words]]) => link(address(["jobs", id], { at: view.at(), tab: each === "overview" ? "" : each }), words,
      { "aria-current": each === name ? "page" : null })));
    if (name === shown) return;
    tab?.close?.();
    shown = name;
    fill(body);
    tab = TABS[name][1](body, view);
  }

  function wanted() {
    const name = single(parameters, "tab", "overview");
    return TABS[name] && offered(name) ? name : "overview";
  }

  function offered(name) {
    if (name === "plan") return Boolean(job.dry_run);
    if (name === "undo") return !view.at();
    return job.operation !== "batch.steps" || !["items", "errors"].includes(name);
  }

  return () => {
    giveUp.abort();
    own.abort();
    unfollow();
    clearTimeout(timer);
    clearInterval(looking);
    tab?.close?.();
    travel.close();
    place.removeEventListener("moved", moved);
  };
}

function countsOf(job) {
  const counts = ITEM_STATUSES.filter(([status]) => job.counts[status]).map(([status]) => [spoken(status), number(job.counts[status])]);
  const ran = job.started_at ? (Date.parse(job.finished_at ?? job.updated_at) - Date.parse(job.started_at)) / 1000 : null;
  return facts([["Items", number(job.counts.total)], ...counts, ["Progress", percent(job.percent)],
    ["Ran", ran === null ? null : duration(ran)], ["Left", job.status === "running" ? duration(job.eta_seconds) : null],
    ["Ended", job.finished_at ? when(job.finished_at) : null]]);
}
