"""A workbench for operations: chunks worked by the engine's own function on a real database."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Table, select

from domain.execution import parse_items, work_chunk
from domain.operation import Context, Operation
from domain.outcomes import Done, Failed, Result, UndoResult
from domain.records import Writer
from domain.registry import Registry
from streams.stores.database import Database
from streams.stores.records import Ahead, SqlRecords, restore
from streams.stores.records.parts import JobParts

NOW = datetime(2025, 3, 1, 12, tzinfo=UTC)


class FixedClock:
    """Always the same moment."""

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0


@dataclass
class Workbench:
    """Works each chunk in a transaction of its own; a chunk's number is its place in line."""

    database: Database
    operations: Sequence[Operation]
    chunks: list[tuple[Writer, bytes | None]] = field(default_factory=list, repr=False)

    def work(
        self,
        kind: str,
        items: Sequence[Any],
        *,
        params: Mapping[str, Any] | None = None,
        tenant: str = "local",
        actor: str = "ada",
        job: str = "job-1",
        first: int = 0,
    ) -> list[Result]:
        """The results of a chunk of JSON items, the first of which has that position."""
        operation = Registry(self.operations).get(kind)
        writer = Writer(tenant, actor, job, 0, len(self.chunks))
        with self.database.engine.begin() as connection:
            records = SqlRecords(connection, writer, NOW.timestamp())
            context = Context(
                job_id=job,
                tenant=tenant,
                actor=actor,
                params=operation.params.model_validate(dict(params or {})),
                chunk=writer.chunk,
                attempt=1,
                positions=range(first, first + len(items)),
                deadline=60.0,
                clock=FixedClock(),
                records=records,
                parts=JobParts(records, job),
            )
            parsed = parse_items(operation, [json.dumps(item).encode() for item in items])
            results = work_chunk(operation, context, parsed, records.is_fault)
            self.chunks.append((writer, records.encoded_images()))
        return results

    def make(self, kind: str, items: Sequence[Any], **options: Any) -> list[int]:
        """The ids of records that must all be made."""
        return [document(result)["id"] for result in self.work(kind, items, **options)]

    def undo(self, chunk: int = -1) -> dict[int, UndoResult]:
        """Undo a chunk, by default the last one."""
        target, images = self.chunks[chunk]
        assert images is not None
        writer = Writer(target.tenant, target.actor, target.job_id, 1, 1000 + len(self.chunks))
        tables = {
            table.name: table
            for operation in self.operations
            for table in operation.tables
            if isinstance(table, Table)
        }
        return self.database.write_now(
            lambda connection: restore(
                Ahead(connection, tables, writer.tenant),
                images,
                writer,
                NOW.timestamp(),
                target=target,
            )
        ).results

    def rows(self, table: Table) -> dict[int, dict[str, Any]]:
        """All rows of a table by id, whoever's they are."""
        found = self.database.read_now(
            lambda connection: connection.execute(select(table)).mappings().all()
        )
        return {row["id"]: dict(row) for row in found}


def document(result: Result) -> Any:
    """The document of an item that must be done."""
    assert isinstance(result, Done), result
    return result.result


def fault(result: Result) -> tuple[str, str, bool]:
    """Code, pointer and whether a retry may help, of an item that must have failed."""
    assert isinstance(result, Failed), result
    assert result.message
    return result.code, result.pointer, result.retryable
