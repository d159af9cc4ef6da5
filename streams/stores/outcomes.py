"""Outcome rows: the first of a chunk wins, for ever. And the results of slow items."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from pydantic import ValidationError
from sqlalchemy import (
    BigInteger,
    Connection,
    Dialect,
    bindparam,
    cast,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.sql.expression import ClauseElement

from domain.errors import ItemsArchived, UnsupportedVersion
from domain.outcomes import ClosedChunk, Closing, Done, Failed, Result, Skipped
from domain.ranges import Ranges
from streams.stores import ledger as ledgers
from streams.stores.ledger import Ledger, LedgerEntry
from streams.stores.notifying import notify
from streams.stores.schema import chunk_faults, chunks, item_results, outcomes
from streams.stores.statements import INSERTS, Statement, among, fixed, insertion, listed

NOTHING = Ranges()

OF_CHUNK = (outcomes.c.job_id == chunks.c.job_id) & (outcomes.c.chunk == chunks.c.chunk)
"""Joins the outcome of a chunk."""
COUNTED = (
    (chunk_faults.c.job_id == outcomes.c.job_id)
    & (chunk_faults.c.chunk == outcomes.c.chunk)
    & (chunk_faults.c.sha256 == outcomes.c.sha256)
)
"""Joins what was counted of an outcome's failures, if it was: of this ledger, and no other."""

CHANNEL = "countermand_outcomes"
"""What PostgreSQL notifies when little work was committed; the payload is the job's id."""

_COLUMNS = (
    "job_id",
    "chunk",
    "sequence",
    "closing",
    "attempt",
    "summary",
    "failed",
    "sha256",
    "ledger",
    "images",
    "recorded",
)


def _insertion(dialect: Dialect) -> ClauseElement:
    """On PostgreSQL the server's clock orders commits: those of the workers differ.

    The last thing that a transaction writes is its outcomes. So of two that wrote to the same
    record the one that had to wait for the other has the later time.
    """
    values: dict[str, Any] = {name: bindparam(name) for name in _COLUMNS}
    if dialect.name == "postgresql":
        now = func.extract("epoch", func.clock_timestamp())
        values["sequence"] = cast(now * 1_000_000_000, BigInteger)
    statement: Any = INSERTS[dialect.name](outcomes).values(values)
    made: ClauseElement = statement.on_conflict_do_nothing()
    return made


_INSERT = Statement(_insertion)
_INSERT_FAULTS = insertion(
    chunk_faults, "job_id", "chunk", "sha256", "codes", "groups", or_ignore=True
)
_INSERT_RESULT = insertion(item_results, "job_id", "chunk", "item", "result", or_ignore=True)
_UNRECORDED = fixed(
    select(outcomes.c.summary)
    .where(outcomes.c.job_id == bindparam("job"), ~outcomes.c.recorded)
    .order_by(outcomes.c.sequence, outcomes.c.chunk)
)
_MARK_RECORDED = Statement(
    lambda dialect: (
        update(outcomes)
        .where(outcomes.c.job_id == bindparam("job"), among(outcomes.c.chunk, dialect))
        .values(recorded=True)
    )
)


@dataclass(frozen=True, slots=True)
class ItemResult:
    """The stored result of one slow item."""

    item: int
    result: Result
    duration_ms: float


@dataclass(frozen=True, slots=True)
class ItemView:
    """The ledger's present word on an item, with the chunk and attempt that spoke it."""

    entry: LedgerEntry
    chunk: int | None
    attempt: int


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """The outcome of a chunk as it is stored; see the table for its columns."""

    job_id: str
    closed: ClosedChunk
    ledger: Ledger
    attempt: int
    sequence: int
    images: bytes | None = None


def announce(connection: Connection, job_id: str) -> None:
    """Once committed, have whoever drives the job look at it."""
    notify(connection, CHANNEL, job_id)


def insert_outcomes(connection: Connection, rows: Sequence[OutcomeRow]) -> None:
    """Store outcomes of chunks; a chunk that has one already keeps it."""
    _INSERT_FAULTS.send_many(
        connection,
        [
            {
                "job_id": row.job_id,
                "chunk": row.closed.chunk,
                "sha256": row.ledger.sha256,
                "codes": row.ledger.faults.codes,
                "groups": row.ledger.faults.groups,
            }
            for row in rows
            if row.ledger.faults is not None
        ],
    )
    _INSERT.send_many(
        connection,
        [
            {
                "job_id": row.job_id,
                "chunk": row.closed.chunk,
                "sequence": row.sequence,
                "closing": row.closed.closing.value,
                "attempt": row.attempt,
                "summary": row.closed.model_dump_json(),
                "failed": row.closed.failed,
                "sha256": row.ledger.sha256,
                "ledger": row.ledger.data,
                "images": row.images,
                "recorded": False,
            }
            for row in rows
        ],
    )


def sequence_at(now: datetime) -> int:
    """Orders the commits of a job where one process writes: nanoseconds since the epoch."""
    return int(now.timestamp() * 1e9)


def summary_of(
    chunk: int,
    ledger: Ledger,
    *,
    duration_ms: float,
    closing: Closing = Closing.DONE,
    returned: Ranges = NOTHING,
    images: bytes | None = None,
) -> ClosedChunk:
    """What the aggregate records of a ledger, and of the before-images."""
    return ClosedChunk(
        chunk=chunk,
        closing=closing,
        succeeded=ledger.succeeded,
        failed=ledger.failed,
        skipped=ledger.skipped,
        rolled_back=ledger.rolled_back,
        conflict=ledger.conflict,
        planned=ledger.planned,
        returned=returned,
        duration_ms=round(duration_ms, 3),
        sha256=ledger.sha256,
        images="" if images is None else hashlib.sha256(images).hexdigest(),
    )


def unrecorded(connection: Connection, job_id: str) -> list[ClosedChunk]:
    """Outcome rows that the aggregate does not know yet, in the order of their commits.

    Raises UnsupportedVersion for one that a worker of a later release wrote.
    """
    rows = _UNRECORDED.run(connection, job=job_id)
    try:
        return [ClosedChunk.model_validate_json(summary) for (summary,) in rows]
    except ValidationError as error:
        raise UnsupportedVersion(
            f"a chunk of job {job_id} was worked by a later release; upgrade the coordinators"
        ) from error


def in_turn(closed: Sequence[ClosedChunk]) -> list[ClosedChunk]:
    """Those of chunks that are worked one after another, as they followed one another.

    That is by their numbers, even if the clock was set back in between. What has come to
    nothing keeps its place: in that order it is worked again.
    """
    done = iter(sorted((one for one in closed if one.closing is Closing.DONE), key=_number))
    return [next(done) if one.closing is Closing.DONE else one for one in closed]


def _number(closed: ClosedChunk) -> int:
    return closed.chunk


def jobs_with_unrecorded(connection: Connection, after: str = "", limit: int = 500) -> list[str]:
    """Jobs whose outcome rows wait to be recorded, by id behind ``after``; for a sweep."""
    waiting = select(outcomes.c.job_id).where(~outcomes.c.recorded, outcomes.c.job_id > after)
    page = waiting.distinct().order_by(outcomes.c.job_id).limit(limit)
    return list(connection.scalars(page))


def unrecorded_among(connection: Connection, job_ids: Sequence[str]) -> list[str]:
    """Those of the jobs whose outcome rows wait to be recorded."""
    waiting = select(outcomes.c.job_id).where(~outcomes.c.recorded, outcomes.c.job_id.in_(job_ids))
    return list(connection.scalars(waiting.distinct()))


def mark_recorded(connection: Connection, job_id: str, recorded: Sequence[int]) -> None:
    """The aggregate knows these outcome rows."""
    _MARK_RECORDED.run(connection, job=job_id, numbers=listed(recorded))


# -- slow items ---------------------------------------------------------------------


def store_item_results(
    connection: Connection, job_id: str, chunk: int, results: Sequence[ItemResult]
) -> None:
    """Store results of slow items; the first of an item wins."""
    _INSERT_RESULT.run_many(
        connection,
        [
            {
                "job_id": job_id,
                "chunk": chunk,
                "item": result.item,
                "result": _encode(result),
            }
            for result in results
        ],
    )


def item_results_of(connection: Connection, job_id: str, chunk: int) -> list[ItemResult]:
    """The results of a slow chunk so far, by item."""
    rows = connection.execute(
        select(item_results.c.item, item_results.c.result)
        .where(item_results.c.job_id == job_id, item_results.c.chunk == chunk)
        .order_by(item_results.c.item)
    )
    return [_decode(row.item, bytes(row.result)) for row in rows]


def drop_item_results(connection: Connection, job_id: str, chunk: int) -> None:
    """They are folded into the chunk's outcome row."""
    connection.execute(
        delete(item_results).where(item_results.c.job_id == job_id, item_results.c.chunk == chunk)
    )


def folded(results: Sequence[ItemResult]) -> Ledger:
    """The ledger of a slow chunk from the results of its items."""
    return ledgers.encode_results(
        Ranges.of(result.item for result in results),
        [result.result for result in results],
        duration_ms=0.0,
        durations=[result.duration_ms for result in results],
    )


def _encode(result: ItemResult) -> bytes:
    fields: dict[str, Any]
    match result.result:
        case Done():
            fields = {"done": result.result.result, "score": result.result.score}
        case Failed():
            failed = result.result
            said = [failed.code, failed.message, failed.pointer, failed.retryable]
            fields = {"failed": said if failed.details is None else [*said, failed.details]}
        case Skipped():
            fields = {"skipped": result.result.reason}
    document = fields | {"ms": result.duration_ms}
    return orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS, default=str)


def _decode(item: int, data: bytes) -> ItemResult:
    fields = orjson.loads(data)
    result: Result
    if "failed" in fields:
        result = Failed(*fields["failed"])
    elif "skipped" in fields:
        result = Skipped(fields["skipped"])
    else:
        result = Done(fields["done"], fields["score"])
    return ItemResult(item, result, fields["ms"])


# -- reading the ledger -------------------------------------------------------------


def ledger_rows(
    connection: Connection, job_id: str, *, only_failed: bool = False
) -> Iterator[tuple[int, int, bytes]]:
    """``(chunk, attempt, ledger)`` of every closed chunk, latest in plan order first."""
    query = (
        select(outcomes.c.chunk, outcomes.c.attempt, outcomes.c.ledger)
        .where(outcomes.c.job_id == job_id)
        .order_by(outcomes.c.chunk.desc())
        .execution_options(yield_per=50)
    )
    if only_failed:
        query = query.where(outcomes.c.failed > 0)
    for row in connection.execute(query):
        yield row.chunk, row.attempt, bytes(row.ledger)


def ledger_of(connection: Connection, job_id: str, chunk: int) -> bytes:
    """The ledger of a chunk that has its outcome; raises ItemsArchived when it was given up."""
    statement = select(outcomes.c.ledger).where(
        outcomes.c.job_id == job_id, outcomes.c.chunk == chunk
    )
    ledger = connection.scalar(statement)
    if ledger is None:
        raise ItemsArchived(
            f"what became of the items of job {job_id} was given up meanwhile; look at the job, "
            "which names its archive"
        )
    return bytes(ledger)


def planned_items(connection: Connection, job_id: str, chunk: int) -> tuple[Ranges, int | None]:
    """The items that a chunk was planned with, and the chunk that it undoes."""
    row = connection.execute(
        select(chunks.c["items"], chunks.c.target).where(
            chunks.c.job_id == job_id, chunks.c.chunk == chunk
        )
    ).one()
    return Ranges.from_spans(orjson.loads(row[0])), row.target
