"""Projector: the notification log into the read model, position in the same transaction."""

from __future__ import annotations

from functools import partial

from eventsourcing.persistence import Notification
from sqlalchemy import Connection

from domain.errors import Unavailable, UnsupportedVersion
from domain.jobs import JobMapper
from streams.failpoints import Failpoint, Failpoints
from streams.stores import read_model
from streams.stores.database import Database
from streams.stores.events import EventRecorder

BATCH = 500


class Projector:
    """Keeps the list of jobs; lags a little, and says by how much."""

    def __init__(
        self,
        *,
        database: Database,
        recorder: EventRecorder,
        mapper: JobMapper,
        failpoints: Failpoints,
    ) -> None:
        self._database = database
        self._recorder = recorder
        self._mapper = mapper
        self._failpoints = failpoints
        self._position: int | None = None

    def start_over(self) -> None:
        """Go on from the stored position: another process may have projected meanwhile."""
        self._position = None

    async def project(self) -> bool:
        """Take in what is new, at most ``BATCH`` events; returns whether there may be more."""
        found = await self._database.read(self._new, single=True)
        if not found:
            return False
        try:
            await self._database.write(partial(self._project, found), lasting=False)
        except UnsupportedVersion as later:
            raise Unavailable(f"the list of jobs stands still: {later.message}") from later
        self._position = found[-1].id
        return len(found) == BATCH

    def _new(self, connection: Connection) -> list[Notification]:
        if self._position is None:
            self._position = read_model.position(connection, read_model.READER)
        return list(
            self._recorder.select_notifications(
                self._position, BATCH, inclusive_of_start=False, connection=connection
            )
        )

    def _project(self, found: list[Notification], connection: Connection) -> None:
        read_model.project(connection, found, self._mapper)
        self._failpoints.reach(Failpoint.BEFORE_PROJECTION)
