"""What is published, to those who read live: stored events, and reports between them."""

from __future__ import annotations

from datetime import UTC, datetime

from domain.commands import JobSpec
from domain.job import Job, Stamp
from domain.outcomes import ClosedChunk
from streams.envelope import ItemsProgressed
from streams.live import LiveHub
from streams.relay import LiveRelay

STAMP = Stamp("tester", "c", datetime(2026, 1, 1, tzinfo=UTC))


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
