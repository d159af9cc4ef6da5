"""``python -m tests.golden``: store history and shape of event kinds and schemas that have none."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import orjson

from domain.editing import Edited
from domain.events import EVENTS
from domain.job import Job
from domain.jobs import JobMapper
from domain.outcomes import ClosedChunk, Closing
from domain.ranges import Ranges
from domain.reversal import Part
from domain.schedule import Measured
from tests.golden import HISTORIES, SHAPES, load, named, shape, shapes
from tests.unit.domain.family import Batch
from tests.unit.domain.story import BEGIN, Story, eager


def all_kinds() -> list[Story]:
    """Stories that together have every kind of event, with every kind of field filled."""
    long = eager(chunk_size=4).open_draft().append(4, part=1).append(6, part=0).plan().seal(10)
    long.done(0, failed=1, skipped=1).plan(room=2)
    long.revoked(1, succeeded=1).died(2).pause().resume()
    long.work().retry(Ranges.of([3])).work().undo().plan()
    (undo,) = long.job.open
    long.restored(undo, conflict=long.standing(undo)).put_back(failed=1).undo().put_back()
    long.undo().put_back()
    short = Story().submit(5).plan()
    short.record(
        ClosedChunk(
            chunk=0,
            closing=Closing.REVOKED,
            succeeded=3,
            returned=Ranges.of([1, 4]),
            duration_ms=12.5,
            sha256="9f" * 32,
        )
    ).cancel()
    return [
        long,
        short,
        _careful(),
        _returning(),
        *_approved(),
        _held_back(),
        *_scheduled(),
        *_behind_others(),
        _whole(),
        _family(),
        Story(chunk_size=4).submit(6).work(failed=1).hold().lift_hold().shred().undo().put_back(),
        Story(chunk_size=4).submit(6).work().archive().hold().lift_hold().empty(),
    ]


def _scheduled() -> list[Story]:
    """Stories of a job that waits for a moment and is late, and of one that is stopped then."""
    told = Story(chunk_size=4, start_at=_at(100), deadline=_at(200))
    told.measured = Measured(items_per_second=0.5, jobs=3, items=900)
    told.submit(8).adjust(start_at=_at(50), deadline=_at(60)).wait(50).plan().wait(10).work()
    stopped = Story(chunk_size=4, deadline=_at(30), on_deadline="stop")
    keyed = Story(chunk_size=4, key="/id", duplicates="last").submit(8).skip(0, 3).work()
    body = Edited(edition=1, items=Ranges.of([5]), lines=2, size=30, sha256="e1")
    edited = Story(chunk_size=4).open_draft().append(8).edit(3, edited=body).seal().work()
    return [told, stopped.submit(8).plan().done(0).wait(30), keyed, edited]


def _at(seconds: int) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def _whole() -> Story:
    """A story of an atomic job: an item fails, it is tried again, and is done as a whole."""
    told = Story(chunk_size=4, atomic=True).submit(8).plan(room=2).prepared(0).prepared(1, failed=1)
    return told.retry(Ranges.of([7])).work().undo().put_back()


def _returning() -> Story:
    """A story of a graceful cancel, a part that is undone, and one that is undone by force."""
    told = Story(chunk_size=4, on_error="roll_back").submit(16).plan(room=2).done(0)
    told.wind_down().done(1)
    told.undo(Part(target=1, items=Ranges.of([4, 6]))).put_back()
    return told.undo(force=True).put_back()


def _approved() -> list[Story]:
    """Stories of jobs that await approval, and of a dry run."""
    grave = Story(chunk_size=4)
    grave.approval = "more than 3 items"
    refused = Story(chunk_size=4)
    refused.approval = "shop.reprice is destructive"
    refused.open_draft().append(4).seal().reject()
    plan = {"job_id": "job-0", "digest": "9f" * 32}
    planned = Story(chunk_size=4, plan=plan).submit(4)
    return [
        grave.submit(4).approve().work(),
        refused,
        Story(chunk_size=4, dry_run=True).submit(6).work(failed=1),
        planned,
    ]


def _careful() -> Story:
    """A story of attempts and limits."""
    told = Story(
        chunk_size=4,
        retry={"attempts": 2, "delay": 5, "codes": {"busy": {"attempts": 3, "delay": 1}}},
        tolerate=[
            {"failed": 0, "codes": ["broken"], "then": "pause"},
            {"percent": 20, "window": 4},
        ],
    )
    told.submit(16).plan().failing(0, "busy", "broken", chance=0.5).resume()
    told.wait(60).plan(room=2).failing(1, "busy").failing(2, *["bad"] * 3)
    failed = Ranges.of([2, 3, 5, 6, 7])
    edited = Edited(edition=1, items=Ranges.of([5]), lines=2, size=30, sha256="e1")
    told.job.retry(told.stamp, failed, "a typing error", Ranges.of([5, 9]), edited)
    return told.plan().failing(3, "busy")


def _held_back() -> Story:
    """A story of caps, changed while chunks are in flight, and of a priority."""
    told = Story(chunk_size=4, rate=40, concurrency=2).submit(20).plan(room=2)
    told.done(0).revoked(1).adjust(recalled=True, rate=8, lift=["concurrency"])
    return told.wait(1).plan(room=2).adjust(priority=9).wait(2).plan()


def _behind_others() -> list[Story]:
    """Stories of jobs that come after others: one starts, one is fed, one is skipped."""
    either = [{"job_id": "job-0"}, {"job_id": "job-9", "end": "any"}]
    fed = Story(after=[{"job_id": "job-0", "end": "partly", "consume": {"id": "id"}}])
    fed.open_draft().feed(4).feed(2, part=3).seal_fed().heed(job_0="completed_with_errors").plan()
    return [
        Story(after=either).submit(4).heed(job_0="completed", job_9="failed").plan(),
        fed,
        Story(after=either).submit(4).heed(job_0="rolled_back"),
    ]


def _family() -> Batch:
    """The story of a batch that is stopped, put back in part, and again."""
    told = Batch().hear("runs").hear("done", "runs").stop().hear("done", "done", "skipped")
    told.undo_steps(savepoint="loaded").hear("done", "rolling").hear("done", "back").end_undo()
    return told


def _history(name: str, story: Story) -> dict[str, Any]:
    story.collect()
    mapper = JobMapper()
    stored = [mapper.to_stored_event(event) for event in story.events]
    stored.append(mapper.to_stored_event(story.job.snapshot()))
    return {
        "name": name,
        "job_id": story.job.id,
        "events": [
            {"version": e.originator_version, "alias": e.topic, "state": e.state.decode()}
            for e in stored
        ],
        "then": ending(story.job),
    }


def ending(job: Job) -> dict[str, Any]:
    """What must still be true of a job when its history is read."""
    return job.model_dump(mode="json", include={"status", "counts", "version", "epoch"})


def missing(histories: list[dict[str, Any]]) -> set[tuple[str, int]]:
    """Alias and schema of what this release writes and no history has."""
    have = {
        (event["alias"], orjson.loads(event["state"])["schema"])
        for history in histories
        for event in history["events"]
    }
    return {(kind.alias, kind.schema_number) for kind in EVENTS.values()} - have


def main() -> None:
    """Write the histories and shapes that are missing."""
    known = shapes() if SHAPES.exists() else {}
    present = {named(kind): shape(kind) for kind in EVENTS.values()}
    SHAPES.write_bytes(orjson.dumps({**present, **known}, option=orjson.OPT_INDENT_2) + b"\n")
    histories = load() if HISTORIES.exists() else []
    lacking = missing(histories)
    if not lacking:
        print("every event kind and schema has a history")
        return
    for story in all_kinds():
        told = _history(f"history-{len(histories)}", story)
        if lacking - missing([told]):
            histories.append(told)
            lacking &= missing([told])
    HISTORIES.write_bytes(orjson.dumps(histories, option=orjson.OPT_INDENT_2) + b"\n")
    print(f"wrote {HISTORIES}")


if __name__ == "__main__":
    main()
