"""Dying: members of one role that are killed at a failpoint, once, while jobs go on."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from streams.failpoints import Failpoint
from tests.chaos.load import Load, left_behind
from tests.chaos.processes import Process, Victim
from tests.services.receiver import WEBHOOKS, receiving

PATIENCE = 90.0
IDLE = 5.0
"""Seconds within which what runs on the clock comes by."""
_SNAPSHOT = 205
"""Versions after which a snapshot is taken, and a few."""

_API = (Failpoint.PAYLOAD_STORED, Failpoint.RESERVED, Failpoint.COMMAND_SENT, Failpoint.BEFORE_ACK)
_COORDINATOR = (
    Failpoint.BEFORE_APPEND,
    Failpoint.AFTER_APPEND,
    Failpoint.AFTER_CHUNK_ROWS,
    Failpoint.BEFORE_DECISION,
    Failpoint.AFTER_DECISION,
    Failpoint.COORDINATOR_COMMITTED,
    Failpoint.HEADS_SIGNED,
    Failpoint.BEFORE_SNAPSHOT,
    Failpoint.AFTER_SNAPSHOT,
    Failpoint.BEFORE_DISPATCH_SEND,
    Failpoint.AFTER_DISPATCH_SEND,
    Failpoint.BEFORE_ACK,
    Failpoint.BEFORE_OUTBOX_SEND,
    Failpoint.AFTER_OUTBOX_SEND,
    Failpoint.AFTER_OUTBOX_SAVE,
    Failpoint.BEFORE_PROJECTION,
    Failpoint.BEFORE_WEBHOOK,
    Failpoint.WEBHOOK_SENT,
    Failpoint.WEBHOOK_NOTED,
    Failpoint.BEFORE_ARCHIVE,
    Failpoint.ARCHIVE_WRITTEN,
    Failpoint.ARCHIVE_NAMED,
    Failpoint.WITHIN_CLEARING,
)
_WORKER = (
    Failpoint.BEFORE_CLAIM,
    Failpoint.AFTER_CLAIM,
    Failpoint.BEFORE_HANDLER,
    Failpoint.AFTER_HANDLER,
    Failpoint.BEFORE_IMAGES,
    Failpoint.BEFORE_EFFECT_COMMIT,
    Failpoint.AFTER_EFFECT_COMMIT,
    Failpoint.BEFORE_ITEM_RESULTS,
    Failpoint.AFTER_ITEM_RESULTS,
    Failpoint.BEFORE_COMPENSATION,
    Failpoint.AFTER_COMPENSATION,
    Failpoint.COMPENSATION_STORED,
    Failpoint.BEFORE_RESTORE,
    Failpoint.AFTER_RESTORE,
    Failpoint.BEFORE_UNDO_COMMIT,
    Failpoint.AFTER_UNDO_COMMIT,
    Failpoint.AFTER_PREPARE,
    Failpoint.WITHIN_ATOMIC_COMMIT,
    Failpoint.BEFORE_ATOMIC_COMMIT,
    Failpoint.AFTER_ATOMIC_COMMIT,
    Failpoint.BEFORE_OUTCOME_SEND,
    Failpoint.AFTER_OUTCOME_SEND,
    Failpoint.BEFORE_ACK,
)
REACHED = {"api": _API, "coordinator": _COORDINATOR, "worker": _WORKER}
"""Where the members of a role come by."""

_SLOW = (Failpoint.BEFORE_ITEM_RESULTS, Failpoint.AFTER_ITEM_RESULTS)
_WHOLE = (
    Failpoint.AFTER_PREPARE,
    Failpoint.WITHIN_ATOMIC_COMMIT,
    Failpoint.BEFORE_ATOMIC_COMMIT,
    Failpoint.AFTER_ATOMIC_COMMIT,
)
_AWAY = (
    Failpoint.BEFORE_ARCHIVE,
    Failpoint.ARCHIVE_WRITTEN,
    Failpoint.ARCHIVE_NAMED,
    Failpoint.WITHIN_CLEARING,
)
_OUTSIDE = (
    Failpoint.BEFORE_COMPENSATION,
    Failpoint.AFTER_COMPENSATION,
    Failpoint.COMPENSATION_STORED,
)
_TOLD = (Failpoint.BEFORE_WEBHOOK, Failpoint.WEBHOOK_SENT, Failpoint.WEBHOOK_NOTED)
_LONG = (Failpoint.BEFORE_SNAPSHOT, Failpoint.AFTER_SNAPSHOT)


_LATEST = 3
"""Which hit a member dies at, at most."""


@dataclass(frozen=True, slots=True)
class Trial:
    """Who dies where and when; ``hit`` counts from 1, for each process."""

    role: str
    point: Failpoint
    hit: int = 1

    def __str__(self) -> str:
        return f"{self.role} {self.point} {self.hit}"


@dataclass(frozen=True, slots=True)
class Death:
    """An engine that was killed at the failpoint; ``killed`` has those of its member that were.

    ``settled`` has how often each slow item had run whose result was stored by then.
    """

    at: float
    killed: frozenset[int]
    settled: Mapping[str, int]


def firsts() -> list[Trial]:
    """The first hit of every failpoint in every role that reaches it."""
    return [Trial(role, point) for role, points in REACHED.items() for point in points]


def laters(chance: random.Random) -> list[Trial]:
    """A later hit of each of them."""
    return [replace(trial, hit=chance.randint(2, _LATEST)) for trial in firsts()]


def sample(chance: random.Random) -> list[Trial]:
    """For each role, the first or a later hit of one of its failpoints."""
    found: dict[str, list[Trial]] = {}
    for trial in (*firsts(), *laters(chance)):
        found.setdefault(trial.role, []).append(trial)
    return [chance.choice(trials) for trials in found.values()]


def attempt(load: Load, trial: Trial) -> float:
    """Seconds from the first death to the end of all that was under way."""
    stack = load.stack
    members = [one for one in stack.processes.values() if one.role == trial.role]
    given = set(load.tasks)
    for member in members:
        member.kill(Victim.SUPERVISOR)
    with _armed(load, members, trial) as deaths:
        # Some scenarios pass it only once, and in any of the members: then one has so many hits.
        for _ in range((trial.hit - 1) * len(members) + 1):
            _scenario(trial.point)(load)
            if deaths:
                break
        until = time.monotonic() + IDLE
        while not deaths:
            assert time.monotonic() < until, f"{trial}: nobody came there"
            time.sleep(0.05)
        took = time.monotonic() - deaths[0].at
    stack.start()
    if trial.point in _SLOW:
        _only_the_dead_left(load, load.tasks.keys() - given, deaths)
    return took


def _scenario(point: Failpoint) -> Callable[[Load], None]:
    if point in _SLOW:
        return _slow
    if point in _WHOLE:
        return _whole
    if point in _AWAY:
        return _away
    if point in _OUTSIDE:
        return _outside
    if point in _TOLD:
        return _told
    return _long if point in _LONG else _there_and_back


def _there_and_back(load: Load) -> None:
    job_id = load.submit(300)
    load.all_done(job_id, PATIENCE)
    # An undo would take away what came twice.
    assert load.standing(job_id) == dict.fromkeys(load.tasks[job_id].marks, 1)
    load.client.command(job_id, "undo", f"undo-{job_id}")
    job = load.done(job_id, PATIENCE)
    assert job["counts"]["rolled_back"] == 300, job


def _slow(load: Load) -> None:
    load.all_done(load.submit(40, ms=5, slow=True), PATIENCE)


def _only_the_dead_left(load: Load, jobs: Iterable[str], deaths: Sequence[Death]) -> None:
    """A slow item ran again only where whoever had begun it was killed, and once for each death.

    None did whose result was stored.
    """
    killed = frozenset[int]().union(*(death.killed for death in deaths))
    for job_id in jobs:
        runs = load.runs(job_id)
        assert set(left_behind(runs)) <= killed, f"{job_id}: {left_behind(runs)} beside {killed}"
        assert len(set(runs)) == len(runs), f"{job_id}: a process ran an item twice: {runs}"
        for death in deaths:
            again = ran_again(runs, death.settled)
            assert not again, f"{job_id}: {again} ran again, whose results were stored"


def ran_again(runs: Iterable[tuple[int, str]], settled: Mapping[str, int]) -> list[str]:
    """The items that have run more often than by the time that their results were stored."""
    total = Counter(mark for _, mark in runs)
    return sorted(mark for mark, count in total.items() if count > settled.get(mark, count))


def _whole(load: Load) -> None:
    load.all_done(load.submit(300, options={"atomic": True, "chunk_size": 50}), PATIENCE)


def _away(load: Load) -> None:
    job_id = load.submit(60, options={"chunk_size": 10})
    load.all_done(job_id, PATIENCE)
    load.put_away(job_id, PATIENCE)


def _outside(load: Load) -> None:
    job_id, undone = load.submit_order(24, chunk_size=6)
    load.all_done(job_id, PATIENCE)
    load.client.command(job_id, "undo", f"undo-{job_id}")
    assert load.done(job_id, PATIENCE)["counts"]["rolled_back"] == 24
    struck = [line.split()[1:] for line in undone.read_text().splitlines()]
    assert {key for _, key in struck} == {f"{job_id}:{n}:undo" for n in range(24)}
    deaths = len([one for one in load.stack.processes.values() if one.role == "worker"])
    assert len(struck) <= 24 + deaths, "one death repeats one call at most"


def _told(load: Load) -> None:
    with receiving() as receiver:
        hook = load.client.ask("POST", WEBHOOKS, {"url": receiver.url, "events": ["*"]}, status=201)
        job_id = load.submit(60)
        load.all_done(job_id, PATIENCE)
        events = {(job_id, event["version"]) for event in load.client.events(job_id)}
        receiver.has_all(events, hook["secret"], PATIENCE)
        load.client.ask("DELETE", f"{WEBHOOKS}/{hook['webhook_id']}")


def _long(load: Load) -> None:
    load.all_done(load.submit_in_parts(_SNAPSHOT), PATIENCE)


@contextmanager
def _armed(load: Load, members: Sequence[Process], trial: Trial) -> Iterator[list[Death]]:
    """Members that die there at that hit and come back unarmed; their deaths."""
    deaths: list[Death] = []
    ended = threading.Event()
    watches = [
        threading.Thread(target=_watch, args=(load, member, trial, deaths, ended))
        for member in members
    ]
    for watch in watches:
        watch.start()
    try:
        yield deaths
    finally:
        ended.set()
        for watch in watches:
            watch.join()


def _watch(
    load: Load, member: Process, trial: Trial, deaths: list[Death], ended: threading.Event
) -> None:
    """Only a supervisor that has seen its engine die of SIGKILL says that it came there.

    Nobody else sends that to an armed member, and one that ends otherwise has another fault.
    """
    before = member.log.stat().st_size
    member.start(COUNTERMAND_FAILPOINT=f"{trial.point}:{trial.hit}")
    while not ended.wait(0.01):
        if killed := member.killed_since(before):
            # The next one is killed below, and may have begun something as well.
            following = {member.engine()} - {None}
            at, settled = time.monotonic(), load.settled() if trial.point in _SLOW else {}
            deaths.append(Death(at, frozenset({*killed, *following}), settled))
            break
    # Whoever starts the engine again must not arm it again.
    member.kill(Victim.SUPERVISOR)
    member.start()
