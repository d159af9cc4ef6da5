// A line over time, as wide as its place.

import { fill, svg } from "./dom.js";
import { moment } from "./words.js";

const HIGH = 170, LEFT = 64, RIGHT = 10, ABOVE = 8, BELOW = 24;
const STEPS = [1, 2, 5, 10];
const MOMENTS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200];
const DAY = 86_400;
const CLOCK = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const DATE = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

/** Draw seconds and their values into a place; what is pointed at is told in numbers. */
export function plot(place, [times, values], format) {
  const wide = Math.max(160, place.clientWidth || 400), first = times[0], span = times.at(-1) - first || 1;
  const marks = marksUpTo(values.reduce((most, each) => Math.max(most, each), 0)), high = marks.at(-1);
  const x = (at) => LEFT + (at - first) / span * (wide - LEFT - RIGHT);
  const y = (value) => HIGH - BELOW - value / high * (HIGH - ABOVE - BELOW);
  const line = (d, name) => svg("path", { d, class: name });
  const words = (text, props) => svg("text", props, text);
  const moments = momentsOf(first, span, Math.max(1, Math.floor((wide - LEFT) / 110)));
  const tell = span > DAY ? DATE : CLOCK;
  const pointed = words("", { class: "told", x: wide - RIGHT, y: ABOVE + 10, "text-anchor": "end" }), cursor = line("", "cursor");
  const drawn = svg("svg", { width: wide, height: HIGH, "aria-hidden": "true", on: { pointermove: point, pointerleave: () => { fill(pointed); cursor.setAttribute("d", ""); } } },
    marks.map((each) => [line(`M${LEFT} ${y(each)}H${wide - RIGHT}`, "grid"), words(format(each), { x: LEFT - 8, y: y(each) + 4, "text-anchor": "end" })]),
    moments.map((each) => [line(`M${x(each)} ${ABOVE}V${HIGH - BELOW}`, "grid"), words(tell.format(each * 1000), { x: x(each), y: HIGH - 6, "text-anchor": x(each) > wide - 40 ? "end" : "middle" })]),
    line(times.map((at, index) => `${index ? "L" : "M"}${x(at).toFixed(1)} ${y(values[index]).toFixed(1)}`).join(""), "line"),
    times.length < 40 ? times.map((at, index) => svg("circle", { cx: x(at), cy: y(values[index]), r: 2 })) : null, cursor, pointed);

  function point(event) {
    const at = first + (event.offsetX - LEFT) / (wide - LEFT - RIGHT) * span;
    const nearest = times.reduce((best, each, index) => Math.abs(each - at) < Math.abs(times[best] - at) ? index : best, 0);
    cursor.setAttribute("d", `M${x(times[nearest])} ${ABOVE}V${HIGH - BELOW}`);
    fill(pointed, `${moment(times[nearest] * 1000)}: ${format(values[nearest])}`);
  }
  fill(place, drawn);
}

/** Round values from none to the first one that is at least as high, four or so. Pure. */
function marksUpTo(most) {
  const rough = (most || 1) / 4, power = 10 ** Math.floor(Math.log10(rough));
  const step = STEPS.find((each) => each * power >= rough * 0.999) * power;
  return Array.from({ length: Math.max(1, Math.ceil(most / step - 0.001)) + 1 }, (_, place) => place * step);
}

/** Round moments within a stretch of seconds, so many at most. Pure. */
function momentsOf(first, span, most) {
  const step = MOMENTS.find((each) => span / each <= most) ?? Math.ceil(span / DAY / most) * DAY;
  const begin = Math.ceil(first / step) * step;
  return Array.from({ length: Math.max(0, Math.floor((first + span - begin) / step) + 1) }, (_, place) => begin + place * step);
}
