"""Interests: what one connection follows, and from where on. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from api.problems import refused
from streams.live import Placed

Key = tuple[str, Any]
"""The field of a message that names a topic, and its value."""

_ALL: Key = ("all", True)


@dataclass(frozen=True, slots=True)
class Span:
    """The connection has all behind ``begin``: up to ``since`` it is read, then handed out.

    Once that is read the connection was sent all of it, by this topic or another one: so whatever
    topics are left afterwards, nothing of this one is missed.
    """

    begin: int
    since: int


class Interests:
    """Topics, each with the places from which on their events are sent."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._spans: dict[Key, Span] = {}

    def __len__(self) -> int:
        return len(self._spans)

    def __contains__(self, key: Key) -> bool:
        return key in self._spans

    @property
    def topics(self) -> list[dict[str, Any]]:
        """What is followed, as messages say it."""
        return [dict([key]) for key in self._spans]

    def add(self, key: Key, span: Span) -> None:
        """Follow a topic; raises RequestRefused for one more than is allowed."""
        if len(self._spans) >= self._most:
            raise refused(
                429,
                "too_many_topics",
                f"a connection follows {self._most} topics at most; unsubscribe from some, or "
                "follow a tag, or all",
            )
        self._spans[key] = span

    def remove(self, key: Key) -> None:
        """Follow it no more; raises RequestRefused for what was not followed."""
        if self._spans.pop(key, None) is None:
            raise refused(409, "not_subscribed", "this connection does not follow that")

    def want(self, placed: Placed) -> bool:
        """Whether the event is handed out as it comes."""
        if placed.to_all or placed.position is None:
            return placed.to_all or any(key in self._spans for key in topics_of(placed))
        return any(span.since < placed.position for _, span in self._of(placed))

    def have(self, placed: Placed, *, but: Key) -> bool:
        """Whether another topic than ``but`` has it sent, or has had it sent."""
        place = placed.position or 0
        return any(span.begin < place for key, span in self._of(placed) if key != but)

    def _of(self, placed: Placed) -> Iterator[tuple[Key, Span]]:
        for key in topics_of(placed):
            span = self._spans.get(key)
            if span is not None:
                yield key, span


@dataclass(slots=True)
class Reach:
    """How far a connection was sent what is handed out to it, with what still waits in its queue.

    ``_sent`` is a place up to which nothing that is wanted is left, ``_offered`` that of the
    latest event that was handed out.
    """

    _sent: int = 0
    _offered: int = 0

    def offered(self, position: int) -> None:
        """An event is handed out, and waits."""
        if self._sent >= self._offered:
            self._sent = max(self._sent, position - 1)
        self._offered = position

    def sent(self, position: int) -> None:
        """Nothing is left up to there."""
        self._sent = max(self._sent, position)

    def has(self, position: int) -> bool:
        """Whether nothing is left up to there any more."""
        return position <= self._sent

    def before(self, end: int) -> int:
        """Up to where nothing is left, ``end`` at most, which is the end of the log."""
        return end if self._sent >= self._offered else self._sent


def topics_of(placed: Placed) -> Iterator[Key]:
    """All topics that an event belongs to."""
    yield _ALL
    yield "job_id", placed.event.job_id
    for tag in placed.tags:
        yield "tag", tag
