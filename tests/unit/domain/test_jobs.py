"""Jobs: load, decide, save; snapshots are a shortcut and never another truth."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Sequence
from functools import cache

import pytest
from eventsourcing.persistence import IntegrityError, StoredEvent
from eventsourcing.popo import POPOAggregateRecorder, POPOApplicationRecorder

from domain.errors import CommandRefused, JobNotFound
from domain.events import JobSnapshot, JobStatus
from domain.job import Job, Stamp
from domain.jobs import JobMapper, JobRecorder, Jobs
from domain.outcomes import ClosedChunk
from domain.ranges import Ranges
from tests.processor_time import processor_time
from tests.unit.domain.story import BEGIN, Story, eager


class InMemory(POPOApplicationRecorder, JobRecorder):
    """Lists, read one after the other."""

    def __init__(self, snapshots: POPOAggregateRecorder) -> None:
        super().__init__()
        self._snapshots = snapshots

    def select_latest(self, originator_id: str, *, lte: int | None = None) -> Sequence[StoredEvent]:
        kept = self._snapshots.select_events(originator_id, lte=lte, desc=True, limit=1)
        covered = kept[0].originator_version if kept else None
        return [*kept, *self.select_events(originator_id, gt=covered, lte=lte)]


@pytest.fixture
def jobs() -> Jobs:
    snapshots = POPOAggregateRecorder()
    return Jobs(InMemory(snapshots), snapshots)


def test_what_is_saved_is_loaded(jobs: Jobs) -> None:
    story = Story(chunk_size=4).submit(10).work(failed=1)
    jobs.save(story.job)
    assert jobs.load("job-1") == story.job
    assert story.job.collect_events() == []


def test_a_job_is_loaded_as_of_any_version(jobs: Jobs) -> None:
    story = Story(chunk_size=4).submit(10)
    states = [story.job.model_copy(deep=True)]
    for step in (story.plan, lambda: story.done(0), story.pause, story.resume):
        step()
        states.append(story.job.model_copy(deep=True))
    jobs.save(story.job)
    assert [jobs.load("job-1", version=n).status for n in range(1, 6)] == [
        state.status for state in states
    ]
    assert jobs.load("job-1", version=3).counts == states[2].counts


def test_an_unknown_job_and_an_unknown_version_are_named(jobs: Jobs) -> None:
    with pytest.raises(JobNotFound, match="no job job-7"):
        jobs.load("job-7")
    jobs.save(Story().submit().job)
    with pytest.raises(JobNotFound, match="no version 9; its latest is 1"):
        jobs.load("job-1", version=9)


def test_who_comes_second_is_told(jobs: Jobs) -> None:
    jobs.save(Story().submit().job)
    first, second = jobs.load("job-1"), jobs.load("job-1")
    stamp = Story().stamp
    first.pause(stamp, "")
    second.cancel(stamp, "")
    jobs.save(first)
    with pytest.raises(IntegrityError):
        jobs.save(second)
    assert jobs.load("job-1") == first


def test_a_snapshot_is_used_and_its_tail_is_folded(jobs: Jobs) -> None:
    story = Story(chunk_size=2).submit(10).plan(room=2)
    jobs.save(story.job)
    jobs.take_job_snapshot(story.job)
    story.done(0, failed=1).done(1).plan()
    jobs.save(story.job)
    assert jobs.load("job-1") == story.job
    assert jobs.load("job-1", version=1).version == 1


def test_a_snapshot_is_refused_before_its_events_are_stored() -> None:
    with pytest.raises(RuntimeError, match="store the pending events"):
        Story().submit().job.snapshot()


# -- replay -----------------------------------------------------------------------

STEPS = {
    "plan": 16, "close": 32, "append": 4, "seal": 3, "pause": 2, "resume": 6,
    "retry": 4, "undo": 6, "cancel": 1, "wind_down": 1,
}  # fmt: skip
"""How often each step is tried; most tries of a verb are refused."""

SEEDS = range(40)


@cache
def _random_history(seed: int) -> tuple[Story, dict[int, JobSnapshot]]:
    """A story of random steps, and a snapshot at each version at which one was possible."""
    choices = random.Random(seed)
    failed: set[int] = set()
    story = eager(chunk_size=choices.randint(1, 4)).open_draft().append(choices.randint(1, 9))
    snapshots: dict[int, JobSnapshot] = {}
    for part in range(1, 150):
        (choice,) = choices.choices(list(STEPS), list(STEPS.values()))
        with contextlib.suppress(CommandRefused):
            _step(story, choice, part, failed, choices)
        story.collect()
        snapshots[story.job.version] = story.job.snapshot()
    return story, snapshots


def _step(story: Story, choice: str, part: int, failed: set[int], choices: random.Random) -> None:
    if choice == "plan":
        story.plan(room=choices.randint(1, 3))
    elif choice == "close" and story.job.open:
        _close(story, choices.choice(list(story.job.open)), failed, choices)
    elif choice == "append":
        story.append(choices.randint(1, 5), part=part)
    elif choice == "retry":
        story.retry(Ranges.of(failed))
        failed.clear()
    elif choice in ("seal", "undo", "wind_down"):
        getattr(story, choice)()
    elif choice in ("pause", "resume", "cancel") and choice in story.job.possible():
        for chunk in list(story.job.open):
            story.revoked(chunk)
        getattr(story, choice)()


def _close(story: Story, chunk: int, failed: set[int], choices: random.Random) -> None:
    opened = story.job.open[chunk]
    if opened.cause.undoing:
        broken = choices.choice((0, 0, 0, story.standing(chunk)))
        story.restored(chunk, failed=broken)
        return
    if choices.random() < 0.1:
        story.died(chunk)
        return
    wrong = choices.choice((0, 0, len(opened.items)))
    failed.update(list(opened.items)[len(opened.items) - wrong :])
    story.done(chunk, failed=wrong, ms=choices.uniform(0, 100))


def test_the_random_histories_go_everywhere() -> None:
    seen = {event.status for seed in SEEDS for event in _random_history(seed)[0].events}
    reserved = {"awaiting_approval", "rejected", "archived"}
    assert seen == set(JobStatus) - reserved


@pytest.mark.parametrize("seed", SEEDS)
def test_replay_of_the_stored_bytes_is_the_live_job_at_every_version(seed: int) -> None:
    story, snapshots = _random_history(seed)
    mapper = JobMapper()
    events = [mapper.to_domain_event(mapper.to_stored_event(event)) for event in story.events]
    assert [event.originator_version for event in events] == list(range(1, len(events) + 1))
    assert Job.project(None, events) == story.job

    states: dict[int, Job] = {}
    job: Job | None = None
    for event in events:
        job = Job.project(job, [event])
        assert job is not None
        states[job.version] = job.model_copy(deep=True)
        assert (job.status, job.counts) == (event.status, event.counts)

    for version, snapshot in snapshots.items():
        stored = mapper.to_domain_event(mapper.to_stored_event(snapshot))
        assert isinstance(stored, JobSnapshot)
        assert Job.project(None, [stored]) == states[version]
        assert Job.project(None, [stored, *events[version:]]) == story.job


@pytest.mark.parametrize("seed", SEEDS)
def test_a_copy_stays_what_the_job_was_whatever_happens_to_the_job(seed: int) -> None:
    story, _ = _random_history(seed)
    copies: list[tuple[Job, Job]] = []
    job: Job | None = None
    for event in story.events:
        job = Job.project(job, [event])
        assert job is not None
        copies.append((job.as_it_stands(), job.model_copy(deep=True)))
    for copied, was in copies:
        assert copied == was


def test_ten_million_items_in_a_thousand_chunks_are_planned_and_recorded_in_a_second() -> None:
    story = Story(chunk_size=10_000)
    stamp = Stamp(actor="ada", command_id="command", at=BEGIN)
    with processor_time() as taken:
        story.submit(10_000_000)
        while story.job.wants_chunks():
            chunks = story.job.plan(stamp, room=4, slow=False)
            story.job.record(
                stamp,
                [
                    ClosedChunk(chunk=chunk.chunk, succeeded=len(chunk.items) - 1, failed=1)
                    for chunk in chunks
                ],
            )
    assert story.job.next_chunk == 1000
    assert story.job.counts.succeeded == 10_000_000 - 1000
    assert taken.seconds < 1.0
