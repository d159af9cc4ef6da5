import { bar, bdi, chip, h, say, when } from "../parts/dom.js";
import { duration, number, percent, rate, spoken, tone } from "../parts/words.js";
import { link } from "../parts/route.js";

export const COLUMNS = ["Job", "Status", "Progress", "Rate", "Left", "Created"];

/** The row of a job; `update` shows another state of it. */
export function makeRow(job, { isChosen, choose }) {
  const parts = { bar: bar(job.counts, job.percent), chip: chip(job.status),
    done: h("span.done"), rate: h("td.figure"), left: h("td.figure") };
  const mark = h("input", { type: "checkbox", checked: isChosen(job.job_id),
    "aria-label": `Select ${title(job)}`, on: { change: (event) => choose(job, event.target.checked) } });
  const element = h("tr", { "data-job": job.job_id },
    h("td.mark", mark),
    h("th.name", { scope: "row" },
      link(["jobs", job.job_id], bdi(title(job)), { title: title(job) }),
      h("span.under", h("span", job.operation), job.dry_run ? h("b", "dry run") : null,
        job.tags.slice(0, 3).map((tag) => h("bdi.tag", tag)))),
    h("td", parts.chip),
    h("td.far", parts.bar.drawn, parts.done), parts.rate, parts.left,
    h("td.born", when(job.created_at), h("span.under", bdi(job.created_by))));
  element.shows = { parts, mark, job: null, isChosen };
  updateRow(element, job);
  return element;
}

export function updateRow(element, job) {
  const { parts, mark, isChosen } = element.shows;
  const chosen = isChosen(job.job_id);
  if (mark.checked !== chosen) mark.checked = chosen;
  if (element.shows.job === job) return;
  element.shows.job = job;
  parts.chip.className = `chip ${tone(job.status)}`;
  say(parts.chip, spoken(job.status));
  parts.bar.update(job.counts, job.percent);
  const { total, pending } = job.counts;
  say(parts.done, `${percent(job.percent)} of ${number(total)}`);
  parts.done.title = `${number(total - pending)} of ${number(total)} settled`;
  say(parts.rate, rate(job.items_per_second));
  say(parts.left, job.status === "running" ? duration(job.eta_seconds) : "");
}

export function makeGap() {
  return h("tr.gap", h("td", { colspan: "7" }, "…"));
}

export function title(job) {
  return job.name || `${job.operation} ${job.job_id.slice(-6)}`;
}
