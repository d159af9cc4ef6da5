// Failures in groups that look alike; a group is edited and tried again as a whole.

import { bdi, button, code, fill, grow, h, labelled, refill } from "../parts/dom.js";
import { confirm } from "../parts/dialog.js";
import { count, number, written } from "../parts/words.js";
import { may } from "../parts/session.js";
import { openItem } from "./item.js";
import { obey } from "./verbs.js";

export function errorsTab(place, view) {
  const list = h("div.stack");
  fill(place, list);
  async function update() {
    const { items } = await view.read("errors");
    refill(list, [items, able(view)], () => items.length ? items.map((group) => groupPanel(group, view)) : h("p.empty", "No item has failed."));
  }
  return { update };
}

const able = (view) => view.job().possible.includes("retry") && may("submit") && !view.at();

function groupPanel(group, view) {
  const samples = group.samples.map((sample) => h("li", {},
    button(`Item ${number(sample.item)}`, () => openItem(view, sample.item), { class: "quiet-button" }),
    bdi(sample.message), sample.pointer ? code(` ${sample.pointer}`) : null));
  return h("section.panel.group",
    h("div.row", h("h2", code(group.code)), h("span.chip.bad", count(group.count, "item")),
      grow(),
      able(view) ? [button("Replay as they are", () => replay(group, view, false)), button("Edit and replay", () => replay(group, view, true))] : null),
    h("p", bdi(group.signature)), h("ul.samples", samples));
}

function replay(group, view, edited) {
  const job = view.job(), others = job.counts.failed - group.count;
  const patch = h("textarea.code", { spellcheck: "false", value: "{}" });
  const about = `Re-runs the ${count(group.count, "item")} of this group${edited ? ", each with the patch below" : ""}; leaves ${count(others, "other failed item")} and ${number(job.counts.total - job.counts.failed)} others as they are.`;
  return confirm({
    title: edited ? "Edit this group and replay it" : "Replay this group?", about, verb: "replay",
    more: edited ? labelled("Merge patch (RFC 7396) for each item: null removes a field", patch) : null,
    act: async (reason, post) => {
      const body = { reason, codes: [group.code], signatures: [group.signature] };
      if (edited) body.patch = written(patch.value);
      await obey(view, post, "retry", body, `Replaying ${count(group.count, "item")}.`, job);
    },
  });
}
