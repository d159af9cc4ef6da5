"""Promises: what a job has said of itself must hold at each of its events, whoever dies.

As :mod:`tests.crash.oracle` it knows the documents of the HTTP interface only, and the drawing
of ``docs/state-machine.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

from tests.crash.oracle import Account, Verdict
from tests.unit.domain.drawing import LABELS, START, Edge, drawn_edges

Document = Mapping[str, Any]
Whole = tuple[Document, Sequence[Document]]
"""A batch, and its events."""
_SUITABLE = {
    "succeeded": {"completed"},
    "partly": {"completed", "completed_with_errors"},
    "any": {
        "completed",
        "completed_with_errors",
        "failed",
        "cancelled",
        "rolled_back",
        "rollback_incomplete",
        "rejected",
    },
}
_FORWARD = ("apply", "retry", "bisect", "commit")
_ENDED = ("completed", "completed_with_errors", "failed")
"""How a batch may end by itself, besides that all of it was rolled back by its jobs."""
_FREE = ("job.dependencies_met", "job.retry_started")
CLOCKS = timedelta(seconds=0.5)
"""By how much clocks and commits of several processes may disagree."""
MISDATED = timedelta(seconds=5.0)
"""By how much an event may be dated before one that it follows, at most.

What comes of a command has the moment at which that was taken up, however long it takes then.
"""
_TAKING_IN = ("job.chunks_closed", "job.children_moved")
"""What may be taken in meanwhile, before what a command leads to."""
_AS_IT_HAPPENS = (*_TAKING_IN, "job.chunks_planned")
_DRAWN, _DRAWN_OF_BATCHES = drawn_edges(), drawn_edges(1)


def judge(accounts: Sequence[Account], batches: Iterable[Whole], verdict: Verdict) -> None:
    """Note what jobs, and batches of them, have not kept."""
    whole = list(batches)
    events = {account.job["job_id"]: account.events for account in accounts}
    # A job may come after a batch as after any other.
    events |= {batch["job_id"]: told for batch, told in whole}
    for account in accounts:
        for fault in broken(account.job, account.events, events):
            verdict.faults.append(f"{account.job['job_id']}: {fault}")
        for fault in (*waited(account), *named(account), *told_in_order(account.events)):
            verdict.faults.append(f"{account.job['job_id']}: {fault}")
    by_id = {account.job["job_id"]: account for account in accounts}
    for account in accounts:
        source = by_id.get(_source_of(account.job))
        for fault in taken(account, source) if source is not None else ():
            verdict.faults.append(f"{account.job['job_id']}: {fault}")
    jobs = {account.job["job_id"]: account.job for account in accounts}
    for batch, told in whole:
        verdict.faults += broken_whole(batch, jobs)
        for fault in told_in_order(told, _DRAWN_OF_BATCHES):
            verdict.faults.append(f"{batch['job_id']}: {fault}")


def broken(
    job: Document, events: Sequence[Document], others: Mapping[str, Sequence[Document]]
) -> Iterator[str]:
    """What a job has not kept, as sentences; ``others`` are the events of all jobs, by id."""
    options = job.get("options", {})
    yield from _kept(events)
    yield from _approved(events)
    yield from _tolerated(options, events)
    if options.get("atomic"):
        yield from _whole(events)
    if options.get("dry_run"):
        yield from _without_effect(events)
    if options.get("after"):
        yield from _after(options["after"], events, others)
    if options.get("start_at"):
        yield from _in_its_time(options["start_at"], events)
    if options.get("timeout"):
        yield from _in_time(options["timeout"], events)


def told_in_order(events: Sequence[Document], drawn: Set[Edge] = _DRAWN) -> Iterator[str]:
    """Each event leads on from the one before it as is drawn, and none is dated long before it."""
    before = START
    latest: datetime | None = None
    heard: datetime | None = None
    for event in events:
        name, version = str(event["event"]), event["version"]
        edge = (before, LABELS.get(name, name), event["status"])
        if edge not in drawn:
            yield f"version {version} goes another way than is drawn: {' '.join(edge)}"
        before, at = event["status"], datetime.fromisoformat(event["at"])
        follows = latest if name in _AS_IT_HAPPENS else heard
        if follows is not None and at < follows - MISDATED:
            yield f"version {version} is of {at}, and follows what is of {follows}"
        latest = max(latest or at, at)
        if name not in _TAKING_IN:
            heard = max(heard or at, at)


def waited(account: Account) -> Iterator[str]:
    """Which items were waited for longer than their job allows: marks end in what those take."""
    allowed = account.job.get("options", {}).get("item_timeout")
    if not allowed:
        return
    for mark, item in zip(account.marks, account.items, strict=True):
        takes = int(mark.rpartition("-")[2]) / 1000
        if item["status"] == "succeeded" and takes > allowed:
            yield f"{mark} has succeeded, for which its job has {allowed:g} s"


def named(account: Account) -> Iterator[str]:
    """Of items that are called the same one is worked; marks end in what those are called."""
    options = account.job.get("options", {})
    rule = options.get("duplicates", "refuse")
    if not options.get("key") or len(account.items) != len(account.marks):
        return
    names = [mark.rpartition("-")[2] for mark in account.marks]
    numbered = list(enumerate(names))
    # What comes later in this order replaces what came before.
    chosen = {name: n for n, name in (numbered if rule == "last" else reversed(numbered))}
    for (position, name), item in zip(numbered, account.items, strict=True):
        repeats = (item.get("error") or {}).get("code") == "duplicate"
        if rule == "refuse":
            if item["status"] == "succeeded" and len(chosen) < len(names):
                yield f"item {position} is worked, and {name} is called as another one is"
        elif repeats is (chosen[name] == position):
            yield f"item {position} is {item['status']}, and {name} is item {chosen[name]}"


def _source_of(job: Document) -> str:
    """The job whose results are the items of another; empty for one that brings its own."""
    after = job.get("options", {}).get("after", ())
    return next((str(one["job_id"]) for one in after if one.get("consume")), "")


def taken(account: Account, source: Account) -> Iterator[str]:
    """Items are the results of another job: each once, in its order, and all that had succeeded."""
    results = [(item.get("result") or {}).get("id") for item in source.items]
    ids = [int(mark.rpartition("-")[2]) for mark in account.marks]
    if len(set(ids)) < len(ids):
        yield f"it has taken results of {source.job['job_id']} twice"
    names = [event["event"] for event in source.events]
    if "job.undo_started" in names or "job.retry_started" in names or "job.shredded" in names:
        # What had succeeded when it was read is not what has succeeded now.
        return
    made = [
        result
        for result, item in zip(results, source.items, strict=True)
        if item["status"] == "succeeded"
    ]
    if ids and ids != made:
        yield f"it has {len(ids)} items, and job {source.job['job_id']} has made {len(made)}"


def _in_its_time(start_at: str, events: Sequence[Document]) -> Iterator[str]:
    """Nothing is planned before the moment at which a job may start, as it is said last."""
    moment: datetime | None = datetime.fromisoformat(start_at)
    for event in events:
        at, name = datetime.fromisoformat(event["at"]), event["event"]
        if name == "job.adjusted":
            moment = datetime.fromisoformat(event["start_at"]) if event.get("start_at") else None
        if name == "job.start_due" and moment is not None and at < moment - CLOCKS:
            yield f"version {event['version']} is before {moment}"
        if name in ("job.start_due", "job.retry_started"):
            # A retry is asked for now.
            moment = None
        if name == "job.chunks_planned" and moment is not None:
            yield f"version {event['version']} begins before {moment}"


def _kept(events: Sequence[Document]) -> Iterator[str]:
    """What is held is neither shredded nor put away, and what is shredded is not worked again."""
    held = shredded = False
    for event in events:
        name = event["event"]
        held = name == "job.held" or (held and name != "job.released")
        shredded = shredded or name == "job.shredded"
        if held and name in ("job.shredded", "job.archived", "job.emptied"):
            yield f"version {event['version']}: it was held"
        if shredded and name == "job.retry_started":
            yield f"version {event['version']}: nobody has its items"


def _approved(events: Sequence[Document]) -> Iterator[str]:
    """Nothing is done before a second identity has said so."""
    waits = False
    for event in events:
        waits = waits or event["status"] == "awaiting_approval"
        if waits and event["event"] == "job.chunks_planned":
            yield f"version {event['version']}: nobody has approved it"
            return
        if event["event"] == "job.approved":
            waits = False
            if event["actor"] == events[0]["actor"]:
                yield f"{event['actor']} has approved what was asked for by the same"


def _tolerated(options: Document, events: Sequence[Document]) -> Iterator[str]:
    """No run goes on, or ends well enough, with more failures than it tolerates."""
    yield from (said for limit in _limits(options) for said in _kept_within(limit, events))


def _limits(options: Document) -> Iterator[Document]:
    """Those that counts alone say to be hit: of all items and of all failures."""
    said: Sequence[Document] = options.get("tolerate") or ()
    if options.get("stop_on_error") or (options.get("on_error") == "roll_back" and not said):
        said = [{"failed": 0}]
    yield from (limit for limit in said if not limit.get("window") and not limit.get("codes"))


def _kept_within(limit: Document, events: Sequence[Document]) -> Iterator[str]:
    """Failures count anew with a retry, and when a job goes on that a limit has paused."""
    fails = limit.get("then", "fail") == "fail"
    by_limit, before, status = False, 0, ""
    for event in events:
        name, counts = event["event"], event["counts"]
        if name == "job.retry_started" or (name == "job.resumed" and by_limit):
            before = counts["failed"]
        if name in ("job.paused", "job.resumed"):
            by_limit = event.get("limit") is not None
        failed, most = counts["failed"] - before, _most(limit, counts["total"])
        told = f"{failed} items failed, {most} are tolerated"
        ran, status = status != "rolling_back", event["status"]
        if name == "job.chunks_planned" and status == "running" and failed > most:
            yield f"version {event['version']} goes on with {told}"
        well = name == "job.finished" and status == "completed_with_errors"
        if well and ran and fails and failed > most:
            yield f"it has finished with {told}"


def _most(limit: Document, total: int) -> int:
    """How many failures a limit tolerates; a percentage is the number that somebody wrote."""
    if limit.get("failed") is not None:
        return int(limit["failed"])
    return int(total * Fraction(str(limit["percent"])) / 100)


def _whole(events: Sequence[Document]) -> Iterator[str]:
    """All items of an atomic job have taken effect, or none."""
    for event in events:
        if event["event"] == "job.undo_started":
            return
        counts = event["counts"]
        if counts["succeeded"] and counts["pending"] + counts["failed"]:
            yield f"version {event['version']} of an atomic job has a part of it: {counts}"


def _without_effect(events: Sequence[Document]) -> Iterator[str]:
    for event in events:
        if event["counts"]["succeeded"]:
            yield f"version {event['version']} of a dry run has effects"


def _after(
    after: Sequence[Document],
    events: Sequence[Document],
    others: Mapping[str, Sequence[Document]],
) -> Iterator[str]:
    names = [event["event"] for event in events]
    free = min((names.index(name) for name in _FREE if name in names), default=len(names))
    if "job.chunks_planned" in names[:free]:
        yield "it began before those that it comes after have ended"
    for event in events:
        if event["event"] == "job.dependencies_met":
            at = datetime.fromisoformat(event["at"]) + CLOCKS
            for one in after:
                if not _has_ended(others.get(one["job_id"], ()), one["end"], at):
                    yield f"it began, and {one['job_id']} had not {one['end']} by then"
        if event["event"] == "job.skipped":
            named = [one["job_id"] for one in after]
            if event["needs"] not in named or event["needs"] not in event["reason"]:
                yield f"it is skipped, and does not say for whom: {event}"
            if event["counts"]["skipped"] != event["counts"]["total"]:
                yield "it is skipped, and has done something"


def _has_ended(events: Sequence[Document], end: str, by: datetime) -> bool:
    return any(
        event["status"] in _SUITABLE[end] and datetime.fromisoformat(event["at"]) <= by
        for event in events
    )


def _in_time(timeout: float, events: Sequence[Document]) -> Iterator[str]:
    """Nothing is planned once a run has taken longer than it may."""
    began: datetime | None = None
    for event in events:
        at = datetime.fromisoformat(event["at"])
        if event["event"] == "job.retry_started" or (began and event["event"] == "job.resumed"):
            began = at
        if event["event"] == "job.chunks_planned" and event["chunks"][0]["cause"] in _FORWARD:
            began = began or at
            if at - began > timedelta(seconds=timeout) + CLOCKS:
                yield f"version {event['version']} goes on past the timeout of {timeout:g} s"


def broken_whole(batch: Document, jobs: Mapping[str, Document]) -> Iterator[str]:
    """What a batch at rest says that is not so of its jobs."""
    own = [jobs[step["job_id"]] for step in batch["steps"]]
    for name, said in batch["counts"].items():
        found = sum(job["counts"].get(name, 0) for job in own)
        if said != found:
            yield f"{batch['job_id']} has {said} items {name}, its jobs {found}"
    if batch["status"] in _ENDED and batch["status"] != _ending(own):
        yield f"{batch['job_id']} is {batch['status']}, its jobs are {_ending(own)}"
    if batch["status"] == "rolled_back" and batch["counts"]["succeeded"]:
        yield f"{batch['job_id']} is rolled back, and something of it stands"
    if batch["status"] == "rollback_incomplete" and not batch["counts"]["succeeded"]:
        yield f"{batch['job_id']} is rolled back in part, and nothing of it stands"


def _ending(own: Sequence[Document]) -> str:
    """How a batch has ended that nobody has cancelled or undone, and whose jobs have ended."""
    if all(_ended_as(job) == "completed" for job in own):
        return "completed"
    counts = [job["counts"] for job in own]
    if any(count.get("succeeded") or count.get("planned") for count in counts):
        return "completed_with_errors"
    return "rolled_back" if any(count.get("rolled_back") for count in counts) else "failed"


def _ended_as(job: Document) -> str:
    """The status in which a job was put away, or is."""
    return str((job.get("archived") or {}).get("was", job["status"]))
