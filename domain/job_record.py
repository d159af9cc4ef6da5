"""How a job emits events, is kept as them, and refuses what its status does not allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import PrivateAttr

from domain.errors import VersionMismatch, WrongState
from domain.events import JobEvent, JobSnapshot, JobStatus, Run
from domain.job_plan import JobPlan
from domain.verbs import Verb


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who causes an event, by which command, when."""

    actor: str
    command_id: str
    at: datetime


class JobRecord(JobPlan):
    """A job with the events that are not stored yet."""

    _pending: list[JobEvent] = PrivateAttr(default_factory=list)

    # -- questions ----------------------------------------------------------------

    def check(self, verb: Verb) -> None:
        """Raise WrongState, which names the status and what is possible, unless allowed."""
        if verb in self.possible():
            return
        possible = ", ".join(self.possible()) or "nothing"
        raise WrongState(
            f"the job is {self.status}{self.kept}: {verb} is not possible; possible: {possible}"
        )

    def check_version(self, tenant: str, wanted: int | None) -> None:
        """Raise VersionMismatch when a caller who can see the job insists on another version."""
        if wanted is not None and self.version and self.tenant == tenant and wanted != self.version:
            raise VersionMismatch(
                f"the job is at version {self.version}, not at {wanted} any more; look at it again"
            )

    # -- persistence --------------------------------------------------------------

    def collect_events(self) -> Sequence[JobEvent]:
        """Hand over the events that are not stored yet."""
        events, self._pending = self._pending, []
        return events

    def snapshot(self) -> JobSnapshot:
        """The state as a snapshot; raises when there are events not yet collected."""
        if self._pending:
            raise RuntimeError("collect and store the pending events before taking a snapshot")
        return JobSnapshot(
            originator_id=self.id,
            originator_version=self.version,
            state=self.model_dump(mode="json"),
        )

    def _emit(self, kind: type[JobEvent], stamp: Stamp, **fields: Any) -> None:
        values: dict[str, Any] = {
            "tenant": self.tenant,
            "status": self.status,
            "counts": self.counts,
            "started_at": self.started_at,
            "run": self._run_told(),
            **fields,
        }
        if self.version == 0 and self.traceparent:
            values["traceparent"] = self.traceparent
        if values["started_at"] is None and values["status"] is JobStatus.RUNNING:
            values["started_at"] = stamp.at
        event = kind(
            originator_id=self.id,
            originator_version=self.version + 1,
            at=stamp.at,
            actor=stamp.actor,
            command_id=stamp.command_id,
            **values,
        )
        self._pending.append(event)
        self.apply(event)

    def _run_told(self) -> Run | None:
        """The run, unless readers know it: the first one, before which nothing was settled."""
        known = self.meter.began == self.started_at and not self.meter.before
        return None if known else self.run
