"""Keys: somebody who has no mouse, and what a page owes them."""

from __future__ import annotations

from typing import Final

from playwright.sync_api import Locator, Page, expect

MOST: Final = 150
"""Presses of Tab after which something counts as out of reach."""

LISTENING: Final = """
window.clickable = new Set();
const own = EventTarget.prototype.addEventListener;
EventTarget.prototype.addEventListener = function (name, ...rest) {
  if (name === "click" && this instanceof Element) window.clickable.add(this);
  return own.call(this, name, ...rest);
};
"""
"""Run before a page's own scripts, so that what listens to clicks is known."""

_WANTED = """() => {
  const within = document.querySelector("dialog[open]") ?? document;
  const native = "a[href], button:not(:disabled), input:not(:disabled), select, textarea, summary";
  const each = new Set([...within.querySelectorAll(native), ...window.clickable]);
  const meant = (one) => within.contains(one) && !one.disabled && one.checkVisibility();
  window.wanted = [...each].filter(meant);
  window.had = new Map();
  document.activeElement?.blur();
  document.addEventListener("focusin", ({ target }) => {
    window.had.set(target, getComputedStyle(target).outlineStyle !== "none");
  });
  // A field of a moment has a turn for each of its parts.
  const moments = window.wanted.filter((each) => each.type === "datetime-local");
  return window.wanted.length + 8 * moments.length;
}"""
_MISSED = """(instead) => window.wanted
  .filter((each) => !window.had.get(each) && !each.matches(instead))
  .map((each) => [window.had.has(each) ? "not seen" : "not reached", each.outerHTML.slice(0, 200)])
"""
_INSTEAD = "canvas.heat"
"""What listens to clicks and is not reached by keys: the slider below it does the same."""


def check_keyboard(page: Page) -> None:
    """Tab comes to all that can be clicked, and shows that it is there.

    The page is one with ``LISTENING``, and nothing moves on it. Of an open dialog only what is in
    it is meant.
    """
    turns = page.evaluate(_WANTED)
    assert turns
    for _ in range(turns + 12):
        page.keyboard.press("Tab")
    missed = page.evaluate(_MISSED, _INSTEAD)
    assert missed == [], f"{page.url}: {missed}"


class Keys:
    """Somebody who has no mouse."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def to(self, target: Locator) -> None:
        """Tab until it is its turn."""
        expect(target).to_be_visible()
        for _ in range(MOST):
            if target.evaluate("each => each === document.activeElement"):
                return
            self._page.keyboard.press("Tab")
        raise AssertionError(f"Tab does not come to {target}")

    def press(self, target: Locator, key: str = "Enter") -> None:
        """Go there and press a key."""
        self.to(target)
        self._page.keyboard.press(key)

    def write(self, target: Locator, text: str) -> None:
        """Go there and write, in place of what is there; into a list, its beginning."""
        self.to(target)
        if target.evaluate("each => each.tagName !== 'SELECT'"):
            self._page.keyboard.press("Control+A")
        self._page.keyboard.type(text)

    def verb(self, name: str, reason: str = "") -> None:
        """Ask a verb of the job, and do it, with a reason."""
        bar = self._page.get_by_role("toolbar", name="What can be asked of this job")
        self.press(bar.get_by_role("button", name=name, exact=True))
        self.confirm(name, reason)

    def confirm(self, name: str, reason: str = "") -> None:
        """Say why, and do what the open dialog asks about."""
        dialog = self._page.get_by_role("dialog")
        if reason:
            self.write(dialog.get_by_label("Reason"), reason)
        self.press(dialog.get_by_role("button", name=name, exact=True))
        expect(dialog).to_have_count(0)
