// Operations: how the installation is, who works in it, what it shares, and who is told.

import { API, ask, get, post } from "../parts/api.js";
import { bdi, button, code, facts, fill, h, labelled, quiet, table } from "../parts/dom.js";
import { confirm } from "../parts/dialog.js";
import { bytes, count, duration, moment, number, rate } from "../parts/format.js";
import { failed, notice } from "../parts/notices.js";
import { may } from "../parts/session.js";
import { chip } from "../parts/shown.js";

const EVERY = 5000;

export function show(place) {
  document.title = "Operations - Countermand";
  const giveUp = new AbortController(), { signal } = giveUp;
  const parts = [health, workers, partitions, letters, limits, connections, webhooks].filter(({ needs }) => !needs || may(needs))
    .map((part) => ({ part, drawn: h("section", { class: "panel" }) }));
  fill(place, h("h1", {}, "Operations"), h("div", { class: "stack" }, parts.map(({ drawn }) => drawn)));
  const update = () => Promise.all(parts.map(async ({ part, drawn }) => {
    if (drawn.contains(document.activeElement)) return;
    try { fill(drawn, h("h2", {}, part.words), await part.draw(signal, again)); } catch (error) {
      if (error.name !== "AbortError") fill(drawn, h("h2", {}, part.words), h("p", { class: "bad-words" }, error.message));
    }
  }));
  const again = () => { document.activeElement?.blur(); update(); };
  update();
  const timer = setInterval(() => { if (!document.hidden) update(); }, EVERY);
  return () => { giveUp.abort(); clearInterval(timer); };
}

const health = { words: "Health", draw: async (signal) => {
  const [ready, text] = await Promise.all([
    get("/health/ready", {}, { signal }).catch((error) => ({ status: error.message })),
    ask("GET", "/metrics", { signal }).then((answer) => answer.text())]);
  const counted = readMetrics(text);
  return [facts([["State", ready.status === "ready" ? h("span", { class: "chip good" }, "ready") : h("span", { class: "bad-words" }, ready.status)],
    ["Messages that wait", number(counted.get("countermand_messages_waiting"))],
    ["Live streams", number(counted.get("countermand_live_streams"))]]),
  ready.notes?.length ? h("ul", {}, ready.notes.map((note) => h("li", {}, note))) : null,
  h("details", {}, h("summary", {}, "All that is counted"), table("Metrics", ["Name", "Value"], [...counted].map(([name, value]) => [code(name), number(value)])))];
} };

/** Gauges and sums of the text format of Prometheus, without those by label or bucket. Pure. */
export function readMetrics(text) {
  const found = new Map();
  for (const line of text.split("\n")) {
    const said = /^(countermand_[a-z_]+)(?:\{[^}]*\})? ([-+0-9.eE]+)$/.exec(line);
    if (said && !said[1].endsWith("_created") && !said[1].endsWith("_bucket")) found.set(said[1], (found.get(said[1]) ?? 0) + Number(said[2]));
  }
  return found;
}

const workers = { words: "Workers", needs: "operate", draw: async (signal) => {
  const { items } = await get(`${API}/workers`, {}, { signal });
  return table("Workers", ["Worker", "Systems", "Slots", "Memory", "CPU", "Alive", "Held"], items.map((each) => [
    bdi(each.name), bdi(each.systems.join(", ")), number(each.slots), `${bytes(each.memory_bytes)}${each.memory_budget_bytes ? ` of ${bytes(each.memory_budget_bytes)}` : ""}`,
    each.cpu_percent === null ? "" : `${each.cpu_percent} %`, duration(each.alive_seconds), each.held_since ? moment(each.held_since) : ""]), "No worker is alive.");
} };

/** A row a topic: which of its partitions lag, and by how much. */
const partitions = { words: "Partitions and lag", needs: "operate", draw: async (signal) => {
  const { items } = await get(`${API}/partitions`, {}, { signal });
  const sum = (all, name) => all.reduce((total, each) => total + (each[name] ?? 0), 0);
  return table("Partitions and lag", ["Topic", "Worked on by", "Partitions", "Messages", "Waiting", "Of them"], [...Map.groupBy(items, ({ topic }) => topic)].map(([topic, all]) => [
    code(topic), bdi(all[0].group), number(all.length), number(sum(all, "end")), number(sum(all, "waiting")),
    bdi(all.filter(({ waiting }) => waiting).map(({ partition, waiting }) => `${number(waiting)} in ${partition}`).join(", "))]), "There is no topic.");
} };

const letters = { words: "Dead letters", needs: "operate", draw: async (signal, again) => {
  const { items, others } = await get(`${API}/letters`, {}, { signal });
  return [table("Dead letters", ["Code", "Topic", "Letters", "Latest cause", ""], items.map((each) => [
    code(each.code), code(each.topic), number(each.letters), bdi(`${each.reason} (${each.key}, at ${each.place})`),
    button("Send again", () => redrive(each, again), { "aria-label": `Send ${each.code} again` })]), "Every message could be handled."),
  others ? quiet(`${count(others, "further message")} there can be told apart by nobody.`) : null];
} };

function redrive({ code }, again) {
  return confirm({ title: `Send letters of ${code} again?`, verb: "send", reason: false,
    about: "Sends what no earlier run has sent to where it was. What was handled meanwhile has no effect; what cannot be read still comes back.",
    act: async () => {
      const said = await post(`${API}/letters/${code}/redrive`);
      notice(`${count(said.sent, "letter")} sent again${said.left ? `, ${number(said.left)} cannot be` : ""}.${said.more ? " There are more." : ""}`);
      again();
    } }).catch(failed);
}

const limits = { words: "Limits that jobs share", needs: "operate", draw: async (signal, again) => {
  const { items } = await get(`${API}/limits`, {}, { signal });
  return [table("Limits", ["Name", "Rate", "Concurrency", "Calls now", "Jobs", "Waiting", ""], items.map((each) => [
    code(each.name), rate(each.rate), number(each.concurrency), number(each.calls), number(each.jobs), number(each.waiting), button("Change", () => changeLimit(each, again))]), "No limit is set."),
  h("div", { class: "row" }, button("Set a limit", () => changeLimit({ name: "", rate: null, concurrency: null }, again)))];
} };

function changeLimit(limit, again) {
  const name = h("input", { value: limit.name, placeholder: "provider:openai or queue:annotations", required: true });
  const speed = h("input", { type: "number", min: "0", step: "any", value: limit.rate ?? "" }), calls = h("input", { type: "number", min: "1", value: limit.concurrency ?? "" });
  return confirm({
    title: "Set a limit that jobs share", verb: "set", reason: false, about: "Of all jobs of all tenants together, obeyed within two seconds.",
    more: [labelled("Name", name), labelled("Rate: items a second (empty: no limit)", speed), labelled("Concurrency: calls at once (empty: no limit)", calls)],
    act: async () => {
      const wanted = {}, lift = [];
      for (const [key, field] of [["rate", speed], ["concurrency", calls]]) {
        if (field.value) wanted[key] = Number(field.value);
        else if (limit[key] !== null) lift.push(key);
      }
      if (lift.length) wanted.lift = lift;
      await post(`${API}/limits/${encodeURIComponent(name.value.trim())}`, wanted);
      notice("The limit holds from now on.");
      again();
    },
  });
}

const connections = { words: "Connections", needs: "administer", draw: async (signal) => {
  const said = await get(`${API}/connections`, {}, { signal });
  return facts(Object.entries(said).map(([name, value]) => [name, typeof value === "number" ? number(value) : JSON.stringify(value)]));
} };

const webhooks = { words: "Webhooks", needs: "administer", draw: async (signal, again) => {
  const { items } = await get(`${API}/webhooks`, {}, { signal });
  const dead = await Promise.all(items.map((each) => get(`${API}/webhooks/${each.webhook_id}/deliveries`, { state: "dead", limit: 100 }, { signal }).catch(() => ({ items: [] }))));
  return table("Webhooks", ["Address", "Events", "State", "Dead deliveries", ""], items.map((each, place) => [
    bdi(each.url), bdi(each.events.join(", ")), each.enabled ? chip("enabled") : h("span", {}, chip("disabled"), " ", each.disabled ?? ""),
    number(dead[place].items.length), [each.enabled ? null : button("Enable", () => enable(each, again)), dead[place].items.length ? button("Replay the dead", () => replay(each, dead[place].items.length, again)) : null]]), "Nobody is told by webhooks.");
} };

function enable(webhook, again) {
  return post(`${API}/webhooks/${webhook.webhook_id}`, { enabled: true }, { method: "PATCH" }).then(again, failed);
}

function replay(webhook, dead, again) {
  return confirm({ title: "Send the dead deliveries again?", verb: "replay", reason: false,
    about: `Sends ${count(dead, "message")} to ${webhook.url} again, under their first ids.`,
    act: async () => { notice((await post(`${API}/webhooks/${webhook.webhook_id}/replay`, {})).replayed + " are sent again"); again(); } }).catch(failed);
}
