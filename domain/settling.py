"""Settling: what a closed chunk says of its items, and the counts after it. Pure."""

from __future__ import annotations

from domain.events import Cause
from domain.outcomes import ClosedChunk, Counts, ItemStatus


def said(cause: Cause, chunk: ClosedChunk) -> int:
    """How many items a closed chunk settles, of the statuses that its cause can lead to."""
    if cause is Cause.ROLLBACK:
        return chunk.rolled_back + chunk.conflict + chunk.failed
    if cause is Cause.REAPPLY:
        return chunk.succeeded + chunk.conflict + chunk.failed
    return chunk.succeeded + chunk.failed + chunk.skipped + chunk.planned


def settled(counts: Counts, cause: Cause, chunk: ClosedChunk, *, deferred: int = 0) -> Counts:
    """The counts after a chunk was closed; ``deferred`` of its failed items stay pending."""
    if cause is Cause.ROLLBACK:
        left = {ItemStatus.ROLLED_BACK: chunk.rolled_back, ItemStatus.CONFLICT: chunk.conflict}
        return counts.spread(ItemStatus.SUCCEEDED, left)
    if cause is Cause.REAPPLY:
        left = {ItemStatus.SUCCEEDED: chunk.succeeded, ItemStatus.CONFLICT: chunk.conflict}
        return counts.spread(ItemStatus.ROLLED_BACK, left)
    worked = {
        ItemStatus.SUCCEEDED: chunk.succeeded,
        ItemStatus.FAILED: chunk.failed - deferred,
        ItemStatus.PLANNED: chunk.planned,
        ItemStatus.SKIPPED: chunk.skipped,
    }
    return counts.spread(ItemStatus.PENDING, worked)


def require_account(chunk: ClosedChunk, cause: Cause, items: int) -> None:
    """Raise RuntimeError unless a closed chunk speaks of each of its items."""
    spoken = said(cause, chunk) + len(chunk.returned)
    if spoken != items:
        raise RuntimeError(
            f"the outcome of chunk {chunk.chunk} speaks of {spoken} items, the chunk has "
            f"{items}; whoever closes a chunk must say what became of each item"
        )
