"""A job told step by step, for tests: each call is one command or one set of outcome rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from domain import portions
from domain.archiving import ArchiveFile
from domain.caps import adjusted
from domain.commands import Adjustment, JobSpec
from domain.editing import Edited
from domain.events import JobEvent, JobStatus
from domain.job import Job, Stamp
from domain.jobs import JobMapper
from domain.options import JobOptions, Start
from domain.outcomes import ClosedChunk, Closing, Fault
from domain.ranges import Ranges
from domain.record_filter import RecordSelection
from domain.retrying import Failures
from domain.reversal import Part
from domain.schedule import Measured, rescheduled

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class Story:
    """A job, the events that it has emitted so far, and short ways to drive it."""

    def __init__(self, **options: object) -> None:
        self.spec = JobSpec(
            operation="shop.reprice",
            params={"factor": 1.5, "currencies": ["EUR", "\u00a5"], "until": None},
            options=JobOptions.model_validate(options),
            name="Spring prices",
            tags=("spring", "shop"),
            priority=7,
        )
        self.job = Job(id="job-1")
        self.approval = ""
        self.measured: Measured | None = None
        self.events: list[JobEvent] = []
        self._commands = 0

    @property
    def stamp(self) -> Stamp:
        """A fresh stamp, a second after the one before."""
        self._commands += 1
        at = BEGIN + timedelta(seconds=self._commands)
        return Stamp(actor="ada", command_id=f"command-{self._commands}", at=at)

    def collect(self) -> list[JobEvent]:
        """The events since the last call; they are also kept in ``events``."""
        fresh = list(self.job.collect_events())
        self.events += fresh
        return fresh

    def selecting(self, confirm: str | None = None) -> Story:
        """Items are to be those that a filter matches."""
        select = RecordSelection.model_validate({"table": "prices", "confirm": confirm})
        self.spec = self.spec.model_copy(update={"select": select})
        return self

    # -- commands -----------------------------------------------------------------

    def submit(self, items: int = 10) -> Story:
        size, approval = items * 20, self.approval
        self.job.submit(
            self.stamp,
            "local",
            self.spec,
            items=items,
            size=size,
            sha256="d1",
            approval=approval,
            measured=self.measured,
        )
        return self

    def open_draft(self) -> Story:
        self.job.open_draft(self.stamp, "local", self.spec)
        return self

    def append(self, items: int = 10, *, part: int = 0) -> Story:
        self.job.append(self.stamp, part=part, items=items, size=items * 20, sha256=f"p{part}")
        return self

    def seal(self, items: int | None = None) -> Story:
        self.job.seal(self.stamp, items, self.approval, self.measured)
        return self

    def edit(self, *dropped: int, edited: Edited | None = None) -> Story:
        items = Ranges.of(dropped)
        self.job.editable(items | (edited.items if edited else Ranges()))
        self.job.edit(self.stamp, edited, items, "a typing error")
        return self

    def skip(self, *positions: int) -> Story:
        """Others are called the same."""
        self.job.skip_repeated(self.stamp, Ranges.of(positions))
        return self

    def approve(self, actor: str = "grace") -> Story:
        self.job.approve(replace(self.stamp, actor=actor), "seen")
        return self

    def reject(self, actor: str = "grace") -> Story:
        self.job.reject(replace(self.stamp, actor=actor), "the wrong list")
        return self

    def hold(self) -> Story:
        self.job.hold(self.stamp, "case 17")
        return self

    def lift_hold(self) -> Story:
        self.job.lift_hold(self.stamp, "closed")
        return self

    def shred(self, reason: str = "asked for") -> Story:
        self.job.shred(self.stamp, reason)
        return self

    def archive(self) -> Story:
        self.job.archive(self.stamp, "the season is over")
        return self

    def empty(self) -> Story:
        file = ArchiveFile(name="job-1/9f9f9f9f9f9f9f9f.ndjson", sha256="9f" * 32, size=4096)
        self.job.empty(self.stamp, file)
        return self

    def plan(self, room: int = 1, *, slow: bool = False) -> Story:
        stamp = self.stamp
        ready = self.job.ready_chunks(most=room, slow=slow, now=stamp.at)
        planned = self.job.plan(stamp, room=room, slow=slow)
        # Fewer only where an event is full.
        full = sum(portions.weight(chunk.items) for chunk in planned) > portions.MAX_SPANS / 2
        assert len(planned) == ready or (full and len(planned) < ready)
        return self

    def pause(self) -> Story:
        self.job.pause(self.stamp, "lunch")
        return self

    def resume(self) -> Story:
        self.job.resume(self.stamp, "back")
        return self

    def cancel(self, *, roll_back: bool = False) -> Story:
        self.job.cancel(self.stamp, "wrong file", roll_back=roll_back)
        return self

    def wind_down(self, *, roll_back: bool = False) -> Story:
        self.job.wind_down(self.stamp, "wrong file", roll_back=roll_back)
        return self

    def retry(self, failed: Ranges, chosen: Ranges | None = None) -> Story:
        self.job.retry(self.stamp, failed, "label exists now", chosen)
        return self

    def wait(self, seconds: int) -> Story:
        """Time goes by, and who has waited long enough may be tried again."""
        self._commands += seconds
        self.job.release(self.stamp)
        return self

    def undo(self, *parts: Part, force: bool = False) -> Story:
        self.job.undo(self.stamp, "mistake", parts=parts, force=force)
        return self

    def adjust(self, *, recalled: bool = False, **wanted: object) -> Story:
        change = Adjustment.model_validate(wanted)
        caps = adjusted(self.job.caps, change)
        priority = self.job.priority if change.priority is None else change.priority
        stamp, begun = self.stamp, self.job.begun
        schedule = rescheduled(self.job.schedule, change, stamp.at, begun=begun)
        self.job.adjust(stamp, caps, priority, "peak hours", schedule=schedule, recalled=recalled)
        return self

    def heed(self, **ends: str) -> Story:
        """Jobs that this one comes after have ended; ``job_0`` is ``job-0``."""
        known = {name.replace("_", "-"): JobStatus(status) for name, status in ends.items()}
        self.job.heed(self.stamp, known)
        return self

    def feed(self, items: int = 10, *, part: int = 0, taken_at: int = 7) -> Story:
        self.job.feed(
            self.stamp,
            part=part,
            items=items,
            size=items * 20,
            sha256=f"p{part}",
            taken_at=taken_at,
        )
        return self

    def seal_fed(self) -> Story:
        self.job.seal_fed(self.stamp, self.approval)
        return self

    # -- outcome rows ---------------------------------------------------------------

    def record(self, *closed: ClosedChunk) -> Story:
        self.job.record(self.stamp, closed)
        return self

    def done(self, chunk: int, *, failed: int = 0, skipped: int = 0, ms: float = 5.0) -> Story:
        """An open forward chunk was worked; all its other items succeeded."""
        if self.spec.options.atomic and (failed or self.job.open[chunk].cause != "commit"):
            return self.prepared(chunk, failed=failed, ms=ms)
        items = len(self.job.open[chunk].items)
        good = items - failed - skipped
        dry = self.spec.options.dry_run
        return self.record(
            ClosedChunk(
                chunk=chunk,
                succeeded=0 if dry else good,
                planned=good if dry else 0,
                failed=failed,
                skipped=skipped,
                duration_ms=ms,
            )
        )

    def prepared(self, chunk: int, *, failed: int = 0, ms: float = 5.0) -> Story:
        """An open chunk of an atomic job has no effect; its last items have failed."""
        items = self.job.open[chunk].items
        ready, _ = items.take(len(items) - failed)
        closing = Closing.PREPARED if ready else Closing.DONE
        return self.record(
            ClosedChunk(chunk=chunk, closing=closing, failed=failed, returned=ready, duration_ms=ms)
        )

    def failing(
        self, chunk: int, *codes: str, retryable: bool = False, chance: float = 0.0
    ) -> Story:
        """An open forward chunk was worked; its last items failed, with those codes."""
        items = list(self.job.open[chunk].items)
        faults = [
            Fault(position, code, retryable)
            for position, code in zip(items[-len(codes) :], codes, strict=True)
        ]
        row = ClosedChunk(
            chunk=chunk, succeeded=len(items) - len(codes), failed=len(codes), duration_ms=5.0
        )
        failures = Failures({chunk: faults}, lambda: chance)
        self.job.record(self.stamp, [row], failures)
        return self

    def revoked(self, chunk: int, *, succeeded: int = 0) -> Story:
        """An open forward chunk was closed unworked, or after its first ``succeeded`` items."""
        _, rest = self.job.open[chunk].items.take(succeeded)
        return self.record(
            ClosedChunk(chunk=chunk, closing=Closing.REVOKED, succeeded=succeeded, returned=rest)
        )

    def died(self, chunk: int) -> Story:
        """Workers died over an open chunk; all its items come back."""
        opened = self.job.open[chunk]
        items = opened.items
        if opened.cause.undoing and not items:
            items = Ranges.span(0, self.standing(chunk))
        return self.record(ClosedChunk(chunk=chunk, closing=Closing.DIED, returned=items))

    def restored(self, chunk: int, *, conflict: int = 0, failed: int = 0, ms: float = 0.0) -> Story:
        """An open undo chunk put back all that stands, but for conflicts and failures."""
        restored = self.standing(chunk) - conflict - failed
        if self.job.open[chunk].cause == "rollback":
            closed = ClosedChunk(
                chunk=chunk, rolled_back=restored, conflict=conflict, failed=failed
            )
        else:
            closed = ClosedChunk(chunk=chunk, succeeded=restored, conflict=conflict, failed=failed)
        return self.record(closed.model_copy(update={"duration_ms": ms}))

    def standing(self, chunk: int) -> int:
        """How many items an open undo chunk has to put back."""
        opened = self.job.open[chunk]
        effects = {e.chunk: e.items for e in (*self.job.applied, *self.job.undone)}
        assert opened.target is not None
        return len(opened.items) or effects[opened.target]

    # -- longer passages --------------------------------------------------------------

    def work(self, *, failed: int = 0) -> Story:
        """Plan and work all that waits; the last ``failed`` items of the first chunk fail."""
        while self.job.wants_chunks() or self.job.open:
            self.plan()
            for chunk, opened in list(self.job.open.items()):
                self.done(chunk, failed=min(failed, len(opened.items)))
                failed = 0
        return self

    def put_back(self, *, conflict: int = 0, failed: int = 0) -> Story:
        """Work all undo chunks; conflicts and failures fall on the first."""
        while self.job.wants_chunks() or self.job.open:
            self.plan()
            for chunk in list(self.job.open):
                self.restored(chunk, conflict=conflict, failed=failed)
                conflict = failed = 0
        return self

    # -- what stays -------------------------------------------------------------------

    def replayed(self) -> Job:
        """The job as its stored bytes tell it."""
        self.collect()
        mapper = JobMapper()
        stored = [mapper.to_stored_event(event) for event in self.events]
        job = Job.project(None, [mapper.to_domain_event(event) for event in stored])
        assert job is not None
        return job


def eager(**options: object) -> Story:
    """A story whose draft may start before the seal."""
    return Story(start=Start.EAGER, **options)
