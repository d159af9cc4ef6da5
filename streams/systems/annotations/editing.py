"""Editing: one record at a time, by the operations that write many, through the records port.

So the same rules hold for one as for a thousand, and its history has who wrote.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from sqlalchemy import Connection, Table

from domain.errors import (
    EditRefused,
    RecordNotFound,
    RecordRefused,
    VersionMismatch,
)
from domain.execution import Items, work_chunk
from domain.operation import Context, Operation
from domain.outcomes import Done, Failed
from domain.ports import Clock
from domain.record_operations import DeletedRecord
from domain.records import Deletion, Writer
from domain.systems.annotations import tables
from domain.systems.annotations.kinds import MEMBERS, PROJECTS, Kind
from domain.systems.annotations.roles import ProjectRole
from streams.callers import Caller
from streams.stores.project_figures import note_edit
from streams.stores.records import SqlRecords

AT_ONCE = 500
"""Records that are read at a time where all of a project's go."""
OUTSIDE = -1
"""The position of what no item of a job has caused."""
_AS_STORED = "code_points"
"""What offsets count that nothing is said of."""


@dataclass(frozen=True, slots=True)
class Editor:
    """Writes for one caller in one transaction; what raises must end it."""

    connection: Connection
    caller: Caller
    clock: Clock

    def create(self, kind: Kind, project_id: int, fields: Mapping[str, Any]) -> int:
        """A new record of a project; returns its id."""
        given, offsets = _counting(fields)
        if "project_id" in kind.new.model_fields:
            given["project_id"] = project_id
        item = kind.new.model_validate(given)
        key = int(self._done(kind.create, item, project_id, offsets)["id"])
        self._note(kind, project_id, "created")
        return key

    def create_project(self, fields: Mapping[str, Any]) -> int:
        """A new project, which its creator administers."""
        item = PROJECTS.new.model_validate(dict(fields))
        project_id = int(self._done(PROJECTS.create, item, 0)["id"])
        self._note(PROJECTS, project_id, "created")
        founder = {"subject": self.caller.actor, "role": ProjectRole.ADMIN}
        self.create(MEMBERS, project_id, founder)
        return project_id

    def change(
        self,
        kind: Kind,
        project_id: int,
        key: int,
        fields: Mapping[str, Any],
        version: int | None,
    ) -> None:
        """Other values for some fields of a record."""
        given, offsets = _counting(fields)
        item = kind.changed.model_validate({**given, "id": key, "version": version})
        self._done(kind.update, item, project_id, offsets)
        self._note(kind, project_id, "changed")

    def delete(self, kind: Kind, project_id: int, key: int, version: int | None) -> None:
        """The record is no more; of a project its members and mappings are neither."""
        if kind is PROJECTS:
            for own in (tables.members, tables.mappings):
                self._delete_all(own, project_id)
        self._done(kind.delete, DeletedRecord(id=key, version=version), project_id)
        self._note(kind, project_id, "deleted")

    def _delete_all(self, table: Table, project_id: int) -> None:
        records = self._records()
        while found := records.find(
            table, table.c.project_id == project_id, columns=["id"], limit=AT_ONCE
        ):
            records.delete(table, [Deletion(row["id"]) for row in found])

    def _done(
        self, operation: Operation, item: Any, project_id: int, offsets: Any = _AS_STORED
    ) -> Any:
        """What the operation answers; raises an error for what it refuses."""
        said = {"project_id": project_id, "offsets": offsets}
        known = operation.params.model_fields
        params = {name: value for name, value in said.items() if name in known}
        records = self._records()
        context = Context(
            job_id="",
            tenant=self.caller.tenant,
            actor=self.caller.actor,
            params=operation.params.model_validate(params),
            chunk=0,
            attempt=1,
            positions=[OUTSIDE],
            deadline=math.inf,
            clock=self.clock,
            records=records,
        )
        given = Items([item], lambda _: [item])
        (result,) = work_chunk(operation, context, given, records.is_fault)
        if isinstance(result, Done):
            return result.result
        if isinstance(result, Failed):
            _refuse(result)
        raise RuntimeError(f"{operation.kind} has answered {result!r} to a single edit")

    def _note(self, kind: Kind, project_id: int, verb: str) -> None:
        """Count it for the project: of a deleted record nothing else tells whose it was."""
        who, now = self.caller, self.clock.now().timestamp()
        note_edit(
            self.connection, who.tenant, project_id, who.actor, now, kind=kind.name, verb=verb
        )

    def _records(self) -> SqlRecords:
        writer = Writer(self.caller.tenant, self.caller.actor)
        return SqlRecords(self.connection, writer, self.clock.now().timestamp())


def _counting(fields: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """The fields of a record, and what the offsets among them count."""
    given = dict(fields)
    return given, given.pop("offsets", _AS_STORED)


def _refuse(failed: Failed) -> NoReturn:
    """Raise what callers are told of a failure."""
    match failed.code:
        case "record_not_found":
            raise RecordNotFound(failed.message)
        case "version_conflict":
            raise VersionMismatch(failed.message)
        case "record_refused":
            raise RecordRefused(failed.message)
        case "handler_error" | "plugin_invalid" | "timeout":
            raise RuntimeError(failed.message)
        case code:
            raise EditRefused(f"{code}: {failed.message}", pointer=failed.pointer)
