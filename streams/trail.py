"""Trail: the hashes of a job's stored events, and whether all of it is as it was written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Final

from sqlalchemy import Connection

from domain.errors import StoreUnavailable
from streams.loops import in_thread
from streams.queries import Queries
from streams.stores import audit
from streams.stores.database import Database

Heads = Callable[[], audit.HeadsFile | None]
"""The signed heads that are at hand; None where another process signs into a folder of its own."""

PATIENCE: Final = 30.0
"""Seconds for which whoever verifies waits for another one that does."""


class Trail:
    """Answers of one job at a time, each to the tenant that the job belongs to."""

    def __init__(self, database: Database, queries: Queries, heads: Heads) -> None:
        self._database = database
        self._queries = queries
        self._heads = heads
        self._turn = asyncio.Lock()

    async def hashes(
        self, tenant: str, job_id: str, after: int, limit: int
    ) -> list[tuple[int, str]]:
        """Versions behind ``after`` with the hashes of their events; raises JobNotFound."""
        await self._queries.job(tenant, job_id)
        return await self._database.read(partial(_hashes, job_id=job_id, after=after, limit=limit))

    async def verify(self, tenant: str, job_id: str) -> tuple[audit.Report, bool]:
        """What is found of a job, and whether signatures were looked at; raises JobNotFound.

        One at a time: it reads all that is stored of the job. The whole file of a database is
        looked at by the command line alone.
        """
        await self._queries.job(tenant, job_id)
        try:
            async with asyncio.timeout(PATIENCE):
                await self._turn.acquire()
        except TimeoutError:
            raise StoreUnavailable(
                "another job is being verified; ask again when that has ended"
            ) from None
        try:
            return await in_thread(partial(self._verified, job_id))
        finally:
            self._turn.release()

    def _verified(self, job_id: str) -> tuple[audit.Report, bool]:
        heads = self._heads()
        report = audit.verify_trail(self._database, heads, job_id=job_id)
        return report, heads is not None


def _hashes(connection: Connection, job_id: str, after: int, limit: int) -> list[tuple[int, str]]:
    rows = audit.rows_behind(connection, job_id, after)
    return [(row.version, row.hash.hex()) for row in islice(rows, limit)]
