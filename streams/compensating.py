"""Compensating: take back what the items of an undo chunk have done outside of the database.

Item by item, the last one first, with the attempts that the operation asks for, and no
transaction open during a call. What became of each is stored as it comes, under the same
fence as any effect: whoever takes the chunk over goes on there, with the same idempotency
keys. Then the records are put back, of what was compensated, in the transaction that closes
the chunk.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Connection

from domain.compensation import Fellows, Tried, again_in, attempts_before
from domain.execution import failure_of
from domain.operation import Context, Operation
from domain.outcomes import UndoResult
from domain.ports import Clock
from domain.retrying import Draw
from domain.returned import undone_of
from streams.calls import Place
from streams.envelope import Outgoing
from streams.failpoints import Failpoint, Failpoints
from streams.slow import SlowPool
from streams.stores import chunks as chunk_store
from streams.stores import compensations
from streams.stores.chunks import Claimed, Control
from streams.stores.database import Database
from streams.undoing import Outside, Undoer

Close = Callable[[Operation, Control, Claimed], Awaitable[Sequence[Outgoing]]]
"""Puts the records of a chunk back and stores its outcome; returns what is to be sent."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    """An undo chunk at work, with its operation as its calls see it."""

    declared: Operation
    calling: Operation
    control: Control
    claimed: Claimed


class Compensator:
    """Works undo chunks of operations that have effects outside; see the module's docstring.

    ``slow`` has the leases and threads for it, and is closed by whoever made it.
    """

    def __init__(
        self,
        *,
        database: Database,
        undoer: Undoer,
        clock: Clock,
        failpoints: Failpoints,
        slow: SlowPool,
        draw: Draw,
        close: Close,
    ) -> None:
        self._database = database
        self._undoer = undoer
        self._clock = clock
        self._failpoints = failpoints
        self._slow = slow
        self._draw = draw
        self._close = close

    async def start(
        self, operation: Operation, control: Control, claimed: Sequence[Claimed]
    ) -> bool:
        """Begin with the first chunk, if the operation is compensated; others wait their turn."""
        calling = operation.compensating
        if calling is None:
            return False
        first, *others = claimed
        if others:
            await self._database.write(partial(chunk_store.hand_back, held=others))
        chunk = _Chunk(operation, calling, control, first)
        self._slow.leased.start(first, partial(self._run, chunk))
        return True

    async def _run(self, chunk: _Chunk) -> None:
        outside = await self._database.read(
            partial(self._undoer.outside, chunk.declared, chunk.control, chunk.claimed)
        )
        if not await self._take_back(chunk, outside):
            return
        self._slow.leased.closing()
        for message in await self._close(chunk.declared, chunk.control, chunk.claimed):
            self._failpoints.reach(Failpoint.BEFORE_OUTCOME_SEND)
            await self._slow.send(message)
            self._failpoints.reach(Failpoint.AFTER_OUTCOME_SEND)

    async def _take_back(self, chunk: _Chunk, outside: Outside) -> bool:
        """Compensate what can be; false when somebody else has the chunk by now."""
        generation = chunk.claimed.generation
        fellows = Fellows(outside.groups)
        settled = {
            p: found for p, known in outside.known.items() if (found := known.of(generation))
        }
        for position, found in settled.items():
            fellows.learn(position, found)
        fresh = {p: fault for p, fault in outside.faults.items() if p not in settled}
        for position, fault in fresh.items():
            fellows.learn(position, fault)
        if not await self._noted(chunk, [_never(chunk, p, fault) for p, fault in fresh.items()]):
            return False
        for position, item, done in reversed(outside.items):
            if position in settled or position in fresh:
                continue
            held = fellows.held(position)
            if held is not None:
                if not await self._noted(chunk, [_never(chunk, position, held)]):
                    return False
                continue
            before = attempts_before(outside.known.get(position), generation)
            result = await self._one(chunk, position, (item, done), before)
            if result is None:
                return False
            fellows.learn(position, result)
        return True

    async def _one(
        self, chunk: _Chunk, position: int, given: tuple[BaseModel, Any], attempts: int
    ) -> UndoResult | None:
        """What has become of an item after all its attempts; None when the fence has moved."""
        while True:
            # Whoever waits for a place has not begun, and need not when it is told to end.
            async with self._slow.calls.place(chunk.calling) as place, self._slow.leased.begun():
                self._failpoints.reach(Failpoint.BEFORE_COMPENSATION)
                result = await self._call(place, chunk, position, given)
                self._failpoints.reach(Failpoint.AFTER_COMPENSATION)
                attempts += 1
                pause = again_in(chunk.declared.patience, attempts, result, self._draw)
                tried = Tried(position, chunk.claimed.generation, attempts, result, pause is None)
                if not await self._noted(chunk, [tried]):
                    return None
                self._failpoints.reach(Failpoint.COMPENSATION_STORED)
            if pause is None:
                return result
            await asyncio.sleep(pause)

    async def _call(
        self, place: Place, chunk: _Chunk, position: int, given: tuple[BaseModel, Any]
    ) -> UndoResult:
        """What one attempt says; the next one begins with what was stored, whatever it changes."""
        item, done = given
        try:
            own = item.model_copy(deep=True), copy.deepcopy(done)
            returned = await place.call(self._context(chunk, position), own)
            return undone_of(chunk.declared, returned)
        except Exception as error:
            return failure_of(error)

    def _context(self, chunk: _Chunk, position: int) -> Context:
        claimed, control = chunk.claimed, chunk.control
        return Context(
            job_id=claimed.job_id,
            tenant=control.tenant,
            actor=control.actor,
            params=chunk.declared.params.model_validate(control.params),
            chunk=claimed.chunk,
            attempt=claimed.attempt,
            positions=[position],
            deadline=self._clock.monotonic() + chunk.calling.timeout,
            clock=self._clock,
            taking_back=True,
        )

    async def _noted(self, chunk: _Chunk, found: Sequence[Tried]) -> bool:
        """Store what has become of items; false when somebody else has the chunk by now."""
        if not found:
            return True
        return await self._slow.leased.write(partial(self._note, chunk.claimed, found))

    def _note(self, claimed: Claimed, found: Sequence[Tried], connection: Connection) -> bool:
        if not chunk_store.held(connection, [claimed]):
            return False
        now = self._clock.now().timestamp()
        compensations.note(connection, claimed.job_id, found, now)
        return True


def _never(chunk: _Chunk, position: int, why: UndoResult) -> Tried:
    """That an item is not compensated by this undo, without an attempt."""
    return Tried(position, chunk.claimed.generation, 0, why)
