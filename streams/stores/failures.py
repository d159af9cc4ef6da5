"""Failures: which items of a job have failed, and why, from the ledgers of its chunks."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sqlalchemy import Connection, bindparam, select

from domain.commands import Selection
from domain.outcomes import Fault
from domain.ranges import Ranges
from streams.stores import ledger as ledgers
from streams.stores.error_groups import Spoken, signature
from streams.stores.outcomes import ledger_rows
from streams.stores.schema import outcomes
from streams.stores.statements import Statement, listed, numbers

_LEDGERS = Statement(
    lambda dialect: select(outcomes.c.chunk, outcomes.c.ledger).where(
        outcomes.c.job_id == bindparam("job"), outcomes.c.chunk.in_(numbers(dialect))
    )
)


def faults_of(
    connection: Connection, job_id: str, chunks: Collection[int]
) -> dict[int, list[Fault]]:
    """The failed items of those chunks, by the chunk's number."""
    if not chunks:
        return {}
    rows = _LEDGERS.run(connection, job=job_id, numbers=listed(list(chunks)))
    return {chunk: list(_faults(bytes(data))) for chunk, data in rows}


def _faults(data: bytes) -> Iterator[Fault]:
    document = ledgers.decode(data)
    positions = list(Ranges.from_spans(document["items"]))
    for index, code, _message, _pointer, retryable in document.get("faults") or ():
        yield Fault(positions[index], code, retryable)


def failed_items(connection: Connection, job_id: str, other: Ranges) -> Ranges:
    """The positions whose latest word is ``failed``; those of ``other`` are left out."""
    spoken = Spoken(other)
    failed: list[int] = []
    for _chunk, _attempt, data in ledger_rows(connection, job_id):
        failed += spoken.take(ledgers.decode(data)).values()
    return Ranges.of(failed)


def failed_like(connection: Connection, job_id: str, other: Ranges, wanted: Selection) -> Ranges:
    """Those of the failed items whose error has one of the codes and signatures wanted."""
    spoken = Spoken(other)
    found: list[int] = []
    for _chunk, _attempt, data in ledger_rows(connection, job_id):
        document = ledgers.decode(data)
        failed = spoken.take(document)
        for index, code, message, _pointer, _retryable in document.get("faults") or ():
            if index in failed and _is_like(wanted, code, message):
                found.append(failed[index])
    return Ranges.of(found)


def _is_like(wanted: Selection, code: str, message: str) -> bool:
    if wanted.codes and code not in wanted.codes:
        return False
    return not wanted.signatures or signature(message) in wanted.signatures
