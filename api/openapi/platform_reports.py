"""Platform reports: what is said of the routes that tell how a project goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel

from api.openapi.moments import BEGIN
from api.openapi.telling import MOMENT, Answer, Told, one_of, query
from api.streaming import CSV
from api.systems.annotations.records import PROJECTS_PATH
from api.systems.annotations.reports import FORMATS
from domain.systems.annotations.periods import MAX_DAYS, MAX_HOURS, Bucket
from domain.values import Value
from streams.systems.annotations.reports import MAX_JOBS, MAX_USERS

_PATH: Final = f"{PROJECTS_PATH}/{{project_id}}/reports"


class ReportPeriod(Value):
    """What a report is about: whole buckets, the end not included."""

    start: datetime
    end: datetime
    bucket: Bucket


class _Report(Value):
    project_id: int
    period: ReportPeriod


class ItemFigures(Value):
    """How many items are in each status, and in all."""

    total: int
    pending: int
    succeeded: int
    failed: int
    skipped: int
    rolled_back: int
    conflict: int


class JobFigures(Value):
    """Jobs and their items.

    Rates are 0 to 1, of jobs that have ended and of items that are settled; null of none.
    """

    jobs: int
    ended: int
    by_status: dict[str, int]
    job_success_rate: float | None
    job_failure_rate: float | None
    items: ItemFigures
    item_success_rate: float | None
    item_failure_rate: float | None


class OperationFigures(JobFigures):
    """The jobs of one operation."""

    operation: str


class SummaryReport(JobFigures, _Report):
    """How the jobs that were made in a period have gone."""

    operations: tuple[OperationFigures, ...]


class TrendPoint(Value):
    """What became of items in a bucket; one that is tried again or undone counts each time."""

    start: datetime
    items: int
    succeeded: int
    failed: int
    skipped: int
    rolled_back: int
    conflict: int
    items_per_second: float | None
    busy_seconds: float


class TrendReport(_Report):
    """All buckets of a period, in order."""

    items: tuple[TrendPoint, ...]


class ErrorFrequency(Value):
    """How many items have failed with a code, in how many jobs."""

    code: str
    items: int
    jobs: int
    share: float | None


class ErrorReport(_Report):
    """Failed items by code; ``untold`` are those in archives, and of jobs not looked at."""

    jobs_with_failures: int
    jobs_looked_at: int
    failed: int
    untold: int
    items: tuple[ErrorFrequency, ...]


class RecordsWritten(Value):
    """How many records; one that is put back has been changed."""

    created: int
    changed: int
    deleted: int


class UserActivity(Value):
    """Somebody, with the jobs that they have made, the items of those, and what they wrote."""

    user: str
    jobs: int
    items: int
    records: dict[str, RecordsWritten]


class ActivityReport(_Report):
    """Users, the busiest first; ``left_out`` are those beyond the bound."""

    left_out: int
    items: tuple[UserActivity, ...]


class WorkersNow(Value):
    """All workers of the installation at present, together; memory is in bytes."""

    alive: int
    slots: int
    memory: int
    waiting_for_memory: int
    cpu_seconds: float
    cpu_percent: float | None


class BusyPoint(Value):
    """How long workers were busy for the project in a bucket, and how many on the average.

    And what all of them used for whomever; 100 % is one processor. Memory is in bytes, of one
    worker while it was there: on the average, and the most. Null where nothing is kept.
    """

    start: datetime
    busy_seconds: float
    busy_workers: float | None
    items: int
    workers: float | None
    cpu_percent: float | None
    memory_bytes: int | None
    memory_peak_bytes: int | None


class ResourceReport(_Report):
    """What a project takes of the workers, and what those use."""

    workers_now: WorkersNow
    items: tuple[BusyPoint, ...]


def platform_reports() -> Iterator[BaseModel]:
    """An answer of each kind."""
    period = ReportPeriod(start=BEGIN, end=BEGIN.replace(hour=2), bucket=Bucket.HOUR)
    about: dict[str, Any] = {"project_id": 1, "period": period}
    items = ItemFigures(
        total=10, pending=0, succeeded=9, failed=1, skipped=0, rolled_back=0, conflict=0
    )
    figures: dict[str, Any] = {
        "jobs": 1,
        "ended": 1,
        "by_status": {"completed_with_errors": 1},
        "job_success_rate": 0.0,
        "job_failure_rate": 0.0,
        "items": items,
        "item_success_rate": 0.9,
        "item_failure_rate": 0.1,
    }
    one = OperationFigures(operation="annotations.create", **figures)
    yield SummaryReport(**about, **figures, operations=(one,))
    point = TrendPoint(
        start=BEGIN,
        items=10,
        succeeded=9,
        failed=1,
        skipped=0,
        rolled_back=0,
        conflict=0,
        items_per_second=0.0028,
        busy_seconds=0.21,
    )
    yield TrendReport(**about, items=(point,))
    frequency = ErrorFrequency(code="span_out_of_range", items=1, jobs=1, share=1.0)
    yield ErrorReport(
        **about, jobs_with_failures=1, jobs_looked_at=1, failed=1, untold=0, items=(frequency,)
    )
    written = {"annotations": RecordsWritten(created=9, changed=0, deleted=0)}
    user = UserActivity(user="ada", jobs=1, items=10, records=written)
    yield ActivityReport(**about, left_out=0, items=(user,))
    now = WorkersNow(
        alive=2,
        slots=8,
        memory=241_172_480,
        waiting_for_memory=0,
        cpu_seconds=31.2,
        cpu_percent=4.1,
    )
    busy = BusyPoint(
        start=BEGIN,
        busy_seconds=0.21,
        busy_workers=0.0001,
        items=10,
        workers=2.0,
        cpu_percent=4.1,
        memory_bytes=119_013_376,
        memory_peak_bytes=127_926_272,
    )
    yield ResourceReport(**about, workers_now=now, items=(busy,))


_ASKED: Final = (
    query("from", "The beginning; seven days before the end unless it is said.", MOMENT),
    query("to", "The end; now unless it is said.", MOMENT),
    query(
        "bucket",
        f"The period is widened to whole ones: {MAX_HOURS} hours or {MAX_DAYS} days at most. "
        "Unless it is said, two days and less are told by the hour.",
        one_of(*Bucket),
    ),
    query("format", "In place of `Accept`.", one_of(*FORMATS)),
)


def _told(name: str, about: str, model: type[BaseModel], table: str) -> Told:
    return Told(
        name=f"report{name}",
        tag="Projects",
        about=f"{about}\n\nFor all members of the project.",
        parameters=_ASKED,
        answers={200: Answer(about="The report.", model=model, others={CSV: table})},
        problems=("record_not_found", "not_acceptable"),
    )


PLATFORM_REPORTS: Final[Mapping[tuple[str, str], Told]] = {
    ("GET", f"{_PATH}/summary"): _told(
        "Summary",
        "How the jobs that were made in the period have gone, in all and by operation.",
        SummaryReport,
        "operation,jobs,ended\r\n,1,1\r\nannotations.create,1,1\r\n",
    ),
    ("GET", f"{_PATH}/trend"): _told(
        "Trend",
        "How many items something became of, bucket by bucket, and how many a second.",
        TrendReport,
        "start,items,succeeded\r\n2026-11-25T01:00:00+00:00,10,9\r\n",
    ),
    ("GET", f"{_PATH}/errors"): _told(
        "Errors",
        "How often items of the jobs that were made in the period have failed with which code.\n\n"
        f"The failures of {MAX_JOBS} jobs at most are looked at, the latest ones.",
        ErrorReport,
        "code,items,jobs,share\r\nspan_out_of_range,1,1,1.0\r\n",
    ),
    ("GET", f"{_PATH}/activity"): _told(
        "Activity",
        "Who has made jobs, and who has created, changed and deleted how many records.\n\n"
        f"{MAX_USERS} users at most, the busiest ones.",
        ActivityReport,
        "user,jobs,items,annotations_created\r\nada,1,10,9\r\n",
    ),
    ("GET", f"{_PATH}/resources"): _told(
        "Resources",
        "How long workers were busy for the project, and what all of them used, bucket by bucket.",
        ResourceReport,
        "start,busy_seconds,cpu_percent\r\n2026-11-25T01:00:00+00:00,0.21,4.1\r\n",
    ),
}
