// Operations: how the installation is, who works in it, what it shares, and who is told.

import { get, post, reader } from "../parts/api.js";
import { bdi, button, chip, code, facts, fill, h, labelled, notice, quiet, refill, table } from "../parts/dom.js";
import { LIMITS, confirm, numbers } from "../parts/dialog.js";
import { bytes, count, duration, moment, number, rate } from "../parts/words.js";
import { may } from "../parts/session.js";

const EVERY = 5000;

export function show(place) {
  document.title = "Operations - Countermand";
  const giveUp = new AbortController(), { signal } = giveUp;
  const parts = [health, workers, partitions, letters, limits, connections, webhooks].filter(({ needs }) => !needs || may(needs))
    .map((part) => ({ part, drawn: h("section.panel") }));
  fill(place, h("h1", "Operations"), h("div.stack", parts.map(({ drawn }) => drawn)));
  let timer = 0;
  const { read } = reader(async () => {
    clearTimeout(timer);
    await Promise.all(parts.map(update));
    if (!signal.aborted) timer = setTimeout(next, EVERY);
  });
  read();

  async function update({ part, drawn }) {
    const said = await part.read(signal).catch((error) => ({ refused: error.message }));
    if (!signal.aborted) refill(drawn, said, () => [h("h2", part.words), said.refused ? h("p.bad-words", said.refused) : part.draw(said, read)]);
  }

  function next() {
    if (document.hidden) timer = setTimeout(next, EVERY);
    else read();
  }
  return () => { giveUp.abort(); clearTimeout(timer); };
}

/** What is read of one place of the API. */
const of = (path) => (signal) => get(path, {}, signal);

const health = { words: "Health", read: async (signal) => {
  const [ready, counted] = await Promise.all([
    get("/health/ready", {}, signal).catch((error) => ({ status: error.message })),
    get("/metrics", {}, signal, readMetrics)]);
  return { ready, counted: [...counted] };
}, draw: ({ ready, counted }) => {
  const metrics = new Map(counted);
  return [facts([["State", ready.status === "ready" ? h("span.chip.good", "ready") : h("span.bad-words", ready.status)],
    ["Messages that wait", metrics.get("countermand_messages_waiting")],
    ["Live streams", metrics.get("countermand_live_streams")]]),
  ready.notes?.length ? h("ul", ready.notes.map((note) => h("li", note))) : null,
  h("details", h("summary", "All that is counted"), table("Metrics", ["Name", "Value"], counted.map(([name, value]) => [code(name), value])))];
} };

/** Gauges and sums of the text format of Prometheus, without those by label or bucket. Pure. */
function readMetrics(text) {
  const found = new Map();
  for (const line of text.split("\n")) {
    const said = /^(countermand_[a-z_]+)(?:\{[^}]*\})? ([-+0-9.eE]+)$/.exec(line);
    if (said && !said[1].endsWith("_created") && !said[1].endsWith("_bucket")) found.set(said[1], (found.get(said[1]) ?? 0) + Number(said[2]));
  }
  return found;
}

const workers = { words: "Workers", needs: "operate", read: of("workers"), draw: ({ items }) => table("Workers", ["Worker", "Systems", "Slots", "Memory", "CPU", "Alive", "Held"], items.map((each) => [
    bdi(each.name), bdi(each.systems.join(", ")), each.slots, `${bytes(each.memory_bytes)}${each.memory_budget_bytes ? ` of ${bytes(each.memory_budget_bytes)}` : ""}`,
    each.cpu_percent === null ? "" : `${each.cpu_percent} %`, duration(each.alive_seconds), each.held_since ? moment(each.held_since) : ""]), "No worker is alive.") };

/** A row a topic: which of its partitions lag, and by how much. */
const partitions = { words: "Partitions and lag", needs: "operate", read: of("partitions"), draw: ({ items }) => {
  const sum = (all, name) => all.reduce((total, each) => total + (each[name] ?? 0), 0);
  return table("Partitions and lag", ["Topic", "Worked on by", "Partitions", "Messages", "Waiting", "Of them"], [...Map.groupBy(items, ({ topic }) => topic)].map(([topic, all]) => [
    code(topic), bdi(all[0].group), all.length, sum(all, "end"), sum(all, "waiting"),
    bdi(all.filter(({ waiting }) => waiting).map(({ partition, waiting }) => `${number(waiting)} in ${partition}`).join(", "))]), "There is no topic.");
} };

const letters = { words: "Dead letters", needs: "operate", read: of("letters"), draw: ({ items, others }, again) => [table("Dead letters", ["Code", "Topic", "Letters", "Latest cause", ""], items.map((each) => [
    code(each.code), code(each.topic), each.letters, bdi(`${each.reason} (${each.key}, at ${each.place})`),
    button("Send again", () => redrive(each, again), { "aria-label": `Send ${each.code} again` })]), "Every message could be handled."),
  others ? quiet(`${count(others, "further message")} there can be told apart by nobody.`) : null] };

function redrive({ code }, again) {
  return confirm({ title: `Send letters of ${code} again?`, verb: "send", reason: false,
    about: "Sends what no earlier run has sent to where it was. What was handled meanwhile has no effect; what cannot be read still comes back.",
    act: async (_, post) => {
      const said = await post(`letters/${code}/redrive`);
      notice(`${count(said.sent, "letter")} sent again${said.left ? `, ${number(said.left)} cannot be` : ""}.${said.more ? " There are more." : ""}`);
      again();
    } });
}

const limits = { words: "Limits that jobs share", needs: "operate", read: of("limits"), draw: ({ items }, again) => [table("Limits", ["Name", "Rate", "Concurrency", "Calls now", "Jobs", "Waiting", ""], items.map((each) => [
    code(each.name), rate(each.rate), number(each.concurrency), each.calls, each.jobs, each.waiting, button("Change", () => changeLimit(each, again), { "aria-label": `Change ${each.name}` })]), "No limit is set."),
  h("div.row", button("Set a limit", () => changeLimit({ name: "" }, again)))] };

function changeLimit(limit, again) {
  const name = h("input", { value: limit.name, placeholder: "provider:openai or queue:annotations", required: true }), fields = numbers(limit, LIMITS);
  return confirm({
    title: "Set a limit that jobs share", verb: "set", reason: false, about: "Of all jobs of all tenants together, obeyed within two seconds.",
    more: [labelled("Name", name), fields.drawn],
    act: async (_, post) => {
      await post(`limits/${encodeURIComponent(name.value.trim())}`, fields.changed());
      notice("The limit holds from now on.");
      again();
    },
  });
}

const connections = { words: "Connections", needs: "administer", read: of("connections"), draw: (said) =>
  facts(Object.entries(said).map(([name, value]) => [name, typeof value === "number" ? value : JSON.stringify(value)])) };

const webhooks = { words: "Webhooks", needs: "administer", read: async (signal) => {
  const { items } = await of("webhooks")(signal);
  return Promise.all(items.map(async (each) => ({ ...each, dead: (await of(`webhooks/${each.webhook_id}/deliveries?state=dead&limit=100`)(signal).catch(() => ({ items: [] }))).items.length })));
}, draw: (items, again) => table("Webhooks", ["Address", "Events", "State", "Dead deliveries", ""], items.map((each) => [
    bdi(each.url), bdi(each.events.join(", ")), each.enabled ? chip("enabled") : h("span", chip("disabled"), " ", each.disabled ?? ""),
    each.dead, [each.enabled ? null : button("Enable", () => enable(each, again)), each.dead ? button("Replay the dead", () => replay(each, again)) : null]]), "Nobody is told by webhooks.") };

function enable(webhook, again) {
  return post(`webhooks/${webhook.webhook_id}`, { enabled: true }, { method: "PATCH" }).then(again);
}

function replay(webhook, again) {
  return confirm({ title: "Send the dead deliveries again?", verb: "replay", reason: false,
    about: `Sends ${count(webhook.dead, "message")} to ${webhook.url} again, under their first ids.`,
    act: async (_, post) => { notice((await post(`webhooks/${webhook.webhook_id}/replay`)).replayed + " are sent again"); again(); } });
}
