// The jobs of a batch with what each comes after, as a graph whose nodes are links.

import { h, panel, svg } from "../parts/dom.js";
import { cut, number, spoken, tone } from "../parts/words.js";
import { address } from "../parts/route.js";

const WIDE = 190, HIGH = 58, ACROSS = 60, DOWN = 18;

/** Where each step stands: behind all that it comes after. Pure. */
function layout(steps) {
  const known = new Map(steps.map((step) => [step.name, step])), levels = new Map();
  const level = (name) => {
    if (!levels.has(name)) {
      levels.set(name, 0);
      levels.set(name, Math.max(0, ...known.get(name).after.filter((each) => known.has(each)).map((each) => level(each) + 1)));
    }
    return levels.get(name);
  };
  const rows = [];
  return steps.map((step) => {
    const column = level(step.name), row = rows[column] ?? 0;
    rows[column] = row + 1;
    return { step, x: column * (WIDE + ACROSS), y: row * (HIGH + DOWN) };
  });
}

export function graph(steps) {
  const placed = layout(steps), places = new Map(placed.map((each) => [each.step.name, each]));
  const wide = Math.max(...placed.map(({ x }) => x)) + WIDE + 4, high = Math.max(...placed.map(({ y }) => y)) + HIGH + 4;
  const lines = placed.flatMap(({ step, x, y }) => step.after.filter((each) => places.has(each)).map((each) => {
    const from = places.get(each), x1 = from.x + WIDE, y1 = from.y + HIGH / 2, y2 = y + HIGH / 2, half = (x - x1) / 2;
    return svg("path.edge", { d: `M${x1} ${y1} C${x1 + half} ${y1} ${x - half} ${y2} ${x} ${y2}` });
  }));
  const nodes = placed.map(({ step, x, y }) => svg(`a.node.${tone(step.status)}`, { href: address(["jobs", step.job_id]), transform: `translate(${x} ${y})` },
  svg("rect", { width: WIDE, height: HIGH, rx: 6 }), svg("rect.side", { width: 5, height: HIGH, rx: 2 }),
  svg("text.strong", { x: 14, y: 19 }, cut(step.name, 20)), svg("text", { x: 14, y: 35 }, cut(step.operation, 26)),
  svg("text", { x: 14, y: 50 }, `${spoken(step.status)} · ${number(step.counts.total)}${step.savepoint ? ` · ⚑ ${cut(step.savepoint, 8)}` : ""}`)));
  return panel("Steps",
    h("div.scroll", { tabindex: "0", role: "region", "aria-label": "Graph of the steps" },
      svg("svg.graph", { width: wide, height: high, viewBox: `-2 -2 ${wide} ${high}` }, lines, nodes)));
}
