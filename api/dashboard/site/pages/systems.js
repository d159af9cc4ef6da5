// Systems: what each can do; one that has a place of its own is shown with it.

import { get } from "../parts/api.js";
import { bdi, failed, fill, h, table } from "../parts/dom.js";
import { link, single } from "../parts/route.js";
import { may } from "../parts/session.js";
import { spoken } from "../parts/words.js";
import { annotations } from "../systems/annotations.js";

/** Systems with a place of their own, and what it takes to see it. */
const PLACES = { annotations: { permission: "participate", show: annotations } };

export function show(place, { parts, parameters }) {
  const giveUp = new AbortController();
  let name = parts[1] ?? "", close = () => {}, project = "";
  const tabs = h("nav.tabs", { "aria-label": "Systems" }), own = h("div.stack"), can = h("section.panel");
  document.title = `${name || "Systems"} - Countermand`;
  fill(place, h("h1", "Systems"), tabs, own, can);
  begin();

  /** Who only takes part in projects sees no jobs, and so no operations. */
  async function begin() {
    let items = [];
    try { if (may("view")) ({ items } = await get("operations", {}, giveUp.signal)); } catch (error) { failed(error); }
    if (giveUp.signal.aborted) return;
    const systems = [...new Set([...Object.keys(PLACES).filter(open), ...items.map(({ system }) => system)])];
    name ||= systems[0];
    fill(tabs, systems.map((each) => link(["systems", each], each, { "aria-current": each === name ? "page" : null })));
    fill(can, h("h2", "What it can do"), table(`Operations of ${name}`, ["Operation", "About", "Undo", ""], items.filter(({ system }) => system === name).map((each) => [
      h("code", each.kind), bdi(each.description.split("\n")[0]), spoken(each.reversible),
      may("submit") ? link(["submit"], "Submit", { "aria-label": `Submit ${each.kind}` }, { operation: each.kind }) : ""]), "No operation of this system is installed."));
    can.hidden = !may("view");
    showOwn();
  }
  place.addEventListener("moved", moved);

  function open(each) {
    return may(PLACES[each].permission);
  }

  function showOwn() {
    close();
    project = single(parameters, "project");
    close = PLACES[name] && open(name) ? PLACES[name].show(own, project) : () => {};
  }

  function moved({ detail }) {
    parameters = detail.parameters;
    if (single(parameters, "project") !== project) showOwn();
  }

  return () => { giveUp.abort(); close(); place.removeEventListener("moved", moved); };
}
