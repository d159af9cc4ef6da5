// The dashboard begins here: who one is, the bar above, and which page is shown.

import { API, get, whenSignedOut } from "./parts/api.js";
import { button, fill, grow, h } from "./parts/dom.js";
import { start, stop, watch } from "./parts/live.js";
import { failed, notice } from "./parts/notices.js";
import { here } from "./parts/route.js";
import { may, session, signOut } from "./parts/session.js";
import { ageAll, link } from "./parts/shown.js";
import { applyTheme, themeChoice } from "./parts/theme.js";
import { signInPage } from "./pages/sign-in.js";

const PAGES = {
  jobs: { words: "Jobs", load: () => import("./pages/jobs.js"), one: () => import("./pages/job.js"), permission: "view" },
  submit: { words: "Submit", load: () => import("./pages/submit.js"), permission: "submit" },
  systems: { words: "Systems", load: () => import("./pages/systems.js"), permission: "participate" },
  operations: { words: "Operations", load: () => import("./pages/operations.js"), permission: "view" },
};

const main = document.getElementById("main");
let leave = () => {}, shown = "", turn = 0;

applyTheme();
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
addEventListener("hashchange", () => show().catch(failed));
whenSignedOut((said) => askWho(said.detail));
setInterval(ageAll, 10_000);
begin();

async function begin() {
  // The page comes while the server is asked who one is.
  load(here().parts).catch(() => {});
  try {
    session.me = await get(`${API}/me`);
  } catch (error) {
    if (error.status !== 401) {
      fill(main, h("p", { class: "empty" }, error.message));
      setTimeout(begin, 2000);
    }
    return;
  }
  if (session.me.mode === "named" && session.me.actor === "local") return askWho("");
  drawBar();
  start();
  shown = "";
  await show().catch(failed);
}

/** Without a token, or with one that is refused: the page is closed until there is another. */
function askWho(detail) {
  const named = session.me?.mode === "named";
  stop();
  close();
  fill(document.getElementById("bar"), brand(), grow(), themeChoice());
  fill(main, signInPage({ named, detail: session.token ? detail : "", begin }));
  document.title = "Sign in - Countermand";
}

async function show() {
  if (!session.me) return;
  const { parts, parameters } = here();
  const name = PAGES[parts[0]] ? parts[0] : "jobs";
  const place = parts[1] ? `${name}/${parts[1]}` : name;
  markCurrent(name);
  if (place === shown) {
    main.dispatchEvent(new CustomEvent("moved", { detail: { parts, parameters } }));
    return;
  }
  const mine = turn += 1;
  close();
  const page = await load(parts);
  if (mine !== turn) return;
  shown = place;
  fill(main);
  leave = page.show(main, { parts, parameters }) ?? (() => {});
  scrollTo(0, 0);
}

function load([name, one]) {
  const page = PAGES[name] ?? PAGES.jobs;
  return (one && page.one || page.load)();
}

function close() {
  leave();
  leave = () => {};
  shown = "";
}

function drawBar() {
  const dot = h("span", { class: "live", role: "status" });
  const links = Object.entries(PAGES).filter(([, { permission }]) => may(permission))
    .map(([name, { words }]) => link(`#/${name}`, words, { "data-page": name }));
  const who = h("span", { class: "who", title: `Tenant ${session.me.tenant}, known as ${session.me.mode}` },
    `${session.me.actor} · ${session.me.tenant}`);
  const out = session.me.mode === "local" ? null : button("Sign out", () => {
    signOut();
    askWho("");
    notice("Signed out. The token is forgotten.");
  });
  fill(document.getElementById("bar"), brand(), h("nav", { "aria-label": "Pages" }, links),
    grow(), dot, who, themeChoice(), out);
  watch((state) => {
    dot.dataset.state = state;
    fill(dot, { live: "Live", away: "Reconnecting", off: "Off" }[state]);
  });
}

function brand() {
  return link("#/jobs", "Countermand", { class: "brand" });
}

function markCurrent(name) {
  for (const each of document.querySelectorAll("#bar nav a")) {
    if (each.dataset.page === name) each.setAttribute("aria-current", "page");
    else each.removeAttribute("aria-current");
  }
}
