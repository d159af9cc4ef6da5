"""Saying: the verbs with which a job is steered, and what is said beside the reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from domain.commands import (
    ApproveJob,
    ArchiveJob,
    BaseCommand,
    BatchUndo,
    CancelJob,
    HoldJob,
    PauseJob,
    RejectJob,
    ReleaseJob,
    ResumeJob,
    RetryJob,
    Selection,
    ShredJob,
    UndoJob,
    UndoSelection,
)
from domain.values import Value

Verb = Literal[
    "pause",
    "resume",
    "cancel",
    "retry",
    "undo",
    "approve",
    "reject",
    "hold",
    "release",
    "shred",
    "archive",
]

STEERING: Mapping[Verb, Callable[..., BaseCommand]] = {
    "pause": PauseJob,
    "resume": ResumeJob,
    "cancel": CancelJob,
    "retry": RetryJob,
    "undo": UndoJob,
    "approve": ApproveJob,
    "reject": RejectJob,
    "hold": HoldJob,
    "release": ReleaseJob,
    "shred": ShredJob,
    "archive": ArchiveJob,
}


class More(Value):
    """What a verb says beside its reason: a retry and an undo which items, and on what terms."""

    retry: Selection = Selection()
    undo: UndoSelection = UndoSelection()
    batch: BatchUndo = BatchUndo()
    force: bool = False
    roll_back: bool = False
    graceful: bool = False
    if_version: int | None = None

    def fields(self, verb: Verb) -> dict[str, Any]:
        """The fields of the verb's command."""
        common = {"if_version": self.if_version}
        match verb:
            case "retry":
                return {**common, "select": self.retry}
            case "undo":
                undo = {"select": self.undo, "batch": self.batch, "force": self.force}
                return {**common, **undo}
            case "cancel":
                return {**common, "roll_back": self.roll_back, "graceful": self.graceful}
            case _:
                return common


NOTHING_MORE = More()
