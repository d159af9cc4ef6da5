// Time travel: a slider over the versions of a job; at one of them the whole page is of then.

import { button, fill, h } from "../parts/dom.js";
import { moment, number } from "../parts/words.js";

const PAUSE = 150;

export function travelBar(view) {
  let latest = 0, timer = 0;
  const slider = h("input", { type: "range", min: "1", step: "1", "aria-label": "Version of the job", on: { input: moved } });
  const words = h("span.quiet");
  const back = button("Now", () => go(""));
  const drawn = h("div.travel", h("span", "Time travel"), slider, words, back);

  function moved() {
    // What comes in meanwhile puts the slider back to now; where one wanted to go stays.
    const wanted = Number(slider.value);
    tell(wanted, "");
    clearTimeout(timer);
    timer = setTimeout(() => { timer = 0; go(wanted >= latest ? "" : wanted); }, PAUSE);
  }

  function go(at) {
    view.go({ at });
  }

  function tell(version, at) {
    fill(words, `Version ${number(version)} of ${number(latest)}${at ? `, ${moment(at)}` : ""}`);
    slider.ariaValueText = words.textContent;
  }

  /** `newest` is the last version that is known of. */
  function update(job, newest) {
    latest = Math.max(newest, job.version);
    slider.max = latest;
    if (!timer && (document.activeElement !== slider || !view.at())) slider.value = job.version;
    back.hidden = !view.at();
    drawn.classList.toggle("past", Boolean(view.at()));
    tell(job.version, job.updated_at);
  }

  return { drawn, update, close: () => clearTimeout(timer) };
}
