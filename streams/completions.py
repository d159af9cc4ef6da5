"""Completions: what the outcomes topic says of chunks, for whoever listens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from domain.outcomes import ClosedChunk
from streams import topics
from streams.envelope import ChunkOutcome, ChunksCompleted, ChunksFailed, Outgoing, encode
from streams.stores.chunks import Control
from streams.stores.outcomes import OutcomeRow

Completing = Callable[[Control, Sequence[OutcomeRow]], list[Outgoing]]


def completions(control: Control, rows: Sequence[OutcomeRow]) -> list[Outgoing]:
    """The completion and failure events of chunks whose outcomes are stored."""
    failed = [row for row in rows if _has_failed(row.closed)]
    completed = [row for row in rows if not _has_failed(row.closed)]
    kinds = ((ChunksFailed, failed), (ChunksCompleted, completed))
    return [_event(kind, control, found) for kind, found in kinds if found]


def _event(
    kind: type[ChunksFailed | ChunksCompleted], control: Control, rows: Sequence[OutcomeRow]
) -> Outgoing:
    message = kind(
        job_id=control.job_id,
        tenant=control.tenant,
        operation=control.operation,
        chunks=tuple(map(_chunk_outcome, rows)),
    )
    return Outgoing(topic=topics.OUTCOMES, key=control.job_id.encode(), value=encode(message))


def _has_failed(closed: ClosedChunk) -> bool:
    return closed.failed > 0 and not (closed.succeeded or closed.skipped or closed.planned)


def _chunk_outcome(row: OutcomeRow) -> ChunkOutcome:
    closed = row.closed
    return ChunkOutcome(
        chunk=closed.chunk,
        attempt=row.attempt,
        succeeded=closed.succeeded,
        failed=closed.failed,
        skipped=closed.skipped,
        rolled_back=closed.rolled_back,
        conflict=closed.conflict,
        planned=closed.planned,
        duration_ms=closed.duration_ms,
    )
