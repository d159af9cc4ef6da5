"""What is published, to those who read live: stored events, and reports between them."""

from __future__ import annotations

from eventsourcing.persistence import Notification, Recording

from domain.commands import JobSpec
from domain.events import JobEvent
from domain.job import Job
from domain.outcomes import ClosedChunk
from streams.beginnings import BEGINNINGS, LONGEST_BEGINNING
from streams.envelope import ItemsProgressed, encode_event
from streams.live import LiveHub
from streams.relay import LiveRelay
from tests.unit.streams.lives import STAMP, whole_life


def recording(event: JobEvent) -> Recording[str]:
    notification = Notification(event.originator_id, event.originator_version, "", b"", 1)
    return Recording(event, notification)


def report(chunk: int, done: int) -> ItemsProgressed:
    return ItemsProgressed(
        job_id="job", tenant="local", chunk=chunk, succeeded=done, failed=0, skipped=0
    )


async def test_reports_add_to_the_stored_counts_until_their_chunk_is_closed() -> None:
    hub = LiveHub()
    relay = LiveRelay(hub)
    job = Job(id="job")
    job.submit(STAMP, "local", JobSpec(operation="a.b"), items=256, size=1, sha256="")
    job.plan(STAMP, room=2, slow=True)
    with hub.subscribe("job") as live:
        for event in job.collect_events():
            await relay.event(event)
        await relay.outcome(report(0, 100))
        await relay.outcome(report(1, 7))
        job.record(STAMP, [ClosedChunk(chunk=0, succeeded=128)])
        (closed,) = job.collect_events()
        await relay.event(closed)
        await relay.outcome(report(0, 128))
        await relay.outcome(report(1, 9))
        seen = []
        while (event := await live.next(0.01)) is not None:
            seen.append((event.name, event.version, event.data["counts"]["succeeded"]))
    assert seen == [
        ("job.submitted", 1, 0),
        ("job.chunks_planned", 2, 0),
        ("progress", None, 100),
        ("progress", None, 107),
        ("job.chunks_closed", 3, 128),
        ("progress", None, 137),
    ]


async def test_what_was_offered_is_shown_once_though_the_topic_says_it_again() -> None:
    hub = LiveHub()
    relay = LiveRelay(hub)
    job = Job(id="job")
    job.submit(STAMP, "local", JobSpec(operation="a.b"), items=1, size=1, sha256="")
    job.plan(STAMP, room=1, slow=False)
    own, others = job.collect_events()
    with hub.subscribe("job") as live:
        relay.offer([recording(own)])
        for number, event in enumerate([own, others, own], start=1):
            await relay.event(relay.decode_event(encode_event(number, event)))
        seen = []
        while (event := await live.next(0.01)) is not None:
            seen.append(event.version)
    # What comes a third time is new to the relay; readers know it by its version.
    assert seen == [1, 2, 1]


async def test_an_event_that_comes_late_does_not_take_the_job_back() -> None:
    hub = LiveHub()
    relay = LiveRelay(hub)
    job = Job(id="job")
    job.submit(STAMP, "local", JobSpec(operation="a.b"), items=4, size=1, sha256="")
    job.plan(STAMP, room=2, slow=True)
    job.record(STAMP, [ClosedChunk(chunk=0, succeeded=4)])
    *early, closed, finished = job.collect_events()
    assert finished.status.terminal
    relay.offer([recording(finished)])
    with hub.subscribe("job") as live:
        for event in (*early, closed):
            await relay.event(event)
        await relay.outcome(report(0, 1))
        seen = []
        while (event := await live.next(0.01)) is not None:
            seen.append(event.version)
    assert seen == [event.originator_version for event in (*early, closed)]


def begun(events: int, job_id: str = "job") -> list[JobEvent]:
    """The first events of a job that goes on."""
    return whole_life(5120, job_id)[:events]


def test_the_first_events_of_a_job_that_this_process_stores_are_kept() -> None:
    hub = LiveHub()
    events = begun(LONGEST_BEGINNING + 1)
    for count in range(1, LONGEST_BEGINNING + 1):
        LiveRelay(hub).offer([recording(events[count - 1])])
        assert list(hub.beginning("local", "job")) == events[:count]
    assert list(hub.beginning("another", "job")) == []
    LiveRelay(hub).offer([recording(events[-1])])
    assert list(hub.beginning("local", "job")) == [], "of a longer job the log tells"


async def test_of_an_event_that_was_only_published_nothing_is_kept() -> None:
    """Others may have stored more by then."""
    hub = LiveHub()
    (first,) = begun(1)
    await LiveRelay(hub).event(first)
    assert list(hub.beginning("local", "job")) == []


async def test_what_was_stored_without_being_offered_ends_a_beginning() -> None:
    hub = LiveHub()
    first, second = begun(2)
    LiveRelay(hub).offer([recording(first)])
    await LiveRelay(hub).event(second)
    assert list(hub.beginning("local", "job")) == []


def test_a_beginning_with_a_gap_or_an_end_is_none() -> None:
    hub = LiveHub()
    first, _, third = begun(3)
    LiveRelay(hub).offer([recording(first), recording(third)])
    assert list(hub.beginning("local", "job")) == []
    LiveRelay(hub).offer([recording(third)])
    assert list(hub.beginning("local", "job")) == []

    job = Job(id="over")
    job.submit(STAMP, "local", JobSpec(operation="a.b"), items=1, size=1, sha256="")
    job.plan(STAMP, room=1, slow=False)
    job.record(STAMP, [ClosedChunk(chunk=0, succeeded=1)])
    LiveRelay(hub).offer([recording(event) for event in job.collect_events()])
    assert list(hub.beginning("local", "over")) == []


def test_only_of_the_latest_jobs_the_beginning_is_kept() -> None:
    hub = LiveHub()
    for number in range(BEGINNINGS + 1):
        LiveRelay(hub).offer([recording(event) for event in begun(1, f"job-{number}")])
    assert list(hub.beginning("local", "job-0")) == []
    assert list(hub.beginning("local", "job-1")) != []
