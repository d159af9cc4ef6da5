"""One partition: offsets, what is kept, and who waits."""

from __future__ import annotations

import asyncio

import pytest
from faust.types import TP

from streams.transport.errors import BacklogFullError
from streams.transport.memory.log import PartitionLog, Record


def make_log(limit: int = 10) -> PartitionLog:
    return PartitionLog(TP("work", 0), limit)


async def append(
    log: PartitionLog, *, size: int = 1, value: bytes = b"", patience: float = 5.0
) -> Record:
    return await log.append(
        key=None, value=value, headers=[], timestamp=0, size=size, patience=patience
    )


async def fill(log: PartitionLog, count: int) -> None:
    for _ in range(count):
        await append(log)


async def test_offsets_have_no_holes() -> None:
    log = make_log()
    assert [(await append(log)).offset for _ in range(5)] == [0, 1, 2, 3, 4]
    assert (log.earliest, log.highwater) == (0, 5)


async def test_reading_begins_at_the_oldest_still_held() -> None:
    log = make_log()
    await fill(log, 6)
    log.commit("group", 4)
    assert [each.offset for each in log.read(0, 10)] == [4, 5]
    assert log.read(6, 10) == []


async def test_what_every_group_committed_is_dropped() -> None:
    log = make_log()
    log.commit("one", 0)
    log.commit("other", 0)
    await fill(log, 6)
    log.commit("one", 6)
    assert (log.earliest, log.backlog_bytes) == (0, 6)
    log.commit("other", 4)
    assert (log.earliest, log.backlog_bytes) == (4, 2)


async def test_a_commit_never_goes_back() -> None:
    log = make_log()
    await fill(log, 6)
    log.commit("group", 4)
    log.commit("group", 2)
    assert log.committed("group") == 4


async def test_a_commit_reaches_no_further_than_the_newest() -> None:
    log = make_log()
    await fill(log, 3)
    log.commit("group", 99)
    assert (log.committed("group"), log.earliest, log.highwater) == (3, 3, 3)


async def test_offsets_go_on_after_everything_was_dropped() -> None:
    log = make_log()
    await fill(log, 3)
    log.commit("group", 3)
    assert (await append(log)).offset == 3


async def test_without_any_group_the_oldest_make_room() -> None:
    log = make_log(limit=100)
    await fill(log, 1000)
    assert log.highwater == 1000
    assert 50 <= log.backlog_bytes <= 100
    assert log.earliest == 1000 - log.backlog_bytes


async def test_a_full_partition_makes_the_sender_wait_until_its_readers_commit() -> None:
    log = make_log()
    log.commit("group", 0)
    await fill(log, 10)
    waiting = asyncio.ensure_future(append(log))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    assert log.is_pressed
    log.commit("group", 1)
    assert (await waiting).offset == 10
    assert not log.is_pressed


async def test_waiting_senders_are_served_in_order() -> None:
    log = make_log()
    log.commit("group", 0)
    await fill(log, 10)
    waiting = [
        asyncio.ensure_future(append(log, size=size, value=b"%d" % number))
        for number, size in enumerate([5, 1, 1])
    ]
    await asyncio.sleep(0.01)
    log.commit("group", 3)
    await asyncio.sleep(0.01)
    assert not any(each.done() for each in waiting)
    log.commit("group", 10)
    assert [(await each).offset for each in waiting] == [10, 11, 12]


async def test_a_small_message_does_not_overtake_a_large_one_that_waits() -> None:
    log = make_log()
    log.commit("group", 0)
    await fill(log, 10)
    large = asyncio.ensure_future(append(log, size=5))
    await asyncio.sleep(0.01)
    log.commit("group", 3)
    small = asyncio.ensure_future(append(log))
    await asyncio.sleep(0.01)
    assert not small.done()
    log.commit("group", 6)
    assert [(await large).offset, (await small).offset] == [10, 11]


async def test_a_sender_that_waits_asks_the_readers_to_commit() -> None:
    log = make_log()
    log.commit("group", 0)
    asked = asyncio.Event()
    log.watch(lambda: None, asked.set)
    await fill(log, 10)
    assert not asked.is_set()
    waiting = asyncio.ensure_future(append(log))
    await asked.wait()
    log.commit("group", 10)
    await waiting


async def test_a_sender_does_not_wait_for_ever() -> None:
    log = make_log()
    log.commit("slow", 0)
    log.commit("quick", 0)
    await fill(log, 10)
    log.commit("quick", 10)
    with pytest.raises(BacklogFullError, match=r"partition 0 of topic 'work'.*0\.01 s.*: slow;"):
        await append(log, patience=0.01)
    assert log.highwater == 10


async def test_a_cancelled_sender_leaves_no_trace() -> None:
    log = make_log()
    log.commit("group", 0)
    await fill(log, 10)
    cancelled, next_in_line = (asyncio.ensure_future(append(log)) for _ in range(2))
    await asyncio.sleep(0.01)
    cancelled.cancel()
    await asyncio.sleep(0)
    log.commit("group", 10)
    assert (await next_in_line).offset == 10
    assert cancelled.cancelled()


async def test_a_message_above_the_limit_passes_through_an_empty_partition() -> None:
    log = make_log()
    log.commit("group", 0)
    assert (await append(log, size=50)).offset == 0


async def test_forgetting_a_group_releases_what_was_held_for_it() -> None:
    log = make_log()
    log.commit("gone", 0)
    log.commit("here", 0)
    await fill(log, 10)
    log.commit("here", 10)
    waiting = asyncio.ensure_future(append(log))
    await asyncio.sleep(0.01)
    log.forget("gone")
    assert (await waiting).offset == 10
    assert log.earliest == 10


async def test_forgetting_the_last_group_lets_the_oldest_make_room() -> None:
    log = make_log()
    log.commit("gone", 0)
    await fill(log, 10)
    waiting = asyncio.ensure_future(append(log))
    await asyncio.sleep(0.01)
    log.forget("gone")
    assert (await waiting).offset == 10


async def test_new_messages_wake_whoever_watches() -> None:
    log, woken = make_log(), 0

    def wake() -> None:
        nonlocal woken
        woken += 1

    log.watch(wake, lambda: None)
    await fill(log, 3)
    assert woken == 3
