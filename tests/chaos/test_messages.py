"""Messages come twice, late, in disorder, to the wrong member, or not at all."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from streams import topics
from streams.topology import all_topics
from tests.chaos import figures
from tests.chaos.load import Load
from tests.chaos.processes import Process
from tests.chaos.relay import (
    Copy,
    Mischief,
    Place,
    Relay,
    first_deliveries,
    gaps,
    missed,
    never_read,
)
from tests.chaos.stack import SYSTEMS, Stack
from tests.crash import seeds
from tests.proof.figures import tell

pytestmark = [pytest.mark.crash, pytest.mark.service("kafka", "postgresql")]

PATIENCE = 90.0
TOPICS = all_topics(SYSTEMS)
WORK = topics.work("chaos")
BUSY = (topics.COMMANDS, WORK, topics.OUTCOMES, topics.EVENTS)
"""The topics by which a job is done and followed."""
KEPT_PLACE = (topics.COMMANDS, WORK)
"""Those of them whose readers go on with the oldest message that is left after a loss; those of the
others go on with what comes next."""
VERBS = ("pause", "resume") * 3
CONTESTS = 5
"""Jobs of which one coordinator may have all events before that is no chance any more."""
GUESTS = (("worker", "guest-1"), ("coordinator", "guest-2"))
"""Members that come and go, of the group of each role."""


def _relay(stack: Stack, **mischief: object) -> Relay:
    chance = random.Random(seeds.SEED)
    return Relay(stack.kafka.bootstrap, TOPICS, Mischief(**mischief), chance)  # type: ignore[arg-type]


def _all_done(load: Load, jobs: Sequence[str]) -> None:
    for job_id in jobs:
        load.all_done(job_id, PATIENCE)


def _copied(stack: Stack, load: Load, jobs: int, items: int) -> None:
    given = set(load.tasks)
    with _relay(stack, copies=3) as relay:
        _all_done(load, [load.submit(items) for _ in range(jobs)])
        # Those of the last messages come when their jobs have ended.
        time.sleep(1.0)
        relay.check()
    tell("messages copied, shuffled and sent to any partition", relay.copied.total())
    assert set(relay.copied) >= set(BUSY)
    figures.unrepeated(load, load.tasks.keys() - given)


def test_messages_come_again_late_and_in_disorder(stack: Stack, load: Load) -> None:
    _copied(stack, load, jobs=3, items=2000)
    load.judge()


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_ten_thousand_items_with_copies_of_every_message(stack: Stack, load: Load) -> None:
    for _ in range(5):
        _copied(stack, load, jobs=5, items=2000)
    load.judge()


def _readers(stack: Stack) -> dict[str, list[Process]]:
    return {
        topics.COMMANDS: stack.coordinators,
        WORK: stack.workers,
        topics.OUTCOMES: [stack.api],
        topics.EVENTS: [stack.api],
    }


def _lost(stack: Stack, load: Load, jobs: int, times: int) -> None:
    """Jobs one after the other, then small ones until each topic has lost messages so often."""
    before, given = missed(stack), set(load.tasks)

    def enough() -> bool:
        lost = missed(stack) - before
        return all(lost[topic] >= times for topic in BUSY)

    with _relay(stack, losses=4.0, losing=_readers(stack)) as relay:
        for _ in range(jobs):
            _all_done(load, [load.submit(500, ms=1.0)])
        _all_done(load, _submitted_until(enough, load, times * PATIENCE))
        relay.check()
    lost = missed(stack) - before
    for topic in BUSY:
        tell("times that a reader's messages were lost", lost[topic], topic=topic)
    assert enough(), lost
    figures.unrepeated(load, load.tasks.keys() - given)


def _submitted_until(enough: Callable[[], bool], load: Load, seconds: float) -> list[str]:
    """Small jobs, whether or not those before have ended, for so long at most.

    Each makes work, while workers stand still; and every other one has many chunks, whose outcomes
    make commands while those stand still who decide.
    """
    jobs, until = [], time.monotonic() + seconds
    while not enough() and time.monotonic() < until:
        jobs.append(load.submit(20, ms=1.0))
        jobs.append(load.submit(100, ms=5.0, options={"chunk_size": 5}))
        time.sleep(0.05)
    return jobs


def test_messages_are_lost(stack: Stack, load: Load) -> None:
    _lost(stack, load, jobs=1, times=1)
    load.judge()


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_messages_are_lost_again_and_again(stack: Stack, load: Load) -> None:
    _lost(stack, load, jobs=10, times=5)
    load.judge()


def test_the_places_that_a_reader_never_read_are_between_what_it_wanted_and_what_was_left() -> None:
    cleared = [Place("t", 0, 9), Place("t", 1, 7), Place("t", 0, 20)]
    assert never_read([Place("t", 0, 7), Place("t", 0, 18), Place("t", 1, 8)], cleared) == {
        *(Place("t", 0, 7), Place("t", 0, 8)),
        *(Place("t", 0, 18), Place("t", 0, 19)),
    }


def test_a_copy_is_the_first_delivery_where_only_the_message_itself_was_lost() -> None:
    lost = {Place("t", 0, 7), Place("t", 0, 8)}
    late = Copy(Place("t", 0, 7), Place("t", 1, 3))
    again = Copy(Place("t", 0, 7), Place("t", 2, 3))
    lost_as_well = Copy(Place("t", 0, 8), Place("t", 0, 8))
    twice = Copy(Place("t", 1, 1), Place("t", 1, 4))
    assert first_deliveries([late, again, lost_as_well, twice], lost) == {"t": 1}
    assert not first_deliveries([twice, lost_as_well], lost)


def _late(stack: Stack, load: Load, times: int) -> None:
    """Jobs until so many messages of each topic were first heard as copies.

    Behind newer ones, and by whichever member has the partition that the copy came to.
    """
    before, given = gaps(stack), set(load.tasks)

    def late() -> Counter[str]:
        lost = never_read(gaps(stack) - before, relay.cleared)
        return first_deliveries(list(relay.copies), lost)

    def enough() -> bool:
        found = late()
        return all(found[topic] >= times for topic in KEPT_PLACE)

    with _relay(stack, copies=3, losses=4.0, losing=_readers(stack)) as relay:
        _all_done(load, _submitted_until(enough, load, (2 + times / 10) * PATIENCE))
        relay.check()
    found = late()
    for topic in KEPT_PLACE:
        tell("messages lost of which a copy came late", found[topic], topic=topic)
    assert all(found[topic] >= times for topic in KEPT_PLACE), found
    figures.unrepeated(load, load.tasks.keys() - given)


def test_messages_are_lost_and_their_copies_come_late(stack: Stack, load: Load) -> None:
    _late(stack, load, times=3)
    load.judge()


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_messages_are_lost_and_their_copies_come_late_again_and_again(
    stack: Stack, load: Load
) -> None:
    _late(stack, load, times=50)
    load.judge()


def _contested(stack: Stack, load: Load) -> None:
    """One job after the other until both coordinators have stored events of one.

    A job has some twenty of them, and who looks first has them: now and then that is always the
    same one.
    """
    assert any(all(_contest(stack, load)) for _ in range(CONTESTS)), "one leaves all to the other"


def _contest(stack: Stack, load: Load) -> list[int]:
    """Both are told to look at one job, all the time, and get its commands; what each stored."""
    before = _appended(stack)
    job_id = load.submit(1000, ms=2.0)
    with _relay(stack, copies=3, hinted=job_id) as relay:
        for number, verb in enumerate(VERBS):
            load.client.attempt(job_id, verb, f"{verb}-{number}-{job_id}")
        _all_done(load, [job_id])
        relay.check()
    wrote = [now - was for now, was in zip(_appended(stack), before, strict=True)]
    tell("hints to both coordinators on one job", relay.hints, events_of_each=wrote)
    figures.unrepeated(load, [job_id])
    return wrote


def _appended(stack: Stack) -> list[int]:
    """How many events each coordinator has stored so far."""
    return [int(one.counted("countermand_events_appended_total")) for one in stack.coordinators]


def test_two_coordinators_on_one_job(stack: Stack, load: Load) -> None:
    _contested(stack, load)
    load.judge()


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_two_coordinators_on_one_job_again_and_again(stack: Stack, load: Load) -> None:
    for _ in range(5):
        _contested(stack, load)
    load.judge()


def _storm(stack: Stack, load: Load, seconds: float) -> None:
    """Workers and coordinators join and leave every two seconds, while jobs go on."""
    guests = [stack.guest(role, name) for role, name in GUESTS]
    begun, turns, jobs = time.monotonic(), 0, []
    while time.monotonic() < begun + seconds:
        guest = guests[turns % len(guests)]
        if guest.is_running:
            # Only who has said where it listens knows what it is asked.
            assert guest.url
            guest.ask_to_stop()
            assert guest.wait() == 0, guest.tail
        else:
            guest.start()
        jobs.append(load.submit(200, ms=2.0))
        turns += 1
        time.sleep(2.0)
    assert all(guest.url for guest in guests if guest.is_running)
    assert not any(stack.stop(*guests))
    _all_done(load, jobs)
    took = time.monotonic() - begun
    tell("rebalance storm", f"{turns} joins and leaves, {len(jobs)} jobs in {took:.0f} s")
    figures.unrepeated(load, jobs)


def test_members_come_and_go(stack: Stack, load: Load) -> None:
    _storm(stack, load, 8.0)
    load.judge()


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_a_rebalance_storm(stack: Stack, load: Load) -> None:
    _storm(stack, load, 120.0)
    load.judge()
