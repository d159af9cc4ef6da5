"""Findings: what verification has found wrong, in words that name the place."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

MAX_FINDINGS = 1000
"""More are counted and not kept: one wrong key would otherwise be a finding for each job."""


class Kind(StrEnum):
    """What is wrong. ``unsigned`` may be the trace of a crash; nothing else may."""

    DAMAGED = "damaged"
    EVENT_CHANGED = "event_changed"
    EVENT_MISSING = "event_missing"
    TAIL_MISSING = "tail_missing"
    JOB_MISSING = "job_missing"
    HEAD_DIFFERS = "head_differs"
    HEADS_LINE = "heads_line"
    UNSIGNED = "unsigned"
    PAYLOAD = "payload"
    OUTCOME = "outcome"
    RULE = "rule"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault. ``version`` is None when it is not about one event."""

    kind: Kind
    message: str
    job_id: str = ""
    version: int | None = None


@dataclass
class Report:
    """What was looked at, and what is wrong with it; ``more`` findings were not kept.

    Of ``archived`` jobs only the events were, for the rest is in the files that those name. What
    was sent in ``sealed`` uploads of an archive was not read, for the keys are elsewhere.
    """

    jobs: int = 0
    events: int = 0
    parts: int = 0
    outcomes: int = 0
    archived: int = 0
    sealed: int = 0
    findings: list[Finding] = field(default_factory=list)
    more: int = 0

    @property
    def sound(self) -> bool:
        """Whether everything is as it was written."""
        return not self.findings

    def add(self, kind: Kind, message: str, job_id: str = "", version: int | None = None) -> None:
        """Note a fault."""
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(kind, message, job_id, version))
        else:
            self.more += 1
