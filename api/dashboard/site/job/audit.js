// The audit trail: every stored event with who and why, the latest first or from the beginning.

import { bdi, button, chip, code, failed, fill, grow, h, quiet, refill, table, turns } from "../parts/dom.js";
import { count, moment, number } from "../parts/words.js";
import { link } from "../parts/route.js";

const PAGE = 100;

export function auditTab(place, view) {
  let after = null;
  const list = h("section.panel"), found = h("div", { role: "status" });
  const verify = button("Verify", async () => {
    fill(found, "Every stored byte of the job is being read…");
    fill(found, await view.read("verification").then(verdict, failed));
  });
  fill(place, h("section.panel", h("div.row", h("h2", "Is all of it as it was written?"), grow(), verify), found), list);

  async function update() {
    const job = view.job(), from = after ?? Math.max(0, job.version - PAGE);
    const [{ items }, chain] = await Promise.all(["events", "hashes"].map((what) => view.read(what, { after: from, limit: PAGE })));
    const hashes = new Map(chain.items.map(({ version, hash }) => [version, hash]));
    const seen = items.filter(({ version }) => version <= job.version).reverse();
    const go = (to) => () => { after = to; view.draw(); };
    refill(list, [seen, chain, from, job.version], () => [h("h2", "Audit trail"),
      quiet("Each event is chained to the one before it by its hash, and the last one is signed."),
      table("Audit trail", ["Version", "When", "Event", "Actor", "Status", "Said", "Hash"], seen.map((each) => [
        link(["jobs", job.job_id], number(each.version), { title: "The job at this version" }, { at: each.version }),
        moment(each.at), code(each.event), bdi(each.actor), chip(each.status), bdi(saidIn(each)), h("code", { title: hashes.get(each.version) ?? "" }, (hashes.get(each.version) ?? "").slice(0, 12))])),
      turns(from > 0 && go(Math.max(0, from - PAGE)), from + PAGE < job.version && go(from + PAGE + PAGE >= job.version ? null : from + PAGE))]);
  }
  return { update };
}

/** What verification has found, in words. */
function verdict(said) {
  const looked = `${count(said.events, "event")}, ${count(said.parts, "part")} of what was sent and ${count(said.outcomes, "outcome")} were read.`;
  return [h("p", h(`span.chip.${said.sound ? "good" : "bad"}`, said.sound ? "sound" : count(said.findings.length + said.more, "finding")), ` ${looked}`),
    said.signed ? null : h("p.bad-words", "The signatures are kept by another process, and were not looked at: countermand audit verify does, there."),
    said.findings.length ? table("Findings", ["Kind", "Version", "What"], said.findings.map((each) => [code(each.kind), number(each.version), bdi(each.message)])) : null];
}

/** What an event says beside its figures, in a line. Pure. */
function saidIn(event) {
  const parts = [];
  if (event.reason) parts.push(event.reason);
  if (event.force) parts.push("by force");
  if (Array.isArray(event.chunks)) parts.push(`${event.chunks.length} chunks`);
  if (typeof event.items === "number") parts.push(`${number(event.items)} items`);
  if (event.sha256) parts.push(`sha256 ${event.sha256.slice(0, 12)}…`);
  return parts.join(", ");
}
