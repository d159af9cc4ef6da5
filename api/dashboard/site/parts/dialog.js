// Dialogs: what a verb will do is said in one before it is done.

import { button, ends, fill, h, labelled } from "./dom.js";

let named = 0;

/** Open a dialog; `make` is given the element to fill and a function that closes it. */
export function dialog(title, make) {
  const id = `dialog-${named += 1}`;
  const body = h("div", { class: "dialog-body" });
  const box = h("dialog", { "aria-labelledby": id },
    h("h2", { id }, title), body);
  const close = () => box.close();
  box.addEventListener("close", () => box.remove());
  make(body, close);
  document.body.append(box);
  box.showModal();
  return box;
}

/**
 * Ask before something is done. `about` says what will come of it, `act` is given the reason;
 * where it raises, the dialog stays and says why. Resolves when it is closed, to whether it
 * was done.
 */
export function confirm({ title, about, verb, needed = false, final = false, reason = true, more = null, act }) {
  return new Promise((resolve) => {
    let done = false;
    const box = dialog(title, (body, close) => {
      const why = h("textarea", { rows: "2", maxlength: "1000", required: needed });
      const said = h("p", { class: "bad-words", role: "alert" });
      const yes = button(verb, async () => {
        if (needed && !why.value.trim()) {
          fill(said, "Say why: this needs a reason.");
          why.focus();
          return;
        }
        yes.disabled = true;
        fill(said);
        try {
          await act(why.value.trim(), said);
          done = true;
          close();
        } catch (error) {
          fill(said, error.message);
          yes.disabled = false;
        }
      }, { class: final ? "danger" : "primary" });
      fill(body, h("p", { class: "consequence" }, about), more,
        reason ? labelled(needed ? "Reason (needed)" : "Reason", why) : null, said,
        ends(button("Back", close), yes));
    });
    box.addEventListener("close", () => resolve(done));
  });
}
