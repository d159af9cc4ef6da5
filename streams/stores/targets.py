"""Targets: closed chunks that undo chunks put back; what they did, and what of it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, select

from domain.errors import InvalidCommand
from domain.outcomes import ItemStatus
from domain.ranges import Ranges
from streams.stores import ledger as ledgers
from streams.stores.ledger import LedgerEntry
from streams.stores.schema import chunks, outcomes
from streams.stores.statements import Statement, among, fixed, listed

_JOB = bindparam("job", type_=chunks.c.job_id.type)
_OF_A_CHUNK = (chunks.c.job_id == outcomes.c.job_id) & (chunks.c.chunk == outcomes.c.chunk)
_EFFECTIVE = (ItemStatus.SUCCEEDED, ItemStatus.ROLLED_BACK)

_TARGETS = Statement(
    lambda dialect: (
        select(outcomes.c.chunk, outcomes.c.ledger, outcomes.c.images, chunks.c.generation)
        .join(chunks, _OF_A_CHUNK)
        .where(outcomes.c.job_id == _JOB, among(outcomes.c.chunk, dialect))
    )
)
_LEDGER = fixed(
    select(outcomes.c.ledger).where(
        outcomes.c.job_id == _JOB, outcomes.c.chunk == bindparam("chunk")
    )
)
_SAID_SINCE = Statement(
    lambda dialect: (
        select(chunks.c.target, outcomes.c.ledger)
        .join(outcomes, _OF_A_CHUNK)
        .where(chunks.c.job_id == _JOB, among(chunks.c.target, dialect))
    )
)


@dataclass(frozen=True, slots=True)
class Target:
    """A closed chunk as its undo sees it: ledger, before-images, and the undos so far."""

    ledger: bytes
    images: bytes | None
    generation: int
    undos: list[bytes] = field(default_factory=list)

    def standing(self, within: Ranges) -> Ranges:
        """The positions whose records still stand as the chunk left them.

        Those are what an undo of it has to put back: not what an earlier undo of the same
        chunk has settled. ``within`` narrows them, unless it is empty.
        """
        stand = {p for p, status in ledgers.statuses(self.ledger) if status in _EFFECTIVE}
        for undo in self.undos:
            stand -= {position for position, _ in ledgers.statuses(undo)}
        found = Ranges.of(stand)
        return found & within if within else found

    def entries(self, positions: Ranges) -> list[LedgerEntry]:
        """What the chunk said of those items."""
        wanted = set(positions)
        return [entry for entry in ledgers.entries(self.ledger) if entry.position in wanted]


def targets_of(
    connection: Connection, job_id: str, numbered: Sequence[int]
) -> Mapping[int, Target]:
    """Closed chunks of a job by their numbers.

    Raises InvalidCommand when one has no outcome: what it did is not known.
    """
    rows = _TARGETS.run(connection, job=job_id, numbers=listed(numbered))
    found = {
        chunk: Target(bytes(ledger), None if images is None else bytes(images), generation)
        for chunk, ledger, images, generation in rows
    }
    missing = sorted(set(numbered) - set(found))
    if missing:
        raise InvalidCommand(
            f"chunk {missing[0]} of job {job_id} is to be undone and has no outcome; run "
            "`countermand audit verify`"
        )
    for target, ledger in said_since(connection, job_id, numbered):
        found[target].undos.append(ledger)
    return found


def said_since(
    connection: Connection, job_id: str, numbered: Sequence[int]
) -> list[tuple[int, bytes]]:
    """Those chunks that were undone, each with the ledger of an undo."""
    rows = _SAID_SINCE.run(connection, job=job_id, numbers=listed(numbered))
    return [(target, bytes(ledger)) for target, ledger in rows]


def stands(connection: Connection, job_id: str, chunk: int) -> bool:
    """Whether a closed chunk has items that no undo of it has settled."""
    ledger = _LEDGER.run(connection, job=job_id, chunk=chunk).scalar()
    if ledger is None:
        return False
    undos = [undo for _, undo in said_since(connection, job_id, [chunk])]
    return bool(Target(bytes(ledger), None, 0, undos).standing(Ranges()))
