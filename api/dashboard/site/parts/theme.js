// Light, dark, or as the system has it.

import { choice } from "./dom.js";

const KEPT = "countermand.theme";

const kept = () => localStorage.getItem(KEPT) ?? "system";

export function applyTheme(name = kept()) {
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
}

export function themeChoice() {
  return choice([["system", "Auto"], ["light", "Light"], ["dark", "Dark"]], kept(), (name) => {
    localStorage.setItem(KEPT, name);
    applyTheme(name);
    dispatchEvent(new Event("themechange"));
  }, { "aria-label": "Theme", title: "Theme" });
}
