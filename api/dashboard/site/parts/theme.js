// Light, dark, or as the system has it.

import { choice } from "./dom.js";

const KEPT = "countermand.theme";

export function applyTheme(name = localStorage.getItem(KEPT) ?? "system") {
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
}

export function themeChoice() {
  const now = localStorage.getItem(KEPT) ?? "system";
  return choice([["system", "Auto"], ["light", "Light"], ["dark", "Dark"]], now, (name) => {
    localStorage.setItem(KEPT, name);
    applyTheme(name);
    dispatchEvent(new Event("themechange"));
  }, { "aria-label": "Theme", title: "Theme" });
}
