"""Examples: one answer of each kind, made from the models, so that they are valid."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from typing import Any

from pydantic import BaseModel

from api.documents import event_document, job_document, links, progress_document
from api.openapi import answers, installation
from api.openapi.moments import BEGIN, JOB, KEY
from api.openapi.platform_bulk import platform_bulk
from api.openapi.platform_exports import platform_exports
from api.openapi.platform_files import platform_files
from api.openapi.platform_records import platform_records
from api.openapi.platform_reports import platform_reports
from api.openapi.watching import watched
from api.openapi.webhooks import sent
from domain.commands import JobSpec
from domain.compensation import Stage
from domain.events import Cause
from domain.job import Job, Stamp
from domain.operation import Reversible
from domain.outcomes import ItemStatus
from domain.permissions import Permission
from domain.retention import KnownRule, RuleChange
from domain.views import CountsView, JobSummary, job_view
from streams.diffs import Change

OPERATION = "annotations.create_labels"
SHA256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"


def example_of(model: type[BaseModel]) -> Any:
    """An answer of that model, as JSON; raises KeyError for one of which there is none."""
    return _by_model()[model].model_dump(mode="json")


@cache
def _by_model() -> dict[type[BaseModel], BaseModel]:
    found = (
        *_of_jobs(),
        *_of_items(),
        *_of_undos(),
        *_of_records(),
        *_of_callers(),
        *_of_shares(),
        *sent(),
        *platform_records(),
        *platform_bulk(),
        *platform_files(),
        *platform_exports(),
        *platform_reports(),
    )
    return {type(each): each for each in found}


def _job() -> Job:
    job = Job(id=JOB)
    spec = JobSpec(operation=OPERATION, name="Gazetteer", tags=("nightly",))
    stamp = Stamp(actor="ada", command_id=f"{JOB}.submit", at=BEGIN)
    job.submit(stamp, "acme", spec, items=2, size=66, sha256=SHA256)
    return job


def _of_jobs() -> Iterator[BaseModel]:
    job = _job()
    event = job.collect_events()[0]
    shown = job_document(job, BEGIN)
    yield answers.Job.model_validate(shown)
    listed = job_view(job, BEGIN).model_dump(include=set(JobSummary.model_fields))
    yield answers.Jobs(items=(answers.ListedJob(**listed, links=links(JOB, ())),), next_cursor=None)
    yield answers.Appended(job_id=JOB, part=0, version=2)
    told = answers.Event.model_validate(event_document(event))
    yield answers.Events(items=(told,), next_after=None)
    yield from watched(told)
    point = answers.CoursePoint.model_validate(progress_document(event))
    yield answers.Course(items=(point,))
    yield answers.Ticket(
        ticket=f"cmt_{KEY}",
        expires_at=BEGIN + timedelta(seconds=30),
        links={"events": f"/api/v1/jobs/{JOB}/events?ticket=cmt_{KEY}"},
    )


def _done() -> answers.Item:
    return answers.Item(
        position=0,
        status=ItemStatus.SUCCEEDED,
        result={"id": 7},
        score=None,
        duration_ms=1.2,
        error=None,
        chunk=0,
        attempt=1,
    )


def _failed() -> answers.Item:
    fault = answers.ItemFault(
        code="no_such_project",
        message="there is no project 9",
        pointer="/project_id",
        retryable=False,
    )
    fields = {**dict(_done()), "position": 1, "status": ItemStatus.FAILED, "result": None}
    return answers.Item(**{**fields, "error": fault})


def _of_items() -> Iterator[BaseModel]:
    done, failed = _done(), _failed()
    yield answers.Items(items=(done, failed), next_cursor="1")
    attempt = answers.Attempt(
        chunk=0,
        cause=Cause.APPLY,
        at=BEGIN,
        status=failed.status,
        result=None,
        error=failed.error,
        duration_ms=1.2,
    )
    body = {"project_id": 9, "name": "RIVER"}
    yield answers.ItemPast(**{**dict(failed), "item": body}, bodies=(body,), attempts=(attempt,))
    sample = {"position": 1, "message": "there is no project 9", "pointer": "/project_id"}
    group = answers.ErrorGroup(
        code="no_such_project", signature="there is no project …", count=1, samples=(sample,)
    )
    yield answers.ErrorGroups(items=(group,))
    cut = answers.RuleIssues(
        rule="cut_word", layer="quality", severity="warning", issues=2, items=1
    )
    yield answers.Issues(
        items=2, items_with_issues=1, score=0.8, severities={"warning": 2}, rules=(cut,)
    )
    differing = answers.Difference(position=1, change=Change.STATUS, this=failed, other=done)
    yield answers.Differences(items=(differing,), next_cursor=None)
    yield answers.DifferenceSummary(
        changes={change: int(change is Change.STATUS) for change in Change},
        moves=(answers.Moved(this="failed", other="succeeded", items=1),),
    )


def _of_undos() -> Iterator[BaseModel]:
    yield answers.Hashes(
        job_id=JOB, items=(answers.EventHash(version=1, hash=SHA256),), next_after=None
    )
    yield answers.Verification(
        job_id=JOB,
        sound=True,
        signed=True,
        events=5,
        parts=1,
        outcomes=1,
        findings=(),
        more=0,
    )
    yield answers.FoundPlan(
        job_id=JOB,
        operation=OPERATION,
        digest=SHA256,
        counts=CountsView(
            total=2,
            pending=0,
            succeeded=0,
            failed=0,
            skipped=0,
            rolled_back=0,
            conflict=0,
            planned=2,
        ),
        validated_only=False,
        changed=(answers.ChangedRecord(table="labels", record=9, planned=2, version=3),),
        more_changed=False,
        applied_by=None,
    )
    yield answers.UndoPreview(
        job_id=JOB,
        version=5,
        direction=Cause.ROLLBACK,
        exact=True,
        items=2,
        restored=1,
        conflict=1,
        failed=0,
        outside=(),
        compensated=0,
        compensations=(),
        obstructions=(
            answers.Obstruction(
                position=1,
                record="labels/9",
                by="grace",
                reason="changed after the job, at version 3",
            ),
        ),
        next_cursor=None,
    )
    tried = answers.Compensation(
        position=1, stage=Stage.DONE, generation=1, attempts=2, error=None, at=BEGIN
    )
    yield answers.Compensations(items=(tried,), next_cursor=None)


def _of_records() -> Iterator[BaseModel]:
    writer = installation.Writer(
        actor="ada", job_id=JOB, generation=0, chunk=0, cause=Cause.APPLY.value
    )
    write = {"version": 1, "deleted": False, "at": BEGIN, "by": writer}
    write["links"] = {"job": f"/api/v1/jobs/{JOB}"}
    changed = {"name": installation.BeforeAndAfter(before=None, after="CITY")}
    version = installation.RecordVersion.model_validate({**write, "changed": changed})
    yield installation.RecordHistory(items=(version,), next_cursor=None)
    column = installation.ColumnValue.model_validate({**write, "value": "CITY", "certain": True})
    yield installation.Blame.model_validate(
        {**write, "table": "labels", "id": 7, "columns": {"name": column}}
    )


def _of_callers() -> Iterator[BaseModel]:
    yield installation.Me(
        mode="proven",
        tenant="acme",
        actor="ada",
        permissions=(Permission.VIEW,),
        projects={"letters": (Permission.SUBMIT, Permission.UNDO)},
        expires_at=BEGIN,
    )
    key = installation.Key(
        key_id=KEY,
        name="importer",
        roles=("editor",),
        created_at=BEGIN,
        created_by="ada",
        expires_at=None,
        rotated_at=None,
        last_used_at=None,
        revoked_at=None,
    )
    yield key
    yield installation.Keys(items=(key,), next_cursor=None)
    yield installation.ShownKey(**dict(key), key=f"cm_{KEY}_shown_once")
    rule = KnownRule(
        kind="annotations.*", shred_after=7_776_000, changed_at=BEGIN, changed_by="ada"
    )
    yield rule
    yield installation.Rules(items=(rule,))
    change = RuleChange(
        kind="annotations.*",
        shred_after=7_776_000,
        number=1,
        action="set",
        actor="ada",
        reason="the new policy",
        at=BEGIN,
    )
    yield installation.RuleChanges(items=(change,), next_cursor=None)
    yield installation.Removed(tenant="*", kind="annotations.*", removed=True)


def _of_shares() -> Iterator[BaseModel]:
    item = {"type": "object", "properties": {"name": {"type": "string"}}}
    operation = installation.Operation(
        kind=OPERATION,
        system="annotations",
        description="Create labels.",
        reversible=Reversible.BEFORE_IMAGE,
        slow=False,
        destructive=False,
        selectable=None,
        codes=("no_such_project",),
        provider=None,
        outside=(),
        compensated=False,
        params={"type": "object"},
        item=item,
    )
    yield installation.Operations(items=(operation,))
    worker = installation.Worker(
        name="worker-1",
        systems=("annotations",),
        slots=2,
        host="node-1",
        process=17,
        memory_bytes=120_000_000,
        memory_budget_bytes=800_000_000,
        held_since=None,
        cpu_seconds=12.5,
        cpu_percent=20.8,
        alive_seconds=60.0,
    )
    yield installation.Workers(items=(worker,))
    weight = installation.Weight(tenant="acme", weight=3)
    yield weight
    yield installation.Weights(items=(weight,))
    limit = installation.LimitInForce(
        name="queue:annotations",
        rate=10,
        concurrency=4,
        calls=1,
        jobs=1,
        waiting=0,
        changed_by="ada",
        changed_at=BEGIN,
    )
    yield limit
    yield installation.LimitsInForce(items=(limit,))
    partition = installation.Partition(
        topic="countermand.commands",
        partition=3,
        group="countermand-coordinator",
        end=1018,
        done=1017,
        waiting=1,
    )
    yield partition
    yield installation.Partitions(items=(partition,))
    letters = installation.Letters(
        code="unsupported_version",
        topic="countermand.commands",
        letters=2,
        reason="schema 9 is of a later release",
        key="nightly-2026-11-25",
        place="3:1017",
    )
    yield letters
    yield installation.LetterGroups(items=(letters,), others=0)
    yield installation.Redriven(sent=2, left=0, more=False)
    yield installation.Alive(status="alive")
    yield installation.Ready(status="ready")
