"""Failures: which items of a job have failed, and why, from the ledgers of its chunks."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sqlalchemy import Connection, bindparam, select

from domain.commands import Selection
from domain.outcomes import Fault, ItemStatus
from domain.ranges import Ranges
from streams.stores import ledger as ledgers
from streams.stores.faults import signature
from streams.stores.outcomes import ledger_rows
from streams.stores.schema import outcomes
from streams.stores.statements import Statement, among, listed

_LEDGERS = Statement(
    lambda dialect: select(outcomes.c.chunk, outcomes.c.ledger).where(
        outcomes.c.job_id == bindparam("job"), among(outcomes.c.chunk, dialect)
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
    for index, code, _message, _pointer, retryable, *_details in document.get("faults") or ():
        yield Fault(positions[index], code, retryable)


def failed_items(connection: Connection, job_id: str) -> Ranges:
    """The positions whose latest word is ``failed``."""
    return Ranges.of(position for position, _code, _message in _failures(connection, job_id))


def failed_like(connection: Connection, job_id: str, other: Ranges, wanted: Selection) -> Ranges:
    """Those of the failed items whose error has one of the codes and signatures wanted."""
    found = (
        position
        for position, code, message in _failures(connection, job_id)
        if not wanted.codes or code in wanted.codes
        if not wanted.signatures or signature(message) in wanted.signatures
    )
    return Ranges.of(found) - other


def failed_codes(connection: Connection, job_id: str, other: Ranges) -> set[str]:
    """The codes of the failed items, but for ``other`` ones."""
    failed = _failures(connection, job_id)
    return {code for position, code, _message in failed if position not in other}


def _failures(connection: Connection, job_id: str) -> Iterator[tuple[int, str, str]]:
    """Position, code and message of each item whose latest word is ``failed``."""
    spoken = bytearray()
    for _chunk, _attempt, data in ledger_rows(connection, job_id):
        document = ledgers.decode(data)
        words = {fault[0]: (fault[1], fault[2]) for fault in document.get("faults") or ()}
        positions = Ranges.from_spans(document["items"])
        for index, (position, letter) in enumerate(
            zip(positions, document["statuses"], strict=True)
        ):
            status = ledgers.LETTERS[letter]
            if position >= len(spoken):
                spoken.extend(bytes(position + 1 - len(spoken)))
            if status is None or spoken[position]:
                continue
            spoken[position] = 1
            if status is ItemStatus.FAILED:
                yield (position, *words[index])
