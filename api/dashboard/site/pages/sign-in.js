// Sign in: a token or an API key, or a name where callers say who they are.

import { alarm, ends, fill, h, labelled } from "../parts/dom.js";
import { signIn } from "../parts/session.js";

export function signInPage({ named, detail, begin }) {
  const given = h("input", {
    type: named ? "text" : "password", name: named ? "actor" : "token", required: true,
    autocomplete: "off", spellcheck: "false", maxlength: named ? "200" : "20000",
  });
  const said = alarm(detail);
  const form = h("form.panel.sign-in", { on: { submit: entered } },
    h("h1", "Sign in"),
    h("p", named
      ? "Say who you are: the name goes into the audit trail of all that you do."
      : "With a token or an API key. It stays in this tab, and is forgotten with it."),
    labelled(named ? "Your name" : "Token or API key", given), said,
    ends(h("button.primary", "Sign in")));

  function entered(event) {
    event.preventDefault();
    const text = given.value.trim();
    if (!/^[\x21-\x7e][\x20-\x7e]*$/.test(text)) {
      fill(said, "Only letters, digits and signs of ASCII can be sent as a header.");
      return;
    }
    signIn(named ? { actor: text } : { token: text });
    begin();
  }
  setTimeout(() => given.focus());
  return form;
}
