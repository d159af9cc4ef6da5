// The annotation platform: files in and out of a project, validation and reports.

import { get } from "../parts/api.js";
import { append, button, choice, failed, fill, h, labelled, notice, quiet } from "../parts/dom.js";
import { confirm } from "../parts/dialog.js";
import { go } from "../parts/route.js";
import { may } from "../parts/session.js";
import { exportForm, importForm } from "./files.js";
import { operations } from "./operations.js";
import { reports } from "./reports.js";
import { validation } from "./validation.js";

export function annotations(place, wanted) {
  const giveUp = new AbortController(), { signal } = giveUp;
  let close = () => {};
  begin().catch(failed);

  async function begin() {
    const { items, total } = await get("projects", { limit: 500 }, signal);
    const project = wanted ? items.find(({ project_id: id }) => String(id) === wanted) ?? await one() : items[0];
    const listed = !project || items.includes(project) ? items : [project, ...items], names = listed.map(({ project_id: id, name }) => [String(id), `${name} (${id})`]);
    fill(place, h("section.panel", h("div.row.project",
      names.length ? labelled("Project", choice(project ? names : [["", ""], ...names], String(project?.project_id ?? ""), (id) => go(["systems", "annotations"], { project: id }))) : null,
      project ? null : quiet(wanted ? `There is no project ${wanted}, or it is not yours.` : "There is no project yet."),
      total > items.length ? h("span.quiet", `The first ${items.length} of ${total}; the address takes any.`) : null,
      may("submit") ? button("New project", create) : null)));
    if (!project) return;
    const list = operations(project, signal), checks = may("view") ? validation(project, signal) : null;
    append(place, [h("div.two", importForm(project, list.update), exportForm(project, list.update)), list.drawn, checks?.drawn, reports(project, signal)]);
    close = () => { list.close(); checks?.close(); };
    if (signal.aborted) close();
  }

  /** A project that is not among the first; nothing for one that is not there, or nobody's business. */
  function one() {
    return get(`projects/${encodeURIComponent(wanted)}`, {}, signal).catch((error) => {
      if (error.status !== 404 && error.status !== 403) throw error;
    });
  }

  function create() {
    const name = h("input", { maxlength: "200", required: true });
    return confirm({ title: "New project", verb: "create", reason: false, about: "You become its admin; others come in as members.", more: labelled("Name", name),
      act: async (_, post) => {
        const made = await post("projects", { name: name.value.trim() });
        notice("The project is there.");
        go(["systems", "annotations"], { project: made.project_id });
      } });
  }

  return () => { giveUp.abort(); close(); };
}
