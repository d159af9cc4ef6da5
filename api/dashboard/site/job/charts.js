import { fill, h, panel, quiet } from "../parts/dom.js";
import { milliseconds, rate } from "../parts/words.js";
import { plot } from "../parts/plot.js";

const BINS = 240;

export function charts() {
  const names = ["Throughput", "Latency of chunks"];
  const places = names.map((name) => h("div.chart", { role: "img", "aria-label": name }));
  const drawn = h("div.two", names.map((name, at) => panel(name, places[at])));
  let known = [], wide = 0;
  const resized = new ResizeObserver(() => {
    if (wide === drawn.clientWidth) return;
    wide = drawn.clientWidth;
    known.forEach(draw);
  });
  resized.observe(drawn);

  function draw([data, format], at) {
    places[at].ariaLabel = summaryOf(names[at], data[1], format);
    if (data[0].length < 2) fill(places[at], quiet("Too little has happened yet."));
    else plot(places[at], data, format);
  }

  async function update(history, read) {
    const { items } = await read("progress", { points: BINS });
    known = [[ratesOf(items), rate], [binned(history.latencies, BINS), milliseconds]];
    known.forEach(draw);
  }

  return { drawn, update, close: () => resized.disconnect() };
}

/** Items settled a second, between moments at least a second apart. Pure. */
function ratesOf(points) {
  const found = [[], []];
  let from = null;
  for (const { at, counts } of points) {
    const now = Date.parse(at) / 1000, settled = counts.total - counts.pending + (counts.rolled_back ?? 0);
    if (from && now - from.now < 0.5) continue;
    if (from) {
      found[0].push(now);
      found[1].push(Math.max(0, settled - from.settled) / (now - from.now));
    }
    from = { now, settled };
  }
  return found;
}

/** The means of so many stretches of time; what was told together is one point. Pure. */
function binned(pairs, bins) {
  if (!pairs.length) return [[], []];
  const first = pairs[0][0], step = (pairs.at(-1)[0] - first) / bins || 1;
  const stretches = [...Map.groupBy(pairs, ([at]) => Math.min(bins - 1, Math.floor((at - first) / step)))].sort(([a], [b]) => a - b);
  return [stretches.map(([bin]) => first + bin * step), stretches.map(([, all]) => mean(all.map(([, value]) => value)))];
}

function mean(values) {
  return values.reduce((sum, each) => sum + each, 0) / values.length;
}

function summaryOf(name, values, format) {
  if (!values.length) return `${name}: nothing yet`;
  return `${name}: mean ${format(mean(values))}, highest ${format(Math.max(...values))}, latest ${format(values.at(-1))}`;
}
