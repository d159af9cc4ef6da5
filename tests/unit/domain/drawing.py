"""The job's state machine as ``docs/state-machine.md`` draws it."""

from __future__ import annotations

import re
from pathlib import Path

from domain.events import JobEvent, JobStatus

Edge = tuple[str, str, str]
"""Status before (``[*]`` for none), label, status after."""

LABELS = {
    "job.submitted": "submit",
    "job.opened": "open",
    "job.items_appended": "append",
    "job.sealed": "seal",
    "job.approved": "approve",
    "job.rejected": "reject",
    "job.items_edited": "edit",
    "job.repeats_skipped": "leave out",
    "job.start_due": "start",
    "job.deadline_passed": "late",
    "job.steps_submitted": "submit",
    "job.children_moved": "hear",
    "job.dependencies_met": "heed",
    "job.skipped": "skip",
    "job.chunks_planned": "plan",
    "job.chunks_closed": "close",
    "job.attempts_due": "due",
    "job.prepared": "prepare",
    "job.paused": "pause",
    "job.stopped": "stop",
    "job.resumed": "resume",
    "job.cancelling": "wind down",
    "job.cancelled": "cancel",
    "job.retry_started": "retry",
    "job.undo_started": "undo",
    "job.adjusted": "adjust",
    "job.finished": "finish",
    "job.held": "hold",
    "job.released": "release",
    "job.shredded": "shred",
    "job.archived": "archive",
    "job.emptied": "empty",
}
"""How the drawing calls each event."""

START = "[*]"
_DOCUMENT = Path(__file__).parents[3] / "docs" / "state-machine.md"
_DIAGRAM = re.compile(r"```mermaid\nstateDiagram-v2\n(.*?)```", re.DOTALL)
_EDGE = re.compile(r"^\s*(\S+) --> (\S+): (.+)$")


def drawn_edges(drawing: int = 0) -> set[Edge]:
    """The edges of a drawing, the first or another; raises ValueError on a line that is none."""
    diagrams = _DIAGRAM.findall(_DOCUMENT.read_text(encoding="utf-8"))
    if len(diagrams) <= drawing:
        raise ValueError(f"{_DOCUMENT} has no state diagram {drawing}")
    edges: set[Edge] = set()
    for line in filter(str.strip, diagrams[drawing].splitlines()):
        found = _EDGE.match(line)
        if found is None:
            raise ValueError(f"not an edge: {line!r}")
        before, after, labels = found.groups()
        for label in labels.split(","):
            edges.add((before, label.strip(), after))
    return edges


def edges_of(before: JobStatus | None, events: list[JobEvent]) -> list[Edge]:
    """The edges that events go along, beginning in ``before``."""
    edges: list[Edge] = []
    status = before.value if before else START
    for event in events:
        edges.append((status, LABELS[event.alias], event.status.value))
        status = event.status.value
    return edges
