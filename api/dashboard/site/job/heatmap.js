// A cell for each chunk, on one canvas; the same in words and numbers for who does not see it.

import { choice, fill, grow, h, labelled, quiet, table } from "../parts/dom.js";
import { count, milliseconds, number } from "../parts/words.js";
import { TONE } from "./history.js";

const HIGH = 220;

export function heatmap() {
  let chunks = [], by = "state", chosen = 0, grid = { cell: 12, across: 1 };
  const canvas = h("canvas.heat", { role: "img", "aria-label": "Chunks" });
  const words = h("p.quiet"), sums = h("div");
  const slider = h("input", { type: "range", max: "0", on: { input: () => choose(Number(slider.value)) } });
  const drawn = h("section.panel",
    h("div.row", h("h2", "Chunks"), grow(),
      labelled("Colour", choice([["state", "by state"], ["latency", "by latency"]], by, (value) => { by = value; draw(); }))),
    canvas, labelled("Chunk", slider, { class: "field wide" }), words, sums);
  canvas.addEventListener("click", (event) => {
    const place = Math.floor(event.offsetY / grid.cell) * grid.across + Math.floor(event.offsetX / grid.cell);
    if (place < chunks.length) choose(place);
  });
  let drawnFor = 0;
  const resized = new ResizeObserver(() => { if (canvas.parentNode.clientWidth !== drawnFor) draw(); });
  resized.observe(canvas.parentNode);
  addEventListener("themechange", draw);

  function update(state) {
    chunks = [...state.chunks.values()];
    slider.max = Math.max(0, chunks.length - 1);
    const byState = Map.groupBy(chunks, (each) => each.state);
    fill(sums, table("Chunks by state", ["State", "Chunks", "Median", "Slowest"],
      [...byState].map(([name, all]) => {
        const times = timesOf(all);
        return [name, all.length, milliseconds(times[times.length >> 1]), milliseconds(times.at(-1))];
      }), "No chunk was planned yet."), state.more ? quiet(`${number(state.more)} further chunks are not drawn.`) : null);
    canvas.ariaLabel = `${count(chunks.length, "chunk")}: ${[...byState].map(([name, all]) => `${number(all.length)} ${name}`).join(", ") || "none"}. The table below says the same.`;
    draw();
    choose(Math.min(chosen, chunks.length - 1), false);
  }

  function draw() {
    drawnFor = canvas.parentNode.clientWidth;
    const wide = drawnFor - 32;
    if (wide <= 0) return;
    grid = fit(chunks.length, wide);
    const high = Math.max(grid.cell, Math.ceil(chunks.length / grid.across) * grid.cell);
    const sharp = devicePixelRatio || 1;
    Object.assign(canvas, { width: wide * sharp, height: high * sharp });
    canvas.style.height = `${high}px`;
    const pen = canvas.getContext("2d"), colours = palette(canvas);
    pen.scale(sharp, sharp);
    const side = grid.cell > 4 ? grid.cell - 1 : grid.cell, times = timesOf(chunks);
    // The 95th percentile, so that one straggler does not make all others look alike.
    const slowest = Math.max(1, times[Math.floor((times.length - 1) * 0.95)] ?? 0);
    const cell = (place) => [(place % grid.across) * grid.cell, Math.floor(place / grid.across) * grid.cell, side, side];
    chunks.forEach((each, place) => {
      const timed = by === "latency" && each.ms !== null;
      pen.globalAlpha = timed ? 0.12 + 0.88 * Math.min(1, each.ms / slowest) : 1;
      pen.fillStyle = timed ? colours.busy : colours[TONE[each.state]];
      pen.fillRect(...cell(place));
    });
    pen.globalAlpha = 1;
    if (chunks[chosen]) {
      pen.strokeStyle = colours.ink;
      pen.lineWidth = 2;
      pen.strokeRect(...cell(chosen));
    }
  }

  function choose(place, redraw = true) {
    chosen = Math.max(0, place);
    slider.value = chosen;
    const each = chunks[chosen];
    fill(words, each ? `Chunk ${each.chunk} (${each.cause}): ${count(each.count, "item")} from ${number(each.first)}, ${each.state}${each.failed ? `, ${number(each.failed)} failed` : ""}, ${milliseconds(each.ms)}` : "");
    slider.ariaValueText = words.textContent;
    if (redraw) draw();
  }

  return { drawn, update, close: () => { resized.disconnect(); removeEventListener("themechange", draw); } };
}

/** The largest cell with which so many fit into the width and a bounded height. Pure. */
function fit(total, wide) {
  let cell = 17, across;
  do {
    cell -= 1;
    across = Math.max(1, Math.floor(wide / cell));
  } while (cell > 2 && Math.ceil(total / across) * cell > HIGH);
  return { cell, across };
}

function timesOf(chunks) {
  return chunks.map(({ ms }) => ms).filter((ms) => ms !== null).sort((a, b) => a - b);
}

/** What the style sheet's colours are in the present theme. */
function palette(within) {
  const probe = h("i", { hidden: true });
  within.parentNode.append(probe);
  const found = {};
  for (const name of ["ink", "good", "busy", "warn", "bad", "calm"]) {
    probe.style.color = `var(--${name}${name === "ink" ? "" : "-fill"})`;
    found[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return found;
}
