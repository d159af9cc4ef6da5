// Short notices in a corner, which are read aloud and go by themselves.

import { button, h } from "./dom.js";

const AT_MOST = 4;

export function notice(words, tone = "good") {
  const place = document.getElementById("notices");
  const note = h("div", { class: `notice ${tone}` }, h("span", {}, words));
  note.append(button("×", () => note.remove(), { class: "close", "aria-label": "Dismiss" }));
  place.append(note);
  while (place.children.length > AT_MOST) place.firstChild.remove();
  setTimeout(() => note.remove(), tone === "bad" ? 20_000 : 8000);
}

/** What went wrong, in the server's words; nothing for what was given up on purpose. */
export function failed(error) {
  if (error.name === "AbortError" || error.status === 401) return;
  notice(error.message, "bad");
}
