// Dialogs: what a verb will do is said in one before it is done.

import { asking } from "./api.js";
import { alarm, button, check, ends, failed, fill, h, labelled } from "./dom.js";

/** Open a dialog; `make` is given the element to fill and a function that closes it. */
export function dialog(title, make) {
  const body = h("div.dialog-body");
  const box = h("dialog", { "aria-label": title }, h("h2", title), body);
  const close = () => box.close();
  box.addEventListener("close", () => box.remove());
  make(body, close);
  document.body.append(box);
  box.showModal();
  return box;
}

/**
 * Ask before something is done. `about` says what will come of it, `act` is given the reason, a
 * way to post and one to ask whether the dialog is still open; where it raises, the dialog stays
 * and says why, or a notice does. Resolves when it is closed, to whether it was done.
 */
export function confirm({ title, about, verb, needed = false, final = false, reason = true, more = null, act }) {
  return new Promise((resolve) => {
    let done = false;
    const post = asking(), box = dialog(title, (body, close) => {
      const why = h("textarea", { rows: "2", maxlength: "1000", required: needed });
      const said = alarm();
      const yes = button(verb, async () => {
        if (needed && !why.value.trim()) {
          fill(said, "Say why: this needs a reason.");
          why.focus();
          return;
        }
        fill(said);
        try {
          check(body);
          await act(why.value.trim(), post, () => box.open);
          done = true;
          close();
        } catch (error) { if (box.open) fill(said, error.message); else failed(error); }
      }, { class: final ? "danger" : "primary" });
      fill(body, h("p.consequence", about), more,
        reason ? labelled(needed ? "Reason (needed)" : "Reason", why) : null, said,
        ends(button("Back", close), yes));
    });
    box.addEventListener("close", () => resolve(done));
  });
}

/** Limits, as jobs and what they share have them: name, words, and what a number of it may be. */
export const LIMITS = [["rate", "Rate: items a second (empty: no limit)", { step: "any" }], ["concurrency", "Concurrency: calls at once (empty: no limit)", { min: "1" }]];

/** A field for each; `changed()` has only what was changed, so that nobody else's change is taken back with it. */
export function numbers(shown, wanted) {
  const fields = wanted.map(([name, words, props]) => {
    const input = h("input", { type: "number", min: "0", value: shown[name] ?? "", ...props });
    return { name, input, before: input.value, drawn: labelled(words, input) };
  });
  function changed() {
    const said = {}, lift = [];
    for (const { name, input, before } of fields) {
      if (input.value === before) continue;
      if (input.value) said[name] = Number(input.value);
      else lift.push(name);
    }
    return lift.length ? { ...said, lift } : said;
  }
  return { drawn: fields.map(({ drawn }) => drawn), changed };
}
