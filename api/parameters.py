"""Parameters of the query string: each known, each given once, each within its range."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime

from aiohttp import web

from api.problems import RequestRefused, refused

MAX_VERSION = 2**31 - 1
"""Versions of a job are 32-bit integers."""
MAX_ID = 2**63 - 1
"""Ids of records, and of all events, are 64-bit integers."""
MAX_TAGS = 50
MAX_TAG = 100
_NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?([eE]-?[0-9]{1,2})?", re.ASCII)


class Parameters:
    """The query of a request; what is not in ``known`` is refused, so that no typo is ignored."""

    def __init__(
        self, request: web.Request, known: Collection[str], *, repeated: Collection[str] = ()
    ) -> None:
        self._query = request.query
        for name in set(self._query):
            if name not in known and name not in repeated:
                names = ", ".join(sorted({*known, *repeated})) or "none"
                raise wrong(f"there is no parameter {name[:100]!r} here; possible: {names}")
            if name not in repeated and len(self._query.getall(name)) > 1:
                raise wrong(f"the parameter {name} is given more than once", name)

    def text(self, name: str) -> str | None:
        """The value, or None when it is absent.

        An empty one is refused: it mostly comes of a variable that was never set, and who is
        given all in place of what was meant does not notice.
        """
        text = self.given(name)
        if text == "":
            raise wrong(f"{name} is empty; say what it is to be, or leave it out", name)
        return text

    def given(self, name: str) -> str | None:
        """The value as it is, empty or not, or None when it is absent."""
        return self._query.get(name)

    def texts(self, name: str) -> list[str]:
        """All values of a parameter that may be repeated."""
        return self._query.getall(name, [])

    def integer(self, name: str, least: int, most: int) -> int | None:
        """A whole number in ``least .. most``, or None when it is absent."""
        text = self.given(name)
        return None if text is None else integer(name, text, least, most)

    def number(self, name: str, least: float, most: float) -> float | None:
        """A number in ``least .. most``, as 0.5, or None when it is absent."""
        text = self.given(name)
        return None if text is None else number(name, text, least, most)

    def moment(self, name: str) -> datetime | None:
        """An ISO 8601 time (UTC when it has no offset), or None when it is absent."""
        text = self.given(name)
        if text is None:
            return None
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise wrong(f"{name} must be an ISO 8601 time, as 2025-01-31T12:00:00Z", name) from None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    def choice(self, name: str, choices: Collection[str]) -> str | None:
        """One of ``choices``, or None when it is absent."""
        text = self.given(name)
        return None if text is None else chosen(name, text, choices)

    def choices(self, name: str, choices: Collection[str]) -> list[str]:
        """The values of a repeated parameter, each one of ``choices``."""
        return [chosen(name, text, choices) for text in self.texts(name)]


def tags_of(query: Parameters) -> frozenset[str]:
    """The values of ``tag``, each as a job can have it; raises RequestRefused."""
    tags = frozenset(query.texts("tag"))
    if len(tags) > MAX_TAGS or not all(0 < len(tag) <= MAX_TAG for tag in tags):
        raise wrong(f"tag is given {MAX_TAGS} times at most, of 1 to {MAX_TAG} characters", "tag")
    return tags


def chosen(name: str, text: str, choices: Collection[str]) -> str:
    """The text if it is one of the choices; raises RequestRefused that tells them."""
    if text not in choices:
        raise wrong(f"{name} must be one of {', '.join(choices) or 'none'}", name)
    return text


def integer(name: str, text: str, least: int, most: int) -> int:
    """A whole number in ``least .. most``; raises RequestRefused."""
    digits = text.removeprefix("-")
    if digits.isascii() and digits.isdigit() and len(digits) < 20 and least <= int(text) <= most:
        return int(text)
    raise wrong(f"{name} must be a whole number from {least} to {most}", name)


def number(name: str, text: str, least: float, most: float) -> float:
    """A number in ``least .. most``; raises RequestRefused."""
    if _NUMBER.fullmatch(text) and least <= float(text) <= most:
        return float(text)
    raise wrong(f"{name} must be a number from {least:g} to {most:g}", name)


def wrong(detail: str, name: str = "") -> RequestRefused:
    """The refusal of a parameter of that name; of one that is not known there is no place."""
    return refused(400, "bad_parameter", detail, pointer=f"/{name}" if name else "")
