// The annotation platform: files in and out of a project, validation and reports.

import { API, get, post } from "../parts/api.js";
import { append, button, choice, fill, h, labelled, quiet } from "../parts/dom.js";
import { confirm } from "../parts/dialog.js";
import { failed, notice } from "../parts/notices.js";
import { go } from "../parts/route.js";
import { may } from "../parts/session.js";
import { exportForm, importForm } from "./files.js";
import { operations } from "./operations.js";
import { reports } from "./reports.js";
import { validation } from "./validation.js";

const PROJECTS = `${API}/projects`;

export function annotations(place, wanted) {
  const giveUp = new AbortController(), { signal } = giveUp;
  let close = () => {};
  begin().catch(failed);

  async function begin() {
    const { items, total } = await get(PROJECTS, { limit: 500 }, { signal });
    const project = items.find(({ project_id: id }) => String(id) === wanted) ?? items[0];
    const names = items.map(({ project_id: id, name }) => [String(id), `${name} (${id})`]);
    fill(place, h("section", { class: "panel" }, h("div", { class: "row project" },
      project ? labelled("Project", choice(names, String(project.project_id), (id) => go(["systems", "annotations"], { project: id }))) : quiet("There is no project yet."),
      total > items.length ? h("span", { class: "quiet" }, `The first ${items.length} of ${total}; the address takes any.`) : null,
      may("submit") ? button("New project", create) : null)));
    if (!project) return;
    const list = operations(project, signal), checks = may("view") ? validation(project, signal) : null;
    append(place, [h("div", { class: "two" }, importForm(project, list.update), exportForm(project, list.update)), list.drawn, checks?.drawn, reports(project, signal)]);
    close = () => { list.close(); checks?.close(); };
    if (signal.aborted) close();
  }

  function create() {
    const name = h("input", { maxlength: "200", required: true });
    return confirm({ title: "New project", verb: "create", reason: false, about: "You become its admin; others come in as members.", more: labelled("Name", name),
      act: async () => {
        const made = await post(PROJECTS, { name: name.value.trim() });
        notice("The project is there.");
        go(["systems", "annotations"], { project: made.project_id });
      } });
  }

  return () => { giveUp.abort(); close(); };
}
