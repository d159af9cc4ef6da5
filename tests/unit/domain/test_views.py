"""What is shown of a job is the same from the aggregate and from its events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

import pytest

from domain.events import (
    ChunksClosed,
    JobArchived,
    JobCancelled,
    JobEvent,
    JobHeld,
    JobReleased,
    JobShredded,
    JobStatus,
    PlannedChunk,
    Run,
)
from domain.job import Job
from domain.outcomes import ClosedChunk, Counts
from domain.ranges import Ranges
from domain.reversal import Part
from domain.views import JobSummary, JobView, job_view, listed, progress_view, summary_after
from tests.stored_events import BEGIN, stamp, submitted, work


def _completed() -> Job:
    job = submitted("job-1", items=700, name="prices", tags=["a", "b"], params={"by": 2})
    for second in range(1, 100):
        if not work(job, seconds=second):
            break
    return job


def _failed_and_retried() -> Job:
    job = submitted("job-1", items=300)
    work(job, wrong=7)
    while work(job):
        pass
    job.retry(stamp("retry", seconds=5), Ranges.span(0, 7), "again")
    while work(job, seconds=6):
        pass
    return job


def _paused_and_cancelled() -> Job:
    job = submitted("job-1", items=2000)
    work(job)
    job.pause(stamp("pause", seconds=2), "lunch")
    job.resume(stamp("resume", seconds=3), "")
    work(job, seconds=4)
    job.cancel(stamp("cancel", seconds=5), "enough")
    return job


def _undone_twice() -> Job:
    job = _completed()
    for direction in ("rolled_back", "succeeded"):
        job.undo(stamp("undo", seconds=200), "a mistake")
        while chunks := job.plan(stamp("plan", seconds=201), room=1, slow=False):
            targets = {effect.chunk: effect.items for effect in (*job.applied, *job.undone)}
            job.record(
                stamp("record", seconds=202),
                [
                    ClosedChunk(chunk=chunk.chunk, **{direction: targets[chunk.target or 0]})
                    for chunk in chunks
                ],
            )
    return job


def _keyed_and_cancelled() -> Job:
    job = submitted("job-1", items=10_000)
    job.skip_repeated(stamp("submit"), Ranges.span(100, 9000))
    work(job)
    work(job, seconds=3)
    job.cancel(stamp("cancel", seconds=5), "enough")
    return job


def _kept_for_long() -> Job:
    job = _paused_and_cancelled()
    job.hold(stamp("hold", seconds=1000), "case 17")
    job.lift_hold(stamp("release", seconds=2000), "")
    job.shred(stamp("shred", seconds=3000), "asked for")
    job.archive(stamp("archive", seconds=4000), "")
    return job


def _stopped() -> Job:
    job = submitted("job-1", items=1000, options={"stop_on_error": True})
    work(job, seconds=1)
    work(job, seconds=2, wrong=3)
    return job


def _undone_in_parts() -> Job:
    job = submitted("job-1", items=700)
    for second in range(1, 100):
        if not work(job, seconds=second):
            break
    effects = job.applied[::-1]
    for first in (0, 5):
        parts = [Part(target=e.chunk, items=Ranges.span(first, first + 5)) for e in effects]
        job.undo(stamp("undo", seconds=200 + first), "a mistake", parts=parts)
        for chunk in _undo_chunks(job, 201 + first):
            closed = ClosedChunk(chunk=chunk.chunk, rolled_back=4, failed=1)
            job.record(stamp("record", seconds=202 + first), [closed])
    return job


def _undo_chunks(job: Job, seconds: int) -> Iterator[PlannedChunk]:
    while chunks := job.plan(stamp("plan", seconds=seconds), room=1, slow=False):
        yield from chunks


HISTORIES = [
    _completed,
    _failed_and_retried,
    _paused_and_cancelled,
    _undone_twice,
    _keyed_and_cancelled,
    _kept_for_long,
    _stopped,
    _undone_in_parts,
]


def _folded(events: Sequence[JobEvent]) -> list[JobSummary]:
    summary = None
    summaries = []
    for event in events:
        # Through its stored form, as the read model carries it.
        stored = (
            None if summary is None else JobSummary.model_validate_json(summary.model_dump_json())
        )
        summary = summary_after(stored, event)
        summaries.append(summary)
    return summaries


@pytest.mark.parametrize("history", HISTORIES)
def test_the_summary_of_the_events_is_that_of_the_aggregate(history: Callable[[], Job]) -> None:
    events = history().collect_events()
    for count, summary in enumerate(_folded(events), start=1):
        job = Job.project(None, events[:count])
        assert job is not None
        view = job_view(job, events[count - 1].at)
        shown = view.model_dump(include=set(JobSummary.model_fields))
        assert listed(summary.model_dump()) == shown, f"version {count}"


@pytest.mark.parametrize("size", [1, 4, 7])
def test_percent_of_a_large_undo_is_right_however_small_its_chunks_are(size: int) -> None:
    *_, summary = _folded(_completed().collect_events())
    event = ChunksClosed(
        originator_id=summary.job_id,
        originator_version=summary.version,
        at=BEGIN,
        tenant="local",
        actor="ann",
        command_id="record",
        status=JobStatus.ROLLING_BACK,
        counts=Counts(succeeded=200_000, failed=50_000),
        run=Run(at=BEGIN, settled=150_000),
        chunks=(ClosedChunk(chunk=1, rolled_back=size - 1, failed=1),),
    )
    summary = summary.model_copy(update={"percent": 0.0})
    for chunks in range(1, 10_001):
        summary = summary_after(JobSummary.model_validate_json(summary.model_dump_json()), event)
        if chunks % 2_500 == 0:
            assert listed(summary.model_dump())["percent"] == round(chunks * size / 1_000, 2)


@pytest.mark.parametrize(
    ("history", "rate"),
    [
        (_keyed_and_cancelled, 500 / 4),
        (_kept_for_long, 400 / 2),
        (_undone_twice, 700 / 2),
        (_undone_in_parts, None),
    ],
)
def test_a_rate_is_of_what_was_worked_and_of_the_time_it_took(
    history: Callable[[], Job], rate: float | None
) -> None:
    job = history()
    *_, summary = _folded(job.collect_events())
    assert summary.items_per_second == rate
    view = job_view(job, BEGIN + timedelta(days=30))
    assert view.items_per_second == rate
    assert view.progress is not None
    assert rate in (None, view.progress.mean)


def test_an_event_alone_says_no_rate_of_what_it_gives_up_or_of_what_is_over() -> None:
    for event in _kept_for_long().collect_events():
        if isinstance(event, JobCancelled | JobHeld | JobReleased | JobShredded | JobArchived):
            assert progress_view(event)["items_per_second"] is None


def test_a_view_has_all_that_the_interface_promises() -> None:
    view = job_view(_completed(), BEGIN + timedelta(hours=1)).model_dump(mode="json")
    promised = (
        "job_id operation status version name tags priority params counts percent "
        "items_per_second eta_seconds created_at started_at finished_at created_by possible "
        "reason sealed generation"
    )
    assert set(promised.split()) <= set(view)
    assert view["tags"] == ["a", "b"]
    assert view["possible"] == ["archive", "hold", "shred", "undo"]
    assert sum(count for name, count in view["counts"].items() if name != "total") == 700


def test_a_job_without_events_has_no_view() -> None:
    with pytest.raises(ValueError, match="no events"):
        job_view(Job(id="job-1"), BEGIN)


def test_a_summary_needs_the_first_event() -> None:
    _, second, *_ = _completed().collect_events()
    with pytest.raises(ValueError, match="from the first event"):
        summary_after(None, second)


def test_rate_and_remaining_time_while_running() -> None:
    job = submitted("job-1", items=200)
    work(job, seconds=0)
    assert job.counts.pending == 100
    view = job_view(job, BEGIN + timedelta(seconds=4))
    assert (view.items_per_second, view.eta_seconds, view.percent) == (25.0, 4.0, 50.0)


def test_nothing_is_said_of_rate_before_the_start() -> None:
    view = job_view(submitted("job-1"), BEGIN + timedelta(seconds=4))
    assert (view.items_per_second, view.eta_seconds) == (None, None)


def test_the_live_stream_has_the_same_figures() -> None:
    for event in _completed().collect_events():
        summary_fields = {"status", "counts", "percent", "items_per_second", "eta_seconds"}
        sent = progress_view(event)
        assert {"job_id", "version", *summary_fields} <= set(sent)


def test_views_are_closed() -> None:
    view = job_view(_completed(), BEGIN).model_dump()
    with pytest.raises(ValueError, match="extra"):
        JobView.model_validate({**view, "links": {}})
