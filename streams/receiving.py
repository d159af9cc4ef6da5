"""Receiving: the items of a caller are stored as they come, as far as its tenant may."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial

from sqlalchemy import Connection

from domain.commands import Command, JobSpec, UploadedItems, uploads_of
from domain.ports import Clock, Ids
from domain.steps import at_step
from streams.admission import Admission
from streams.callers import Caller
from streams.stores import payloads
from streams.stores.database import Database
from streams.stores.decisions import find_decision
from streams.uploading import Rest, Upload, drop, received, store_rest

_NOTHING: Rest = (None, [])


class Receiver:
    """Stores the items of jobs before anybody is told of the jobs.

    What comes ``again`` counts nothing beforehand, so that it must leave nothing behind when
    it is broken off.
    """

    def __init__(self, database: Database, admission: Admission, clock: Clock, ids: Ids) -> None:
        self._database = database
        self._admission = admission
        self._clock = clock
        self._ids = ids

    async def receive(
        self,
        caller: Caller,
        lines: AsyncIterator[bytes],
        pointer: str | None,
        *,
        again: bool = False,
        may_be_empty: bool = False,
    ) -> tuple[UploadedItems, Rest]:
        """Store the items with their keys; what is left goes with the reservation.

        Raises InvalidCommand when there is no item, or there are too many, and QuotaExceeded.
        """
        now = self._clock.now().timestamp()
        allowed = await self._admission.allowance(caller.tenant, again=again)
        allowed.check(1, 1)
        upload = Upload(self._ids.new(), caller.tenant, now, pointer, allowed, may_be_empty)
        try:
            return await received(self._database, upload, lines)
        except BaseException:
            if again:
                await self.remove([], (upload, []))
            raise

    async def receive_steps(
        self,
        caller: Caller,
        spec: JobSpec,
        lines: Sequence[AsyncIterator[bytes] | None],
        key: str | None,
    ) -> list[UploadedItems | None]:
        """The items of each step, stored before those of the next are received."""
        again = await self._admission.has_sent(caller.tenant, key)
        sources: list[UploadedItems | None] = [None] * len(lines)
        try:
            for number, items in enumerate(lines):
                if items is None:
                    continue
                with at_step(number):
                    pointer = spec.steps[number].options.key
                    sources[number] = await self._stored(caller, items, pointer, again=again)
        except BaseException:
            if again:
                await self.remove(sources)
            raise
        return sources

    async def _stored(
        self, caller: Caller, lines: AsyncIterator[bytes], pointer: str | None, *, again: bool
    ) -> UploadedItems:
        source, (upload, parts) = await self.receive(caller, lines, pointer, again=again)
        await self._database.write(lambda c: store_rest(c, upload, parts), lasting=False)
        return source

    async def remove(self, stored: Sequence[UploadedItems | None], rest: Rest = _NOTHING) -> None:
        """Remove what no command names."""
        await self._database.write(lambda found: _drop(found, rest, stored), lasting=False)

    async def remove_free(self, command: Command) -> None:
        """Remove what a decided command has brought, and no job has taken.

        The coordinator does so when it comes to it; who was answered before need not wait for
        that until they are no longer counted twice.
        """
        brought = uploads_of(command)
        free = partial(payloads.free_among, tenant=command.tenant, upload_ids=brought)
        if brought and await self._database.read(free, single=True):
            await self._database.write(partial(_remove_free, command, brought), lasting=False)


def store_unless_decided(
    command_id: str, rest: Rest, connection: Connection, stored: Sequence[UploadedItems] = ()
) -> None:
    """Store what is left of an upload; none of it, nor what is stored, for what is decided.

    The job has its items then, and these are not to count beside them.
    """
    if find_decision(connection, command_id) is None:
        store_rest(connection, *rest)
    else:
        _drop(connection, rest, stored)


def _remove_free(command: Command, upload_ids: Sequence[str], connection: Connection) -> None:
    # It may have been told too early, of a commit that cannot be seen here yet.
    if find_decision(connection, command.command_id) is not None:
        payloads.remove_free(connection, command.tenant, upload_ids)


def _drop(connection: Connection, rest: Rest, stored: Sequence[UploadedItems | None]) -> None:
    drop(connection, rest)
    ids = [source.upload_id for source in stored if source is not None]
    if ids:
        payloads.remove_uploads(connection, ids)
