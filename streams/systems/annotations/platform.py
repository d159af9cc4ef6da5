"""Platform: what the edge asks about projects and their records, one caller at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from sqlalchemy import Connection

from domain.errors import InvalidCommand
from domain.ports import Clock
from domain.systems.annotations.kinds import MEMBERS, PROJECTS, Kind
from domain.systems.annotations.roles import ProjectRole
from streams.callers import Caller
from streams.stores import worker_use
from streams.stores.database import Database
from streams.stores.worker_use import Used
from streams.systems.annotations import numbers, reading
from streams.systems.annotations.access import Seat, seat_of, visible
from streams.systems.annotations.editing import Editor
from streams.systems.annotations.exports import Exports
from streams.systems.annotations.files import Files
from streams.systems.annotations.load import SYSTEM, Load
from streams.systems.annotations.memory import MemoryWatch
from streams.systems.annotations.numbers import Numbered
from streams.systems.annotations.reading import Row, Rows
from streams.systems.annotations.reports import Reports

T = TypeVar("T")


class Platform:
    """Each call looks at who the caller is in the project.

    Raises RecordNotFound for a project that they may not see, and for what it does not have;
    RoleLacking for what takes another role.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self.load = Load(clock)
        self.memory = MemoryWatch(clock)
        self.files = Files(database, clock)
        self.exports = Exports(database, clock)
        self.reports = Reports(database, clock)

    async def seat(self, caller: Caller, project_id: int) -> Seat:
        """Who the caller is in a project."""
        return await self._database.read(lambda found: seat_of(found, caller, project_id))

    async def used_at(self, times: Iterable[float]) -> Mapping[float, Used]:
        """What the workers used at some times, as far as that is kept, and already."""
        wanted, now = [*times], self._clock.now().timestamp()
        return await self._database.read(
            lambda found: worker_use.at_times(found, SYSTEM, wanted, now)
        )

    async def projects(
        self, caller: Caller, wanted: Mapping[str, Any], *, limit: int, offset: int
    ) -> Rows:
        """A page of the projects that the caller may see."""
        table = PROJECTS.table
        mine = [table.c.tenant == caller.tenant, visible(caller, table.c.id)]
        return await self._database.read(
            lambda c: reading.page(c, PROJECTS, mine, wanted, limit=limit, offset=offset)
        )

    async def page(
        self,
        caller: Caller,
        project_id: int,
        kind: Kind,
        wanted: Mapping[str, Any],
        *,
        limit: int,
        offset: int,
    ) -> Rows:
        """A page of a project's records."""
        columns = kind.table.c
        where = [columns.tenant == caller.tenant, columns.project_id == project_id]

        def read(connection: Connection) -> Rows:
            seat_of(connection, caller, project_id)
            return reading.page(connection, kind, where, wanted, limit=limit, offset=offset)

        return await self._database.read(read)

    async def record(self, caller: Caller, project_id: int, kind: Kind, key: int) -> Row:
        """One record of a project."""

        def read(connection: Connection) -> Row:
            seat_of(connection, caller, project_id)
            return reading.found(connection, caller.tenant, kind, project_id, key)

        return await self._database.read(read)

    async def mapping(
        self, caller: Caller, project_id: int, said: Mapping[str, Any] | str
    ) -> Mapping[str, Any]:
        """A field mapping that is said as it is, or by the name under which the project has it.

        Raises InvalidCommand for a name that it does not have.
        """
        if not isinstance(said, str):
            return said

        def read(connection: Connection) -> Mapping[str, Any] | None:
            seat_of(connection, caller, project_id)
            return reading.mapping_named(connection, caller.tenant, project_id, said)

        found = await self._database.read(read)
        if found is None:
            raise InvalidCommand(
                f"project {project_id} has no field mapping {said!r}; "
                f"GET /api/v1/projects/{project_id}/mappings lists them",
                pointer="/field_mapping",
            )
        return found

    async def create_project(self, caller: Caller, fields: Mapping[str, Any]) -> Row:
        """A new project, with the caller as its administrator."""

        def write(connection: Connection) -> Row:
            key = Editor(connection, caller, self._clock).create_project(fields)
            return reading.found(connection, caller.tenant, PROJECTS, key, key)

        return await self._database.write(write)

    async def create(
        self, caller: Caller, project_id: int, kind: Kind, fields: Mapping[str, Any]
    ) -> Row:
        """A new record of a project."""

        def write(editor: Editor) -> Row:
            key = editor.create(kind, project_id, fields)
            return reading.found(editor.connection, caller.tenant, kind, project_id, key)

        return await self._write(caller, project_id, kind, write, grants=fields.get("role"))

    async def change(
        self,
        caller: Caller,
        project_id: int,
        kind: Kind,
        key: int,
        fields: Mapping[str, Any],
        *,
        version: int | None,
    ) -> Row:
        """Other values for some fields of a record, if it is at that version."""

        def write(editor: Editor) -> Row:
            editor.change(kind, project_id, key, fields, version)
            return reading.found(editor.connection, caller.tenant, kind, project_id, key)

        return await self._write(
            caller, project_id, kind, write, key=key, grants=fields.get("role")
        )

    async def delete(
        self, caller: Caller, project_id: int, kind: Kind, key: int, *, version: int | None
    ) -> None:
        """A record is no more, if it is at that version."""

        def write(editor: Editor) -> None:
            editor.delete(kind, project_id, key, version)

        await self._write(caller, project_id, kind, write, key=key)

    async def number(self, caller: Caller, project_id: int, kind: str, job_id: str) -> Numbered:
        """The number of a job that the caller has submitted."""
        now = self._clock.now().timestamp()
        return await self._database.write(
            lambda c: numbers.give(c, caller, project_id, kind, job_id, now)
        )

    async def operation(self, caller: Caller, operation_id: int) -> tuple[Numbered, Seat]:
        """A bulk operation, and who the caller is in its project."""

        def read(connection: Connection) -> tuple[Numbered, Seat]:
            found = numbers.find(connection, caller, operation_id)
            return found, seat_of(connection, caller, found.project_id)

        return await self._database.read(read)

    async def operations(
        self, caller: Caller, wanted: Mapping[str, Any], *, limit: int, offset: int
    ) -> Rows:
        """A page of the operations in projects that the caller may see, the latest first."""
        now = self._clock.now()
        return await self._database.read(
            lambda c: numbers.page(c, caller, wanted, now, limit=limit, offset=offset)
        )

    async def _write(
        self,
        caller: Caller,
        project_id: int,
        kind: Kind,
        write: Callable[[Editor], T],
        *,
        key: int | None = None,
        grants: ProjectRole | None = None,
    ) -> T:
        """One transaction: who the caller is, what is there, and the write."""

        def work(connection: Connection) -> T:
            seat = seat_of(connection, caller, project_id)
            seat.demand(kind.writing, f"to change {kind.name}")
            if key is not None:
                present = reading.found(connection, caller.tenant, kind, project_id, key)
                if kind is MEMBERS:
                    _demand_rank(seat, ProjectRole(present["role"]))
            if grants is not None:
                _demand_rank(seat, grants)
            return write(Editor(connection, caller, self._clock))

        return await self._database.write(work)


def _demand_rank(seat: Seat, role: ProjectRole) -> None:
    """Nobody makes somebody more than they are, or takes it from them."""
    seat.demand(role, f"to have a say over members with the role {role.value}")
