// Numbers, durations and moments as people read them. Pure.

const NUMBER = new Intl.NumberFormat("en");
const ONE = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const MOMENT = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

export const NOTHING = "–";

export function number(value) {
  return value === null || value === undefined ? NOTHING : NUMBER.format(value);
}

export function percent(value) {
  return value === null || value === undefined ? NOTHING : `${ONE.format(value)} %`;
}

/** Items a second; small rates are told by the minute. */
export function rate(value) {
  if (value === null || value === undefined) return NOTHING;
  if (value > 0 && value < 0.1) return `${ONE.format(value * 60)}/min`;
  return `${ONE.format(value)}/s`;
}

/** Seconds in the two largest units that are not none. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return NOTHING;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${ONE.format(seconds)} s`;
  const whole = Math.round(seconds);
  const parts = [[Math.floor(whole / 86400), "d"], [Math.floor(whole / 3600) % 24, "h"],
    [Math.floor(whole / 60) % 60, "min"], [whole % 60, "s"]];
  const first = parts.findIndex(([count]) => count > 0);
  return parts.slice(first, first + 2).filter(([count]) => count > 0)
    .map(([count, unit]) => `${count} ${unit}`).join(" ");
}

export function milliseconds(value) {
  return value === null || value === undefined ? NOTHING : duration(value / 1000);
}

export function bytes(value) {
  if (value === null || value === undefined) return NOTHING;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let left = value, unit = 0;
  while (left >= 1000 && unit < units.length - 1) { left /= 1000; unit += 1; }
  return `${ONE.format(left)} ${units[unit]}`;
}

export function moment(text) {
  return text ? MOMENT.format(new Date(text)) : NOTHING;
}

/** How long ago; `now` in milliseconds. */
export function ago(text, now) {
  if (!text) return NOTHING;
  const seconds = (now - Date.parse(text)) / 1000;
  if (seconds < 0) return `in ${duration(Math.max(1, -seconds)).split(" ").slice(0, 2).join(" ")}`;
  if (seconds < 10) return "just now";
  return `${duration(seconds).split(" ").slice(0, 2).join(" ")} ago`;
}

/** So many of something, in words. */
export function count(value, one, many = `${one}s`) {
  return `${number(value)} ${value === 1 ? one : many}`;
}

/** A beginning of a long text. */
export function cut(text, length) {
  return text.length > length ? `${Array.from(text).slice(0, length).join("")}…` : text;
}

/** A document as text in one line. */
export function json(value) {
  return value === undefined ? "" : JSON.stringify(value);
}
