"""Slow operations whose function dies, hangs or is slow to refuse: others go on."""

from __future__ import annotations

import asyncio
import decimal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from unittest.mock import ANY

import pytest

from domain.execution import failure_of
from domain.operation import Context, Operation, operation
from domain.outcomes import Done, Failed, Result
from domain.registry import Registry
from streams.bootstrap import embedded
from streams.calls import GRACE_SECONDS, Calls
from streams.clock import SystemClock
from streams.settings import Settings
from tests.engine.calling import BEGUN, RELEASE, hang, operations, remember
from tests.engine.calling_shy import shy
from tests.engine.conftest import Desk
from tests.engine.stock import Number

HURRIED = replace(hang, timeout=0.1)
"""Has the same places and threads, for the calls whose time is to be up."""
SHORT = replace(hang, timeout=0.3)
"""The same, for threads that are to hang after the time that a job gives an item."""
ITEM_TIMEOUT = 0.05
HANG = ["all 2 threads of calls.hang hang"]


@pytest.fixture
async def desk(data_dir: Path) -> AsyncIterator[Desk]:
    async with embedded(Settings(data_dir=data_dir), Registry(operations)) as engine:
        yield Desk(engine)


async def test_who_takes_its_process_down_takes_no_other_item_along(desk: Desk) -> None:
    job_id = await desk.submit("calls.die", [{"number": number} for number in range(5, 10)])
    job = await desk.settle(job_id, 60)
    assert (job.counts.succeeded, job.counts.failed) == (4, 1)
    (group,) = await desk.engine.queries.errors("local", job_id)
    assert (group.code, group.samples[0]["item"]) == ("worker_died", 2)
    assert "mend what ends it" in group.signature


async def test_a_process_that_hangs_is_replaced(desk: Desk) -> None:
    """More items hang than there are processes, whose time is short; that of the others is not."""
    hanging = [{"number": number} for number in (0, 2, 4)]
    stuck = await desk.submit("calls.stick", hanging, options={"item_timeout": 0.5})
    others = await desk.submit("calls.stick", [{"number": number} for number in (1, 3, 5)])
    assert (await desk.settle(stuck, 60)).counts.failed == 3
    (group,) = await desk.engine.queries.errors("local", stuck)
    assert group.code == "timeout"
    assert (await desk.settle(others, 30)).counts.succeeded == 3


@pytest.mark.parametrize("kind", ["calls.hang", "calls.ask"])
async def test_validation_does_not_run_in_the_event_loop(desk: Desk, kind: str) -> None:
    job = await desk.settle(await desk.submit(kind, [{"number": n} for n in range(1, 5)]))
    assert (job.counts.succeeded, job.counts.failed) == (2, 2)


async def test_an_item_that_cannot_be_read_says_which_one_it_is(desk: Desk) -> None:
    job_id = await desk.submit("calls.hang", [{"number": 2}, {"number": "x"}])
    assert (await desk.settle(job_id)).counts.failed == 1
    views = [view async for view in desk.engine.queries.items("local", job_id)]
    (issue,) = views[1].result["issues"]
    assert (issue["item"], issue["pointer"]) == (1, "/number")


@pytest.mark.parametrize("place", ["thread", "loop", "process"])
async def test_what_would_end_a_task_or_a_process_fails_its_item(desk: Desk, place: str) -> None:
    job_id = await desk.submit(f"calls.escape_{place}", [{"number": n} for n in range(5)])
    job = await desk.settle(job_id)
    assert (job.counts.succeeded, job.counts.failed) == (2, 3)
    groups = await desk.engine.queries.errors("local", job_id)
    assert {group.code for group in groups} == {"handler_error"}


async def test_what_only_its_process_can_read_is_told_in_words(desk: Desk) -> None:
    """It is called once, and no process dies of it."""
    job_id = await desk.submit("calls.answer", [{"number": number} for number in range(3)])
    job = await desk.settle(job_id, 60)
    assert (job.counts.succeeded, job.counts.failed) == (1, 2)
    groups = await desk.engine.queries.errors("local", job_id)
    told = {group.code: group.samples[0]["message"] for group in groups}
    assert told == {"handler_error": "AnswerError: 404: gone", "gone": "not there"}


@dataclass
class _Caller:
    """Calls ``hang``, which does not come back from 0 before it may; ``reasons`` it hangs for."""

    reasons: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.calls = Calls(self.reasons.append)

    async def call(
        self, number: int, called: Operation = hang, seconds: float | None = None
    ) -> object:
        async with self.calls.place(called, seconds) as place:
            return await place.call(_context(), Number(number=number))

    async def begun(
        self, called: Operation, seconds: float | None = None
    ) -> asyncio.Future[object]:
        """A call that does not come back."""
        BEGUN.clear()
        calling = asyncio.ensure_future(self.call(0, called, seconds))
        await asyncio.sleep(0)
        # The loop stands still: what has not begun when its time is up is not begun any more.
        assert BEGUN.wait(20)
        return calling

    async def hang_one(self, called: Operation, seconds: float | None = None) -> None:
        """A call whose time is up."""
        calling = await self.begun(called, seconds)
        with pytest.raises(TimeoutError):
            await calling

    async def told(self) -> list[str]:
        """The reasons, once there is one."""
        async with asyncio.timeout(20):
            while not self.reasons:  # noqa: ASYNC110 - that is how one asks it
                await asyncio.sleep(0.01)
        return self.reasons


@pytest.fixture
def caller() -> Iterator[_Caller]:
    caller = _Caller()
    RELEASE.clear()
    try:
        yield caller
    finally:
        RELEASE.set()
        caller.calls.close()


async def test_a_thread_that_hangs_keeps_its_place_until_it_ends(caller: _Caller) -> None:
    await caller.hang_one(HURRIED)
    assert await asyncio.gather(*(caller.call(2) for _ in range(20))) == [Done(2)] * 20
    assert caller.reasons == []
    await caller.hang_one(HURRIED)
    assert await caller.told() == HANG
    waiting, hurried = (asyncio.ensure_future(caller.call(2, one)) for one in (hang, HURRIED))
    await asyncio.sleep(2 * HURRIED.timeout)
    assert not hurried.done(), "it must not be told that it took too long"
    hurried.cancel()
    RELEASE.set()
    assert await waiting == Done(2)


async def test_a_thread_that_asks_ends_when_nobody_waits_for_it(caller: _Caller) -> None:
    ended, said = threading.Event(), list[str]()

    def ask(context: Context, _item: Number) -> Result:
        try:
            while not ended.wait(0.01):
                context.heartbeat()
        except CancelledError as given_up:
            said.append(str(given_up))
            raise
        finally:
            ended.set()
        return Done()

    asking = operation("calls.beat", item=Number, slow=True, concurrency=1, timeout=0.1)(ask)
    with pytest.raises(TimeoutError):
        await caller.call(2, asking)
    assert await asyncio.to_thread(ended.wait, 20)
    assert said
    assert "nobody waits for this call any more" in said[0]
    ended.set()
    assert await caller.call(2, asking) == Done(), "its place is free"
    assert caller.reasons == []


async def test_a_thread_that_asks_goes_on_while_somebody_waits(caller: _Caller) -> None:
    def ask(context: Context, _item: Number) -> Result:
        for _ in range(10):
            context.heartbeat()
        return Done("beaten")

    assert await caller.call(2, operation("calls.beat", item=Number, slow=True)(ask)) == (
        Done("beaten")
    )


async def test_a_thread_has_the_time_of_its_operation_whatever_the_job_gives_an_item(
    caller: _Caller,
) -> None:
    for _ in range(hang.concurrency):
        await caller.hang_one(hang, ITEM_TIMEOUT)
    waiting = asyncio.ensure_future(caller.call(2))
    await asyncio.sleep(2 * ITEM_TIMEOUT)
    assert not waiting.done(), "a place is not handed out twice"
    assert caller.reasons == []
    RELEASE.set()
    assert await waiting == Done(2)
    assert await asyncio.gather(*(caller.call(2) for _ in range(20))) == [Done(2)] * 20


async def test_threads_that_go_on_beyond_that_hang(caller: _Caller) -> None:
    started = time.monotonic()
    for _ in range(hang.concurrency):
        await caller.hang_one(SHORT, ITEM_TIMEOUT)
    assert await caller.told() == HANG
    assert time.monotonic() - started >= SHORT.timeout


async def test_threads_that_end_before_that_have_not_hung(caller: _Caller) -> None:
    await caller.hang_one(SHORT, ITEM_TIMEOUT)
    RELEASE.set()
    assert await caller.call(2) == Done(2)
    RELEASE.clear()
    await asyncio.sleep(SHORT.timeout)
    await caller.hang_one(HURRIED)
    assert caller.reasons == [], "only one of two hangs"


async def test_threads_of_calls_that_were_cancelled_hang_as_well(caller: _Caller) -> None:
    for _ in range(hang.concurrency):
        (await caller.begun(SHORT)).cancel()
    assert await caller.told() == HANG


async def test_nobody_is_told_of_threads_once_calls_have_ended(caller: _Caller) -> None:
    later = replace(hang, timeout=2.0)
    for _ in range(hang.concurrency):
        await caller.hang_one(later, ITEM_TIMEOUT)
    caller.calls.close()
    await asyncio.sleep(later.timeout + GRACE_SECONDS)
    assert caller.reasons == []


async def test_what_is_called_in_a_thread_belongs_to_what_calls_it(caller: _Caller) -> None:
    """As logs and traces tell."""
    cause: ContextVar[str] = ContextVar("cause", default="none")
    seen: list[str] = []

    def look(_ctx: Context, _item: Number) -> None:
        seen.append(cause.get())

    @operation("calls.seen", item=Number, slow=True, validate=look)
    async def call(_ctx: Context, item: Number) -> Result:
        return Done(item.number)

    cause.set("job")
    await caller.call(1, call)
    assert seen == ["job"]


async def test_nothing_that_a_call_sets_is_found_by_the_next_one_in_its_process(
    caller: _Caller,
) -> None:
    """Which may be another job's, or another tenant's."""
    first, second = [await caller.call(number, remember) for number in (1, 2)]
    assert first == second == Done([ANY, "none", 28])


async def test_why_a_process_cannot_begin_is_told(caller: _Caller) -> None:
    with pytest.raises(ImportError, match="AwayError: libshy is not in /opt"):
        await caller.call(1, shy)


@pytest.mark.parametrize("place", ["thread", "loop"])
async def test_decimals_are_computed_as_before_whatever_a_call_has_set(
    caller: _Caller, place: str
) -> None:
    def coarsen(_ctx: Context, _item: Number) -> Result:
        decimal.getcontext().prec = 3
        return Done(str(1 / Decimal(3)))

    async def wait(ctx: Context, item: Number) -> Result:
        return coarsen(ctx, item)

    before = decimal.getcontext().prec
    declare = operation("calls.coarsen", item=Number, slow=True)
    called = declare(coarsen if place == "thread" else wait)
    assert await caller.call(1, called) == Done("0.333")
    assert decimal.getcontext().prec == before


async def _waited(inner: Coroutine[None, None, None]) -> object:
    return await asyncio.wait_for(inner, 10)


async def _grouped(inner: Coroutine[None, None, None]) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(inner)


async def _left_alone(inner: Coroutine[None, None, None]) -> None:
    begun = asyncio.ensure_future(inner)
    await asyncio.wait([begun])


@pytest.mark.parametrize("end", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("begin", [asyncio.gather, _waited, _grouped, _left_alone])
async def test_what_would_end_the_process_ends_a_task_of_its_call_at_most(
    caller: _Caller, begin: Callable[..., Awaitable[object]], end: type[BaseException]
) -> None:
    async def inner() -> None:
        await asyncio.sleep(0)
        raise end(3)

    @operation("calls.begin", item=Number, slow=True)
    async def call(_ctx: Context, item: Number) -> Result:
        if item.number == 1:
            await begin(inner())
        return Done(item.number)

    try:
        failed = await caller.call(1, call)
    except Exception as error:
        failed = failure_of(error)
    if begin is _left_alone:
        assert failed == Done(1), "nobody asked what became of it"
    else:
        assert isinstance(failed, Failed)
        assert failed.code == "handler_error"
    assert await caller.call(2, call) == Done(2)


def _context() -> Context:
    clock = SystemClock()
    return Context(
        job_id="job",
        tenant="local",
        actor="tester",
        params=None,
        chunk=0,
        attempt=1,
        positions=[0],
        deadline=clock.monotonic() + 1,
        clock=clock,
    )
