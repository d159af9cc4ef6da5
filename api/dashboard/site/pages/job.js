// One job: its head, live, and one of several tabs below it.

import { get, reader } from "../parts/api.js";
import { bar, bdi, chip, facts, fill, h, refill, when } from "../parts/dom.js";
import { AT_REST, BATCH, ITEM_STATUSES, duration, percent, readable, spoken } from "../parts/words.js";
import { follow } from "../parts/live.js";
import { go, link, single } from "../parts/route.js";
import { folded } from "../jobs/pager.js";
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
const PAUSE = 700, LOOK = 10_000;

export function show(place, { parts, parameters }) {
  const id = parts[1], giveUp = new AbortController();
  let job = null, tab = null, shown = "", newest = 0, own = new AbortController(), drawing = Promise.resolve();
  const progress = bar({}, 0), figures = h("div"), head = h("header.job-head"), tabs = h("nav.tabs", { "aria-label": "Of this job" }), body = h("div.stack");
  const { read: renew, soon, close } = reader(() => refresh().catch(gone), PAUSE);
  const view = {
    job: () => job, at: () => Number(single(parameters, "at")) || null,
    parameters: () => parameters, draw,
    read: (what, query, as = readable) => get(`jobs/${id}/${what}`, query, own.signal, as), changed: renew,
    go: (changes) => go(["jobs", id], { ...parameters, ...changes }, { replace: true }),
  };
  const travel = travelBar(view);
  fill(place, h("p", link(["jobs"], "← Jobs")), head, travel.drawn, tabs, body);
  renew();
  const unfollow = follow((name, said) => {
    const mine = said.job_id === id;
    if (mine) newest = Math.max(newest, said.version);
    if (mine && !job) soon();
    if (!job || view.at() || !(mine || job.steps?.some((step) => step.job_id === said.job_id))) return;
    if (mine) { job = { ...folded(job, said), possible: job.possible }; drawHead(); }
    if (name !== "progress" || job.status === "running") soon();
  }, renew);
  place.addEventListener("moved", moved);
  // Why a job waits changes without an event of its own.
  const looking = setInterval(() => { if (job && !AT_REST.has(job.status) && !view.at() && !document.hidden) renew(); }, LOOK);

  /** The job again, and what the open tab shows of it. */
  async function refresh() {
    const read = await get(`jobs/${id}`, { at: view.at() }, giveUp.signal, readable);
    // What was read may be from before an event that has come meanwhile.
    if (!job || view.at() || read.version >= job.version) job = read;
    newest = Math.max(newest, job.version);
    if (view.at() && newest <= view.at()) newest = (await get(`jobs/${id}`, { fields: "version" }, giveUp.signal)).version;
    drawHead();
    travel.update(job, newest);
    drawTabs();
    await drawTab();
  }

  /** What the tab shows, again; one drawing after another, so that the last stays. */
  function drawTab() {
    drawing = drawing.catch(() => {}).then(() => tab.update()).catch((error) => { if (error.name !== "AbortError") throw error; });
    return drawing;
  }

  function gone(error) {
    if (error.status === 404) fill(body, h("p.empty", error.message));
    else throw error;
  }

  function moved({ detail }) {
    const before = view.at();
    parameters = detail.parameters;
    if (!job || view.at() !== before) renew();
    else draw();
  }

  /** What is below the head, at once: whatever is still read for what was there before is given up. */
  function draw() {
    own.abort();
    own = new AbortController();
    drawTabs();
    drawTab().catch(renew);
  }

  function drawHead() {
    document.title = `${title(job)} - Countermand`;
    progress.update(job.counts, job.percent);
    fill(figures, countsOf(job));
    refill(head, [job.status, job.possible, view.at()], () => [h("div.row", h("h1", bdi(title(job))), chip(job.status), job.dry_run ? h("span.chip.busy", "dry run") : null),
      h("p.quiet.row", h("code", job.operation), h("span", "by ", bdi(job.created_by), " ", when(job.created_at)),
        job.tags.map((each) => h("bdi.tag", each)), h("code.id", job.job_id)),
      progress.drawn, figures, view.at() ? null : verbBar(view)]);
  }

  function drawTabs() {
    const name = wanted();
    const known = Object.entries(TABS).filter(([each]) => offered(each));
    refill(tabs, [view.at(), name, known.length], () => known.map(([each, [words]]) => link(["jobs", id], words,
      { "aria-current": each === name ? "page" : null }, { at: view.at(), tab: each === "overview" ? "" : each })));
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
    if (name === "undo" && view.at()) return false;
    return job.operation !== BATCH || !["items", "errors", "undo"].includes(name);
  }

  return () => {
    giveUp.abort();
    own.abort();
    unfollow();
    close();
    clearInterval(looking);
    tab?.close?.();
    travel.close();
    place.removeEventListener("moved", moved);
  };
}

function countsOf(job) {
  const counts = ITEM_STATUSES.filter(([status]) => job.counts[status]).map(([status]) => [spoken(status), job.counts[status]]);
  const ran = job.started_at ? (Date.parse(job.finished_at ?? job.updated_at) - Date.parse(job.started_at)) / 1000 : null;
  return facts([["Items", job.counts.total], ...counts, ["Progress", percent(job.percent)],
    ["Ran", duration(ran)], ["Left", job.status === "running" ? duration(job.eta_seconds) : null],
    ["Ended", job.finished_at ? when(job.finished_at) : null]]);
}
