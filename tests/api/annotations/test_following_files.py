"""Files that are read, followed on the platform's WebSocket: what happens meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import Connection

from api.systems.annotations import socket_words
from api.systems.annotations.socket_words import Said, Unsubscribe
from api.systems.annotations.updates import LOOK_SECONDS
from streams.clock import TimeOrderedIds
from streams.systems.annotations import numbers, readings
from streams.systems.annotations.files import Files
from streams.systems.annotations.numbers import Numbered
from streams.systems.annotations.readings import Reading
from tests.api.annotations.place import Place, by
from tests.api.annotations.test_interrupted_imports import left, said, submitted
from tests.api.annotations.test_socket import Words, talking


class Look:
    """A look at a file that does not end before it may, and whether it was asked to stop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.may_end, self.asked = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._reading, self._understood = Files.reading, socket_words.understood

        async def reading(files: Files, number: Numbered, tenant: str) -> Reading | None:
            self.begun.set()
            await self.may_end.wait()
            return await self._reading(files, number, tenant)

        monkeypatch.setattr(Files, "reading", reading)
        monkeypatch.setattr(socket_words, "understood", self._heard)

    def _heard(self, text: bytes, depth: int) -> Said:
        message = self._understood(text, depth)
        if isinstance(message, Unsubscribe):
            self.asked.set()
        return message


async def followed(place: Place, words: Words) -> Numbered:
    """An operation whose file is read by somebody who says nothing more."""
    found = await left(place, TimeOrderedIds().new(), said(0.0))
    await words.say("subscribe", operation_id=found.operation_id)
    await words.expect("system_status", event="subscribed")
    await words.expect("progress_update", current_step="reading")
    return found


async def told(words: Words, event: str) -> list[str]:
    """What is said before word of the system, by type."""
    kinds = []
    while (heard := await words.hear())[0] != "system_status":
        kinds.append(heard[0])
    assert heard[1]["event"] == event
    return kinds


async def _nothing(*_: Any) -> None:
    """The file is read further."""


async def _gone(place: Place, found: Numbered) -> None:
    """It was refused, and has left no operation."""

    def forget(connection: Connection) -> None:
        readings.end(connection, found.job_id)
        numbers.take_back(connection, found.job_id)

    await place.shop.engine.database.write(forget)


async def _job(place: Place, found: Numbered) -> None:
    await submitted(place, found.job_id)


@pytest.mark.parametrize(
    ("happens", "behind"),
    [(_nothing, []), (_job, []), (_gone, ["error"])],
    ids=["nothing", "job", "gone"],
)
async def test_who_unsubscribes_while_the_file_is_looked_at_is_told_no_more(
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    happens: Callable[[Place, Numbered], Awaitable[None]],
    behind: list[str],
) -> None:
    async with talking(place, by("viewer")) as words:
        found = await followed(place, words)
        look = Look(monkeypatch)
        await look.begun.wait()
        await happens(place, found)
        await words.say("unsubscribe", operation_id=found.operation_id)
        await look.asked.wait()
        look.may_end.set()
        await told(words, "unsubscribed")
        await asyncio.sleep(2 * LOOK_SECONDS)
        await words.say("system_status")
        # Of what has left by itself a client is told that it does not follow it.
        assert await told(words, "status") == behind


async def test_a_job_that_never_comes_is_not_waited_for_without_an_end(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with talking(place, by("viewer")) as words:
        found = await followed(place, words)
        await place.shop.engine.database.write(lambda c: readings.end(c, found.job_id))
        monkeypatch.setattr(readings, "LOST_SECONDS", 0.0)
        await words.expect("system_status", event="unsubscribed", operation_id=found.operation_id)
        await words.say("subscribe", operation_id=found.operation_id)
        await words.expect("error", code="job_not_found")
