"""A fold of raw event JSON that shares no code with the aggregate.

Counts, status and chunks are worked out from what was planned and closed; the status and
counts that each event repeats are not read here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Raw = tuple[str, bytes]
"""Alias and state of a stored event."""

_UNDOING = {"rollback": "rolled_back", "reapply": "succeeded"}


@dataclass
class Folded:
    """A job; ``waiting`` are the positions that wait for a chunk of the forward direction."""

    status: str = ""
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            ("pending", "succeeded", "failed", "skipped", "rolled_back", "conflict"), 0
        )
    )
    open: dict[int, dict[str, Any]] = field(default_factory=dict)
    waiting: set[int] = field(default_factory=set)
    sealed: bool = False
    started: bool = False
    epoch: int = 0
    generation: int = 0
    direction: str = ""
    stood: str = ""
    undo_failed: bool = False


def fold(events: Iterable[Raw]) -> Folded:
    """The job after the given events, which begin with its first."""
    job = Folded()
    for alias, state in events:
        _STEPS[alias](job, json.loads(state))
    return job


def _submitted(job: Folded, event: dict[str, Any]) -> None:
    job.status, job.sealed = "pending", True
    job.counts["pending"] = event["items"]
    job.waiting = set(range(event["items"]))


def _opened(job: Folded, _event: dict[str, Any]) -> None:
    job.status = "draft"


def _appended(job: Folded, event: dict[str, Any]) -> None:
    job.counts["pending"] += event["items"]
    job.waiting |= set(range(event["first"], event["first"] + event["items"]))


def _sealed(job: Folded, _event: dict[str, Any]) -> None:
    job.sealed = True
    if job.status == "draft":
        job.status = "pending"


def _planned(job: Folded, event: dict[str, Any]) -> None:
    for chunk in event["chunks"]:
        job.open[chunk["chunk"]] = chunk
        if chunk["cause"] not in _UNDOING:
            job.waiting -= _positions(chunk["items"])
    if job.status != "rolling_back":
        job.status, job.started = "running", True


def _closed(job: Folded, event: dict[str, Any]) -> None:
    for closed in event["chunks"]:
        planned = job.open.pop(closed["chunk"])
        come = _UNDOING.get(planned["cause"])
        if come is None:
            for status in ("succeeded", "failed", "skipped", "planned"):
                _move(job, "pending", status, closed.get(status, 0))
            job.waiting |= _positions(closed["returned"])
            continue
        gone = "succeeded" if come == "rolled_back" else "rolled_back"
        _move(job, gone, come, closed[come])
        _move(job, gone, "conflict", closed["conflict"])
        job.undo_failed = job.undo_failed or closed["failed"] > 0


def _paused(job: Folded, event: dict[str, Any]) -> None:
    job.status, job.epoch = "paused", event["epoch"]


def _resumed(job: Folded, _event: dict[str, Any]) -> None:
    job.status = "running" if job.started else "pending"


def _cancelled(job: Folded, event: dict[str, Any]) -> None:
    job.status, job.epoch = "cancelled", event["epoch"]
    _move(job, "pending", "skipped", job.counts["pending"])
    job.waiting.clear()
    # A draft takes no more items.
    job.sealed = True


def _retried(job: Folded, event: dict[str, Any]) -> None:
    again = _positions(event["items"])
    _move(job, "failed", "pending", len(again))
    job.waiting |= again
    job.status = "running"


def _undo_started(job: Folded, event: dict[str, Any]) -> None:
    if job.status not in ("rolled_back", "rollback_incomplete"):
        job.stood = job.status
    job.direction, job.undo_failed = event["direction"], False
    job.epoch, job.generation = event["epoch"], job.generation + 1
    job.status = "rolling_back"


def _finished(job: Folded, _event: dict[str, Any]) -> None:
    if job.status == "rolling_back":
        back = job.stood if job.direction == "reapply" else "rolled_back"
        job.status = "rollback_incomplete" if job.undo_failed else back
    elif job.counts["failed"] == 0:
        job.status = "completed"
    else:
        good = job.counts["succeeded"] + job.counts.get("planned", 0)
        job.status = "completed_with_errors" if good else "failed"


def _move(job: Folded, source: str, target: str, count: int) -> None:
    if count:
        job.counts[source] -= count
        job.counts[target] = job.counts.get(target, 0) + count


def _positions(spans: list[list[int]]) -> set[int]:
    return {position for first, end in spans for position in range(first, end)}


_STEPS = {
    "job.submitted": _submitted,
    "job.opened": _opened,
    "job.items_appended": _appended,
    "job.sealed": _sealed,
    "job.chunks_planned": _planned,
    "job.chunks_closed": _closed,
    "job.paused": _paused,
    "job.resumed": _resumed,
    "job.cancelled": _cancelled,
    "job.retry_started": _retried,
    "job.undo_started": _undo_started,
    "job.finished": _finished,
}
