"""Dead letters: messages that could not be handled, kept with their cause, and sent again.

:mod:`streams.agents` buries; an operator sends again by code once the cause is mended (an
upgrade that reads the newer schema, a plug-in that was missing). A letter has the key, the
bytes and the headers of its message; where it came from and why is in headers of its own,
whose names begin with ``countermand-``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import (
    ConfigDict,
    Field,
    NonNegativeInt,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
)

from domain.errors import MessageUnreadable
from domain.values import Value
from streams import topics
from streams.envelope import Headers, Outgoing

PREFIX = "countermand-"
MAX_CAUSE = 500
MAX_GROUPS = 1000
MAX_KEY = 200

Send = Callable[[Outgoing], Awaitable[None]]
Digits = Annotated[
    NonNegativeInt,
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]+$"}),
]


class Burial(Value):
    """Where a dead letter came from and why it is here: its headers, each UTF-8 text.

    What was no message yet has partition 0; the offset of a stored event is its number in
    the log of all events, that of a timer's command 0. ``size`` is that of the message's
    value. A letter that is shorter was cut to what a message may hold; the whole one stays
    at its place for as long as its topic keeps it.
    """

    model_config = ConfigDict(alias_generator=lambda name: PREFIX + name, populate_by_name=True)

    topic: str
    partition: Digits
    offset: Digits
    size: Digits
    code: str
    reason: Annotated[str, Field(max_length=MAX_CAUSE)]

    def headers(self) -> Headers:
        """As they travel."""
        fields = self.model_dump(by_alias=True)
        return tuple((name, value.encode()) for name, value in fields.items())

    @classmethod
    def of(cls, headers: Headers) -> Burial:
        """What the headers of a letter say; raises MessageUnreadable when it is no letter."""
        try:
            own = {name: value.decode() for name, value in headers if name.startswith(PREFIX)}
            return cls.model_validate(own)
        except (UnicodeDecodeError, ValidationError) as error:
            raise MessageUnreadable(f"a dead letter without its cause: {error}") from error


def bury(burial: Burial, key: bytes, value: bytes, headers: Headers) -> Outgoing:
    """The letter of a message; its value is cut when it is longer than a letter may be."""
    own = burial.headers()
    letter = Outgoing(topics.DEAD, key, value, (*_kept(headers), *own))
    if _size(letter) <= topics.MAX_LETTER_BYTES:
        return letter
    # Only a producer with other limits than ours gets here; the cause matters more.
    room = topics.MAX_LETTER_BYTES - topics.LETTER_HEADROOM
    return Outgoing(topics.DEAD, key[:room], value[: max(room - len(key), 0)], own)


@dataclass(frozen=True, slots=True)
class Letter:
    """A message of the dead-letter topic; ``at`` is when it came, in ms since 1970."""

    key: bytes
    value: bytes
    headers: Headers
    at: int = 0


@dataclass(slots=True)
class Redriven:
    """What became of the letters of a code: sent again, or left because they cannot be.

    ``more``: it ended at its limit, before another one.
    """

    sent: int = 0
    left: int = 0
    more: bool = False


@dataclass(slots=True)
class Group:
    """Letters with one code that were in one topic; ``reason`` and ``key`` are of the latest."""

    code: str
    topic: str
    letters: int = 0
    reason: str = ""
    key: str = ""
    place: str = ""


@dataclass(slots=True)
class Listed:
    """Letters in groups, the largest first; ``others`` are in none: not ours, or too many kinds."""

    groups: list[Group]
    others: int = 0


class Tally:
    """Counts letters by code and topic."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], Group] = {}
        self._others = 0

    def add(self, letter: Letter) -> None:
        """One more."""
        try:
            burial = Burial.of(letter.headers)
        except MessageUnreadable:
            self._others += 1
            return
        name = (burial.code, burial.topic)
        if name not in self._groups and len(self._groups) == MAX_GROUPS:
            self._others += 1
            return
        group = self._groups.setdefault(name, Group(*name))
        group.letters += 1
        group.reason = burial.reason
        group.key = letter.key[:MAX_KEY].decode(errors="replace")
        group.place = f"{burial.partition}:{burial.offset}"

    def listed(self) -> Listed:
        """What there is so far; what is added later does not change it."""
        groups = [replace(group) for group in self._groups.values()]
        return Listed(sorted(groups, key=lambda group: -group.letters), self._others)


async def grouped(letters: AsyncIterator[Letter]) -> Listed:
    """What there is, by code and topic."""
    found = Tally()
    async for letter in letters:
        found.add(letter)
    return found.listed()


async def redrive(
    letters: AsyncIterator[Letter],
    send: Send,
    *,
    code: str,
    systems: Collection[str],
    limit: int | None = None,
) -> Redriven:
    """Send the letters of a code to where they were, in order, at most ``limit``.

    What was handled meanwhile is known by its command id or chunk and has no effect. A
    letter that was cut stays, as does one of a topic that is not read for work. The next
    letter is asked for when the one before it has arrived.
    """
    targets = {topics.COMMANDS, *map(topics.work, systems)}
    found = Redriven()
    async for letter in letters:
        try:
            burial = Burial.of(letter.headers)
        except MessageUnreadable:
            continue
        if burial.code != code:
            continue
        if burial.topic not in targets or burial.size != len(letter.value):
            found.left += 1
            continue
        if found.sent == limit:
            found.more = True
            break
        await send(Outgoing(burial.topic, letter.key, letter.value, _kept(letter.headers)))
        found.sent += 1
    return found


def _kept(headers: Headers) -> Headers:
    """The headers that are the message's own."""
    return tuple((name, value) for name, value in headers if not name.startswith(PREFIX))


def _size(letter: Outgoing) -> int:
    """An upper bound of the bytes that it takes on the wire."""
    names: Sequence[int] = [len(name.encode()) + len(value) + 12 for name, value in letter.headers]
    return len(letter.key) + len(letter.value) + sum(names) + 64
