"""Scenarios: what a caller does while the engine may die, each with jobs that come to rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from streams.webhooks.places import PER_WEBHOOK
from tests.crash import oracle
from tests.crash.client import JOBS, Document
from tests.crash.workshop import ARCHIVES, Remains, Run
from tests.services.receiver import WEBHOOKS, receiving

Scenario = Callable[[Run], None]


def additions(task: str, counters: Sequence[int], **fields: Any) -> list[dict[str, Any]]:
    """One addition for each counter."""
    return [{"mark": f"{task}-{counter}", "counter": counter, **fields} for counter in counters]


def work(run: Run) -> None:
    """Chunks of ten, an exception among them."""
    items = additions("work", range(1, 61))
    items[17]["fault"] = "seventeen"
    job_id = run.submit("crash.add", items, options={"chunk_size": 10})
    job = run.settle(job_id)
    assert (job["counts"]["succeeded"], job["counts"]["failed"]) == (59, 1), job


def pack(run: Run) -> None:
    """Many chunks in one message and one transaction."""
    items = [{"mark": f"pack-{number}"} for number in range(600)]
    job = run.settle(run.submit("crash.create", items, options={"chunk_size": 20}))
    assert job["counts"]["succeeded"] == 600, job


def retry(run: Run) -> None:
    """Items that fail until another job has mended what they need."""
    needy = additions("retry", range(1, 41))
    for item in needy[10:30]:
        item["needs"] = 100
    job_id = run.submit("crash.add", needy, options={"chunk_size": 8})
    assert run.settle(job_id)["counts"]["failed"] == 20
    run.settle(run.submit("crash.add", additions("mend", [100])))
    run.client.command(job_id, "retry", "again")
    assert run.settle(job_id)["counts"]["succeeded"] == 40


def undo(run: Run) -> None:
    """There, back, and there again: many chunks in one message and one transaction."""
    job_id = run.submit("crash.add", additions("undo", range(1, 97)), options={"chunk_size": 8})
    run.settle(job_id)
    run.agrees()
    run.client.command(job_id, "undo", "back")
    assert run.settle(job_id)["counts"]["rolled_back"] == 96
    run.agrees()
    run.client.command(job_id, "undo", "there again")
    assert run.settle(job_id)["counts"]["succeeded"] == 96


def in_part(run: Run) -> None:
    """Some of it back, then what is left, and there again."""
    job_id = run.submit("crash.add", additions("in_part", range(1, 49)), options={"chunk_size": 8})
    run.settle(job_id)
    run.agrees()
    path = f"{JOBS}/{job_id}/undo"
    some = {"items": [0, 9, 10, 40], "reason": "some"}
    run.client.ask("POST", path, some, key="some", status=202)
    job = run.settle(job_id)
    assert (job["status"], job["counts"]["rolled_back"]) == ("rollback_incomplete", 4), job
    run.agrees()
    run.client.command(job_id, "undo", "the rest")
    assert run.settle(job_id)["counts"]["rolled_back"] == 48
    run.agrees()
    run.client.command(job_id, "undo", "there again")
    assert run.settle(job_id)["counts"]["succeeded"] == 48


def rollback(run: Run) -> None:
    """The last item fails, and all that was done is put back by the job itself."""
    items = additions("rollback", range(1, 301))
    items[-1]["fault"] = "the last"
    options = {"chunk_size": 4, "on_error": "roll_back"}
    job = run.settle(run.submit("crash.add", items, options=options))
    assert job["status"] == "rolled_back", job
    assert (job["counts"]["failed"], job["counts"]["succeeded"]) == (1, 0), job
    assert job["counts"]["rolled_back"] >= 200, job


def whole(run: Run) -> None:
    """Prepared in chunks, and committed at once: all of it, or nothing yet."""
    items = [{"mark": f"whole-{number}"} for number in range(1200)]
    options = {"chunk_size": 100, "atomic": True}
    job = run.settle(run.submit("crash.create", items, options=options))
    assert (job["status"], job["counts"]["succeeded"]) == ("completed", 1200), job


def family(run: Run) -> None:
    """A batch of three, one behind the other; back to its savepoint, and then all of it."""
    steps = [
        {
            "name": f"s{number}",
            "operation": "crash.create",
            "items": [{"mark": f"family-{number}-{n}"} for n in range(20)],
            "after": [f"s{number - 1}"] if number else [],
            **({} if number else {"savepoint": "first"}),
        }
        for number in range(3)
    ]
    batch = run.submit_batch(steps)
    job = run.settle(batch)
    assert (job["status"], job["counts"]["succeeded"]) == ("completed", 60), job
    run.agrees()
    path = f"{JOBS}/{batch}/undo"
    run.client.ask("POST", path, {"to": "first"}, key="to the savepoint", status=202)
    job = run.settle(batch)
    assert (job["status"], job["counts"]["rolled_back"]) == ("rollback_incomplete", 40), job
    run.agrees()
    run.client.command(batch, "undo", "all of it")
    assert run.settle(batch)["counts"]["rolled_back"] == 60


def slow(run: Run) -> None:
    """Items that wait, each with a result of its own; what is stored of them is not done again."""
    items = [{"mark": f"slow-{number}", "ms": number % 7} for number in range(60)]
    journal = run.keeper.data_dir / "journal"
    params = {"journal": str(journal)}
    remains: list[Remains] = []
    run.keeper.at_death = lambda: remains.append(run.remains(journal))
    job_id = run.submit(
        "crash.wait", items, records=False, params=params, options={"chunk_size": 15}
    )
    assert run.settle(job_id)["counts"]["succeeded"] == 60
    results = [item["result"] for item in run.client.items(job_id)]
    assert results == [{"mark": item["mark"]} for item in items]
    _has_run_once(job_id, items, [*remains, run.remains(journal)])


def _has_run_once(job_id: str, items: Sequence[Document], remains: Sequence[Remains]) -> None:
    """But what was in flight at the death, of which the first of the remains are."""
    first, last = remains[0], remains[-1]
    stored = {items[number]["mark"] for job, number in first.stored if job == job_id}
    lives = [first.noted, last.noted[len(first.noted) :]]
    assert set(last.noted) == {item["mark"] for item in items}
    again = list(oracle.repeated(lives, stored))
    assert not again, again


def compensate(run: Run) -> None:
    """There and back, with a journal outside: nothing is struck out twice but by a death."""
    journal = run.keeper.data_dir / "journal"
    items = additions("compensate", range(1, 25))
    options = {"chunk_size": 6}
    params = {"journal": str(journal)}
    job_id = run.submit("crash.order", items, params=params, options=options)
    run.settle(job_id)
    run.agrees()
    run.client.command(job_id, "undo", "back")
    assert run.settle(job_id)["counts"]["rolled_back"] == 24
    struck = [line.split()[1:] for line in journal.read_text().splitlines() if "undo" in line]
    keys = {mark: {key for known, key in struck if known == mark} for mark, _ in struck}
    assert keys == {item["mark"]: {f"{job_id}:{n}:undo"} for n, item in enumerate(items)}
    assert len(struck) <= 25, "one death repeats one call at most"


def parts(run: Run) -> None:
    """A draft whose items come in parts."""
    _in_parts(run, parts=3, items=15)


def long(run: Run) -> None:
    """A job of more than 200 versions, so that a snapshot is taken."""
    _in_parts(run, parts=205, items=1)


def longer(run: Run) -> None:
    """One of more than 400 versions, so that a second one is."""
    _in_parts(run, parts=405, items=1)


def _in_parts(run: Run, *, parts: int, items: int) -> None:
    client = run.client
    body = {"operation": "crash.add", "draft": True, "options": {"chunk_size": 100}}
    job_id = str(client.ask("POST", JOBS, body, key="draft", status=202)["job_id"])
    everything = additions("parts", range(1, parts * items + 1))
    for part in range(parts):
        some = everything[part * items : (part + 1) * items]
        client.ask("POST", f"{JOBS}/{job_id}/items?part={part}", some, status=202)
    client.ask("POST", f"{JOBS}/{job_id}/seal", {"items": len(everything)}, key="seal", status=202)
    run.adopt(job_id, everything)
    job = run.settle(job_id)
    assert job["counts"]["succeeded"] == len(everything), job
    assert job["version"] > parts


def steer(run: Run) -> None:
    """Paused, resumed and cancelled on the way."""
    items = additions("steer", range(1, 301))
    job_id = run.submit("crash.add", items, options={"chunk_size": 2})
    for verb in ("pause", "resume", "cancel"):
        # Each may come too late: that is an answer as well.
        run.client.attempt(job_id, verb, verb)
    run.settle(job_id)


def archive(run: Run) -> None:
    """Put away: all that was stored of it moves to a file."""
    items = additions("archive", range(1, 41))
    items[5]["fault"] = "five"
    job_id = run.submit("crash.add", items, options={"chunk_size": 4})
    assert run.settle(job_id)["counts"]["failed"] == 1
    run.note(job_id)
    run.client.command(job_id, "archive", "put away")
    job = run.cleared(job_id)
    assert (job["status"], job["counts"]["succeeded"]) == ("archived", 39), job
    folder = run.keeper.data_dir / ARCHIVES / job_id
    assert [file.name for file in folder.iterdir()] == [Path(job["archived"]["file"]["name"]).name]


def told(run: Run) -> None:
    """What happens is posted to a receiver: all of it, signed, and again only by a death."""
    with receiving() as receiver:
        wanted = {"url": receiver.url, "events": ["*"]}
        hook = run.client.ask("POST", WEBHOOKS, wanted, status=201)
        job_id = run.submit("crash.add", additions("told", range(1, 41)), options={"chunk_size": 8})
        run.settle(job_id)
        events = {(job_id, event["version"]) for event in run.client.events(job_id)}
        with run.client.waiting():
            receiver.has_all(events, hook["secret"], seconds=30.0)
        assert receiver.told() == events
        path = f"{WEBHOOKS}/{hook['webhook_id']}/deliveries?state=delivered"
        with run.client.waiting():
            _until_noted(run, path, len(events))
        again = len(receiver.got) - len(events)
        assert again <= PER_WEBHOOK, "one death repeats what was on its way, at most"


def _until_noted(run: Run, path: str, count: int) -> None:
    until = time.monotonic() + 30.0
    while len(run.client.ask("GET", path)["items"]) < count:
        assert time.monotonic() < until, "what was delivered is not noted"
        time.sleep(0.02)


SCENARIOS: dict[str, Scenario] = {
    one.__name__: one
    for one in (
        *(work, pack, retry, undo, in_part, rollback, whole, family, slow),
        *(compensate, parts, steer, long, longer, archive, told),
    )
}
