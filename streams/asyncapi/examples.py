"""Examples: one message of each kind, made from the vocabularies, so that they are valid."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from domain.archiving import ArchiveFile
from domain.commands import (
    AdjustJob,
    AppendItems,
    ApproveJob,
    ArchiveJob,
    CancelJob,
    EditItems,
    HoldJob,
    InlineItems,
    JobSpec,
    OpenJob,
    PauseJob,
    RecordOutcomes,
    RejectJob,
    ReleaseJob,
    ResumeJob,
    RetryJob,
    SealJob,
    SentStep,
    ShredJob,
    SubmitBatch,
    SubmitJob,
    UndoJob,
    UndoSelection,
)
from domain.events import (
    AttemptsDue,
    Cause,
    Child,
    ChildrenMoved,
    ChunksClosed,
    ChunksPlanned,
    DependenciesMet,
    ItemsAppended,
    ItemsEdited,
    JobAdjusted,
    JobApproved,
    JobArchived,
    JobCancelled,
    JobCancelling,
    JobDeadlinePassed,
    JobEmptied,
    JobEvent,
    JobFinished,
    JobHeld,
    JobOpened,
    JobPaused,
    JobPrepared,
    JobRejected,
    JobReleased,
    JobResumed,
    JobSealed,
    JobShredded,
    JobSkipped,
    JobStartDue,
    JobStatus,
    JobStopped,
    JobSubmitted,
    PlannedChunk,
    RepeatsSkipped,
    RetryStarted,
    StepsSubmitted,
    UndoStarted,
)
from domain.options import Caps, Limit
from domain.outcomes import ClosedChunk, Counts, Deferred
from domain.ranges import Ranges
from domain.steps import BATCH, Needs, Step, child_id
from domain.values import Value
from streams import topics
from streams.deadletters import Burial
from streams.envelope import (
    ChunkOutcome,
    ChunksCompleted,
    ChunksFailed,
    CommandDecided,
    DecisionStatus,
    ItemsProgressed,
    Problem,
    Work,
    WorkChunk,
    encode_event,
)

JOB = "nightly-2026-11-25"
TENANT = "local"
OPERATION = "annotations.create_labels"
SHA256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
BEGIN = datetime(2026, 11, 25, 1, tzinfo=UTC)

SPEC = JobSpec(operation=OPERATION, name="Labels of the gazetteer", tags=("nightly",))
ITEMS = InlineItems(items=({"project_id": 1, "name": "CITY"}, {"project_id": 1, "name": "RIVER"}))


STEPS = (
    SentStep(name="labels", operation=OPERATION, source=ITEMS, savepoint="labelled"),
    SentStep(
        name="again",
        operation="annotations.delete_labels",
        after=(Needs(step="labels", consume={"id": "id"}),),
    ),
)
BATCH_SPEC = JobSpec(
    operation=BATCH,
    name="Gazetteer",
    steps=tuple(
        Step(**{name: getattr(each, name) for name in Step.model_fields}) for each in STEPS
    ),
)


_WAS = {"was": JobStatus.COMPLETED_WITH_ERRORS}
_ARCHIVE = ArchiveFile(name=f"{JOB}/{SHA256[:16]}.ndjson", sha256=SHA256, size=61440)


def _said(verb: str) -> dict[str, Any]:
    """What every command says."""
    return {
        "command_id": f"{JOB}.{verb}",
        "job_id": JOB,
        "tenant": TENANT,
        "actor": "gazetteer-import",
    }


def commands() -> list[Value]:
    """One of each command."""
    return [
        SubmitJob(**_said("submit"), spec=SPEC, source=ITEMS),
        SubmitBatch(**_said("submit-batch"), name="Gazetteer", steps=STEPS),
        OpenJob(**_said("open"), spec=SPEC),
        AppendItems(**_said("part.0"), part=0, source=ITEMS),
        SealJob(**_said("seal"), items=2),
        PauseJob(**_said("pause"), reason="the editors are at work"),
        ApproveJob(**_said("approve") | {"actor": "grace"}, reason="seen the plan"),
        RejectJob(**_said("reject") | {"actor": "grace"}, reason="the wrong list"),
        ResumeJob(**_said("resume")),
        HoldJob(**_said("hold"), reason="case 17"),
        ReleaseJob(**_said("release"), reason="case 17 is closed"),
        ShredJob(**_said("shred"), reason="a customer has asked for it"),
        ArchiveJob(**_said("archive"), reason="the season is over"),
        CancelJob(**_said("cancel"), reason="wrong file"),
        RetryJob(**_said("retry"), reason="the project is there now"),
        # The plain one first: strangers take the first example for their own command.
        UndoJob(**_said("undo"), reason="wrong file"),
        UndoJob(**_said("undo-part"), reason="wrong file", select=UndoSelection(items=(1,))),
        AdjustJob(**_said("adjust"), rate=50.0, reason="the shop is open"),
        EditItems(**_said("edit"), drop=(1,), reason="sold out"),
        RecordOutcomes(**_said("look") | {"actor": "engine"}),
    ]


def work() -> Value:
    """A work message."""
    return Work(job_id=JOB, operation=OPERATION, epoch=0, chunks=(WorkChunk(chunk=0, attempt=1),))


def outcomes() -> list[Value]:
    """One of each outcome message, and an answer of each kind."""
    done = ChunkOutcome(
        chunk=0,
        attempt=1,
        succeeded=1,
        failed=1,
        skipped=0,
        rolled_back=0,
        conflict=0,
        duration_ms=3.4,
    )
    lost = done.model_copy(update={"chunk": 1, "succeeded": 0, "failed": 2})
    return [
        ChunksCompleted(job_id=JOB, tenant=TENANT, operation=OPERATION, chunks=(done,)),
        ChunksFailed(job_id=JOB, tenant=TENANT, operation=OPERATION, chunks=(lost,)),
        ItemsProgressed(job_id=JOB, tenant=TENANT, chunk=0, succeeded=1, failed=0, skipped=0),
        *_answers(),
    ]


def _answers() -> list[Value]:
    def answer(command: str, status: DecisionStatus, **more: Any) -> Value:
        return CommandDecided(
            job_id=JOB,
            tenant=TENANT,
            command_id=f"{JOB}.{command.partition('_')[0]}",
            command=command,
            status=status,
            **more,
        )

    missing = Problem(
        code="invalid",
        message="the seal says 2 items, 1 have arrived; append what is missing",
        pointer="/items",
    )
    newer = Problem(
        code="unsupported_version",
        message="the command has a schema version that this release does not read; upgrade it",
        pointer="/schema_version",
    )
    return [
        answer("open_job", DecisionStatus.ACCEPTED, version=1),
        answer("seal_job", DecisionStatus.REFUSED, version=2, problem=missing),
        answer("pause_job", DecisionStatus.HELD, version=0, problem=newer),
    ]


def events() -> list[Any]:
    """One of each event, as published."""
    return [
        orjson.loads(encode_event(position, event))
        for position, event in enumerate(_history(), start=4001)
    ]


def _history() -> Sequence[JobEvent]:
    """Events of every kind; together they are no history that a job could have."""
    two, done = Counts(pending=2), Counts(succeeded=1, failed=1)
    planned = PlannedChunk(chunk=0, cause=Cause.APPLY, items=Ranges.span(0, 2))
    closed = ClosedChunk(chunk=0, succeeded=1, failed=1, duration_ms=3.4, sha256=SHA256)
    busy = Deferred(
        chunk=0, items=Ranges.of([1]), attempt=2, due=BEGIN + timedelta(seconds=9), code="busy"
    )
    waits = {"chunks": (closed,), "deferred": (busy,)}
    stopped = {"epoch": 1, "limit": Limit(failed=0), "reason": "limit: an item failed"}
    half = Counts(pending=1, succeeded=1)
    child = Child(step=0, job_id=child_id(JOB, 0), status=JobStatus.RUNNING, counts=half)
    skipped = {
        "needs": "import-2026-11-25",
        "ended": JobStatus.FAILED,
        "reason": "job import-2026-11-25, which was to succeed before, is failed",
    }
    part = {"size": 64, "sha256": SHA256}
    running, pending = JobStatus.RUNNING, JobStatus.PENDING
    told: list[tuple[type[JobEvent], JobStatus, Counts, dict[str, Any]]] = [
        (JobSubmitted, pending, two, {"spec": SPEC, "items": 2, **part}),
        (JobOpened, JobStatus.DRAFT, Counts(), {"spec": SPEC}),
        (ItemsAppended, JobStatus.DRAFT, two, {"part": 0, "first": 0, "items": 2, **part}),
        (JobSealed, pending, two, {}),
        (JobApproved, pending, two, {"reason": "seen the plan"}),
        (JobRejected, JobStatus.REJECTED, Counts(skipped=2), {"reason": "the wrong list"}),
        (ItemsEdited, JobStatus.DRAFT, two, {"dropped": Ranges.of([1]), "reason": "sold out"}),
        (JobHeld, JobStatus.REJECTED, Counts(skipped=2), {"reason": "case 17"}),
        (JobReleased, JobStatus.REJECTED, Counts(skipped=2), {"reason": "case 17 is closed"}),
        (JobShredded, JobStatus.REJECTED, Counts(skipped=2), {"reason": "a customer asked"}),
        (JobArchived, JobStatus.ARCHIVED, done, {**_WAS, "reason": "the season is over"}),
        (JobEmptied, JobStatus.ARCHIVED, done, {**_WAS, "file": _ARCHIVE}),
        (RepeatsSkipped, pending, Counts(pending=1, skipped=1), {"items": Ranges.of([1])}),
        (JobStartDue, pending, two, {}),
        (JobDeadlinePassed, running, two, {"deadline": BEGIN}),
        (StepsSubmitted, pending, two, {"spec": BATCH_SPEC}),
        (ChildrenMoved, running, Counts(pending=1, succeeded=1), {"children": (child,)}),
        (DependenciesMet, pending, two, {}),
        (JobSkipped, JobStatus.CANCELLED, Counts(skipped=2), skipped),
        (ChunksPlanned, running, two, {"generation": 0, "chunks": (planned,)}),
        (ChunksClosed, running, Counts(pending=1, succeeded=1), waits),
        (AttemptsDue, running, Counts(pending=1, succeeded=1), {"items": busy.items, "attempt": 2}),
        (JobPrepared, running, two, {}),
        (JobPaused, JobStatus.PAUSED, two, {"epoch": 1, "reason": "the editors are at work"}),
        (JobResumed, running, two, {}),
        (JobStopped, JobStatus.FAILED, done, stopped),
        (JobCancelling, JobStatus.CANCELLING, two, {"reason": "wrong file"}),
        (JobCancelled, JobStatus.CANCELLED, Counts(skipped=2), {"epoch": 1}),
        (RetryStarted, running, Counts(pending=1, succeeded=1), {"items": Ranges.of([1])}),
        (
            UndoStarted,
            JobStatus.ROLLING_BACK,
            done,
            {
                "epoch": 1,
                "generation": 1,
                "direction": Cause.ROLLBACK,
                "stood": JobStatus.COMPLETED_WITH_ERRORS,
            },
        ),
        (JobAdjusted, running, two, {"epoch": 1, "caps": Caps(rate=50.0), "priority": 5}),
        (JobFinished, JobStatus.COMPLETED_WITH_ERRORS, done, {}),
    ]
    return [
        kind(
            originator_id=JOB,
            originator_version=version,
            at=BEGIN + timedelta(seconds=version),
            tenant=TENANT,
            actor="gazetteer-import",
            command_id=f"{JOB}.{version}",
            status=status,
            counts=counts,
            **fields,
        )
        for version, (kind, status, counts, fields) in enumerate(told, start=1)
    ]


def letter() -> dict[str, Any]:
    """A dead letter: its headers, and the bytes of the message as text."""
    value = '{"type": "destroy"}'
    burial = Burial(
        topic=topics.COMMANDS,
        partition=3,
        offset=41,
        size=len(value),
        code="unreadable",
        reason="the command is not readable: no command is called 'destroy'",
    )
    return {"headers": burial.model_dump(by_alias=True), "payload": value}
