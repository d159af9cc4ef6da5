// What happens to all jobs, as it happens: one stream a tab, opened again whenever it breaks.
// It goes on behind the last id that was seen, so nothing is missed; after a long absence what is
// shown is read again instead (`gap`). Why the browser does not reopen it is said in ADR 0032.

import { get, place, post } from "./api.js";
import { PASSING, STORED } from "./event-names.js";
import { session } from "./session.js";

const PATIENCE = [300, 600, 1200, 2500, 5000, 10_000];
const LONG = 120_000, SOON = 1000, HIDDEN = 30_000, BEAT = 20_000;

const listeners = new Set();
let watcher = () => {}, source = null, timer = 0, failures = 0, position = "", lost = 0, running = false, asleep = false, falling = 0, beat = Date.now();

/** Be told of events, and of gaps after which only reading again helps; returns the way out. */
export function follow(event, gap) {
  const each = { event, gap };
  listeners.add(each);
  return () => listeners.delete(each);
}

/** Be told whether the stream is open (`live`), being opened (`away`) or closed (`off`). */
export function watch(listener) {
  watcher = listener;
  tell();
}

export function start() {
  if (running) return;
  running = true;
  open();
  if (document.hidden) looked();
}

export function stop() {
  running = false;
  clearTimeout(timer);
  source?.close();
  source = null;
  position = "";
  failures = lost = 0;
  tell();
}

addEventListener("online", again);
document.addEventListener("visibilitychange", looked);
setInterval(tick, BEAT);

/** A beat that comes late has slept with its machine, and the stream is no more what it seems. */
function tick() {
  if (Date.now() - beat > LONG) { position = ""; broken(); }
  beat = Date.now();
}

/** A browser opens few connections to a server: a tab at which nobody looks soon leaves its own to others. */
function looked() {
  clearTimeout(falling);
  asleep = false;
  if (document.hidden) falling = setTimeout(sleep, HIDDEN);
  else again();
}

function sleep() {
  asleep = true;
  broken();
  clearTimeout(timer);
}

function again() {
  if (!running || source || asleep) return;
  clearTimeout(timer);
  open();
}

async function open() {
  const { token } = session;
  let from;
  try {
    from = await way();
  } catch (error) {
    if (token !== session.token) return;
    if ([401, 403].includes(error.status)) stop();
    else broken();
    return;
  }
  if (!running || source || asleep || token !== session.token) return;
  source = new EventSource(from);
  source.addEventListener("open", opened);
  source.addEventListener("error", broken);
  for (const name of [...STORED, ...PASSING]) source.addEventListener(name, taken);
}

/** The address of the stream, behind what was seen already. */
async function way() {
  if (lost && Date.now() - lost > LONG) position = "";
  const proven = session.me?.mode === "proven";
  // An EventSource cannot tell a server that is away from one that knows no such place.
  if (!proven && failures > 2) await get("me").then(() => { position = ""; });
  const from = proven ? (await post("events/ticket")).links.events : place("events");
  if (failures > 4) position = "";
  return position ? `${from}${proven ? "&" : "?"}last_event_id=${position}` : from;
}

function opened() {
  failures = 0;
  // What happened after a page was read, and before the stream was there, nobody tells.
  const first = !lost;
  if (!position) setTimeout(() => listeners.forEach(({ gap }) => gap(first)), first ? SOON : 0);
  lost = 0;
  tell();
}

function broken() {
  source?.close();
  source = null;
  if (!running) return;
  // Noticed now, it may have broken long ago, in a sleep.
  lost ||= beat;
  const wait = PATIENCE[failures] ?? PATIENCE.at(-1);
  failures += 1;
  clearTimeout(timer);
  timer = setTimeout(again, wait * (0.75 + Math.random() / 2));
  tell();
}

function taken(event) {
  if (event.lastEventId) position = event.lastEventId;
  if (event.type === "stream.opened") return;
  const said = JSON.parse(event.data);
  listeners.forEach((each) => each.event(event.type, said));
}

function state() {
  if (!running) return "off";
  return source?.readyState === EventSource.OPEN ? "live" : "away";
}

function tell() {
  watcher(state());
}
