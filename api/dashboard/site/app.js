// The dashboard begins here: who one is, the bar above, and which page is shown.

import { get, whenSignedOut } from "./parts/api.js";
import { ageAll, button, failed, fill, grow, h, notice } from "./parts/dom.js";
import { start, stop, watch } from "./parts/live.js";
import { here, link } from "./parts/route.js";
import { may, session, signOut } from "./parts/session.js";
import { applyTheme, themeChoice } from "./parts/theme.js";
import { signInPage } from "./pages/sign-in.js";

const PAGES = {
  jobs: { words: "Jobs", load: () => import("./pages/jobs.js"), one: () => import("./pages/job.js"), permission: "view" },
  submit: { words: "Submit", load: () => import("./pages/submit.js"), permission: "submit" },
  systems: { words: "Systems", load: () => import("./pages/systems.js"), permission: "participate" },
  operations: { words: "Operations", load: () => import("./pages/operations.js"), permission: ["view", "operate", "administer"] },
};

const main = document.getElementById("main"), bar = document.getElementById("bar");
let leave = () => {}, shown = "", turn = 0, named = false;

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
    session.me = await get("me");
  } catch (error) {
    if (error.status !== 401) {
      fill(main, h("p.empty", error.message));
      setTimeout(begin, 2000);
    }
    return;
  }
  named = session.me.mode === "named";
  if (named && session.me.actor === "local") return askWho("");
  drawBar();
  if (may("view")) start();
  await show().catch(failed);
}

/** Without a token, or with one that is refused: the page is closed until there is another. */
function askWho(detail) {
  stop();
  close();
  fill(bar, brand(), grow(), themeChoice());
  fill(main, signInPage({ named, detail: session.token ? detail : "", begin }));
  document.title = "Sign in - Countermand";
}

async function show() {
  if (!session.me) return;
  const { parts, parameters } = here(), mine = turn += 1;
  const name = PAGES[parts[0]] ? parts[0] : permitted()[0] ?? "jobs";
  const place = parts[1] ? `${name}/${parts[1]}` : name;
  markCurrent(name);
  if (place === shown) {
    main.dispatchEvent(new CustomEvent("moved", { detail: { parts, parameters } }));
    return;
  }
  const page = await load([name, parts[1]]).catch(() => ({ show: older }));
  if (mine !== turn) return;
  close();
  shown = place;
  fill(main);
  leave = page.show(main, { parts, parameters }) ?? (() => {});
  // Who has come from another page begins at the top of this one.
  if (mine > 1) main.focus({ preventScroll: true });
  scrollTo(0, 0);
}

/** In place of a page that the server has no more: it is of another release by now, or away. */
function older() {
  fill(main, h("div.empty", h("p", "This page could not be fetched: the server may have another release by now."), button("Load the page again", () => location.reload())));
}

/** The pages that there are for whoever is here. */
function permitted() {
  return Object.keys(PAGES).filter((name) => may(PAGES[name].permission));
}

function load([name, one]) {
  const page = PAGES[name] ?? PAGES.jobs;
  return (one && page.one || page.load)();
}

function close() {
  leave();
  leave = () => {};
  shown = "";
  turn += 1;
  for (const box of document.querySelectorAll("dialog")) box.close();
}

function drawBar() {
  const dot = h("span.live", { role: "status" });
  const links = permitted().map((name) => link([name], PAGES[name].words, { "data-page": name }));
  const who = h("span.who", { title: `Tenant ${session.me.tenant}, known as ${session.me.mode}` },
    `${session.me.actor} · ${session.me.tenant}`);
  const out = session.me.mode === "local" ? null : button("Sign out", () => {
    signOut();
    askWho("");
    notice("Signed out. The token is forgotten.");
  });
  fill(bar, brand(), h("nav", { "aria-label": "Pages" }, links),
    grow(), dot, who, themeChoice(), out);
  watch((state) => {
    dot.dataset.state = state;
    fill(dot, { live: "Live", away: "Reconnecting", off: "Off" }[state]);
  });
}

function brand() {
  return link([], "Countermand", { class: "brand" });
}

function markCurrent(name) {
  for (const each of bar.querySelectorAll("nav a")) each.ariaCurrent = each.dataset.page === name ? "page" : null;
}
