// Throughput and latency over time.

import { API, get } from "../parts/api.js";
import { fill, h } from "../parts/dom.js";
import { milliseconds, rate } from "../parts/format.js";
import uPlot from "../vendor/uplot.js";
import { palette } from "./heatmap.js";

const HIGH = 170;
const BINS = 240;

export function charts(job) {
  const through = h("div", { class: "chart", role: "img" }), late = h("div", { class: "chart", role: "img" });
  const drawn = h("div", { class: "two" },
    h("section", { class: "panel" }, h("h2", {}, "Throughput"), through),
    h("section", { class: "panel" }, h("h2", {}, "Latency of chunks"), late));
  const plots = new Map(), known = new Map();

  const again = () => known.forEach(([data, words], place) => plot(place, data, words, true));
  addEventListener("themechange", again);
  const resized = new ResizeObserver(() => plots.forEach((each, place) => { if (each.width !== place.clientWidth) each.setSize({ width: place.clientWidth, height: HIGH }); }));
  resized.observe(drawn);

  function plot(place, data, said, fresh = false) {
    known.set(place, [data, said]);
    place.setAttribute("aria-label", said.summary);
    if (data[0].length < 2) { fill(place, h("p", { class: "quiet" }, "Too little has happened yet.")); plots.get(place)?.destroy(); plots.delete(place); return; }
    if (plots.has(place) && !fresh) { plots.get(place).setData(data); return; }
    plots.get(place)?.destroy();
    fill(place);
    const colours = palette(place);
    const axis = { stroke: colours.soft, grid: { stroke: colours.line, width: 1 }, ticks: { stroke: colours.line, width: 1 } };
    plots.set(place, new uPlot({
      width: place.clientWidth || 400, height: HIGH, legend: { show: false }, cursor: { y: false },
      axes: [axis, { ...axis, size: 64, values: (_, values) => values.map(said.format) }],
      scales: { y: { range: (_, low, high) => [0, high || 1] } },
      series: [{}, { stroke: colours.busy, width: 1.5, points: { show: data[0].length < 40, size: 4 } }],
    }, data, place));
  }

  async function update(history, signal) {
    const { items } = await get(`${API}/jobs/${job}/progress`, { points: BINS }, { signal });
    const rates = ratesOf(items);
    plot(through, rates, { format: rate, summary: summaryOf("Throughput", rates[1], rate) });
    const late_ = binned(history.latencies, BINS);
    plot(late, late_, { format: milliseconds, summary: summaryOf("Latency of chunks", late_[1], milliseconds) });
  }

  return { drawn, update, close: () => {
    removeEventListener("themechange", again);
    resized.disconnect();
    plots.forEach((each) => each.destroy());
  } };
}

/** Items settled a second, between moments at least a second apart. Pure. */
export function ratesOf(points) {
  const found = [[], []];
  let from = null;
  for (const { at, counts } of points) {
    const now = Date.parse(at) / 1000, settled = counts.total - counts.pending + (counts.rolled_back ?? 0);
    if (from === null) { from = { now, settled }; continue; }
    if (now - from.now < 0.5) continue;
    found[0].push(now);
    found[1].push(Math.max(0, settled - from.settled) / (now - from.now));
    from = { now, settled };
  }
  return found;
}

/** The means of so many stretches of time. Pure. */
export function binned(pairs, bins) {
  if (pairs.length <= bins) return [pairs.map(([at]) => at), pairs.map(([, value]) => value)];
  const first = pairs[0][0], step = (pairs.at(-1)[0] - first) / bins || 1;
  const sums = new Map();
  for (const [at, value] of pairs) {
    const bin = Math.min(bins - 1, Math.floor((at - first) / step));
    const sum = sums.get(bin) ?? [0, 0];
    sums.set(bin, [sum[0] + value, sum[1] + 1]);
  }
  const places = [...sums.keys()].sort((a, b) => a - b);
  return [places.map((bin) => first + bin * step), places.map((bin) => sums.get(bin)[0] / sums.get(bin)[1])];
}

function summaryOf(name, values, format) {
  if (!values.length) return `${name}: nothing yet`;
  const mean = values.reduce((sum, each) => sum + each, 0) / values.length;
  return `${name}: mean ${format(mean)}, highest ${format(Math.max(...values))}, latest ${format(values.at(-1))}`;
}
