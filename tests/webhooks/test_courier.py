"""What is promised of webhooks, with a real receiver, on both databases."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TypeVar

import pytest
from aiohttp import web
from sqlalchemy import Connection
from sqlalchemy.exc import InternalError

from domain.errors import QuotaExceeded, StoreUnavailable
from domain.webhooks import DISABLED_AFTER, MAX_ATTEMPTS, MAX_WAITING, DeliveryState
from streams.callers import Caller
from streams.stores import webhook_deliveries as deliveries
from streams.stores.database import Database, Work
from streams.stores.webhook_deliveries import Attempt, Delivery
from streams.webhooks import noting, posting
from streams.webhooks.courier import CLEAN_EVERY, DEAD_KEPT, KEPT
from streams.webhooks.places import PER_TENANT, PER_WEBHOOK
from streams.webhooks.sending import AT_ONCE, Answer, Message
from streams.webhooks.subscriptions import MAX_WEBHOOKS
from tests.webhooks.receiver import ADMIN, LOCAL, PostOffice, Receiver, receiving

T = TypeVar("T")


async def test_what_happens_is_told_once_and_signed(office: PostOffice, receiver: Receiver) -> None:
    before = await office.job("before")
    hook = await office.hook(f"{receiver.url}/hook?a=b", "job.submitted", "job.finished")
    job_id = await office.job("a", "b", name="told", tags=["t"])
    await office.job("c", tenant="other")

    await office.look()

    assert {one.path for one in receiver.got} == {"/hook"}
    assert all(one.is_signed_by(hook.secret) for one in receiver.got)
    told = {one.document["type"]: one.document for one in receiver.got}
    assert sorted(told) == ["job.finished", "job.submitted"]
    data = told["job.finished"]["data"]
    assert (data["job_id"], data["status"], data["counts"]["succeeded"]) == (job_id, "completed", 2)
    assert told["job.submitted"]["data"]["spec"]["name"] == "told"
    assert len(set(receiver.ids)) == len(receiver.ids) == 2
    assert before not in {one.document["data"]["job_id"] for one in receiver.got}
    assert await office.states(hook.row.webhook_id) == [("delivered", 1)] * 2


async def test_a_receiver_that_is_away_for_ten_minutes_gets_each_message(
    office: PostOffice, receiver: Receiver
) -> None:
    """While who sends dies every twenty seconds: it has nothing but what is stored."""
    hook = await office.hook(receiver.url)
    receiver.status = 503
    jobs = [await office.job(f"job {n}") for n in range(5)]
    gone = office.clock.now().timestamp() + 600
    while office.clock.now().timestamp() < gone:
        await office.look(5)
        office.restart()
        office.clock.pass_seconds(20)
    refused = len(receiver.got)
    assert 5 < refused < 5 * 6, "pauses grow"
    row = await office.webhooks.webhook("local", hook.row.webhook_id)
    assert row.failing_since is not None

    receiver.status = 200
    office.clock.pass_seconds(1800)
    await office.look()

    taken = receiver.got[refused:]
    assert {one.document["data"]["job_id"] for one in taken} == set(jobs)
    assert {one.id for one in taken} == {one.id for one in receiver.got[:refused]}
    assert all(one.is_signed_by(hook.secret) for one in receiver.got)
    assert {state for state, _ in await office.states(hook.row.webhook_id)} == {"delivered"}
    row = await office.webhooks.webhook("local", hook.row.webhook_id)
    assert row.failing_since is None
    listed = await office.webhooks.attempts("local", hook.row.webhook_id, before=None, limit=500)
    assert len(listed) == len(receiver.got)
    assert {one.status for one in listed} == {200, 503}
    assert (office.delivered.taken, office.delivered.failed) == (5, refused)


async def test_what_was_sent_and_not_noted_is_sent_again_as_the_same(
    office: PostOffice, receiver: Receiver
) -> None:
    await office.hook(receiver.url)
    never = asyncio.Event()

    async def hang(_request: web.Request) -> web.StreamResponse:
        await never.wait()
        raise AssertionError("nobody sets it")

    receiver.answering = hang
    await office.job()
    await office.courier.look()
    await receiver.came.wait()
    office.restart()  # the first one is still at it, as a frozen owner would be
    receiver.answering = None

    await office.look()

    assert len(receiver.got) == 2
    assert len(set(receiver.ids)) == 1


class Full:
    """A database that is read, and not written, until there is room again."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch, why: Exception) -> None:
        self.refused = 0
        self._write = database.write
        self._why: Exception | None = why
        monkeypatch.setattr(database, "write", self.write)

    async def write(self, work: Work[T], *, lasting: bool = True) -> T:
        if self._why is None:
            return await self._write(work, lasting=lasting)
        self.refused += 1
        raise self._why

    def emptied(self) -> None:
        self._why = None


READ_ONLY = InternalError("UPDATE webhook_deliveries", {}, Exception("a read-only transaction"))


@pytest.mark.parametrize("why", [StoreUnavailable("the disk is full"), READ_ONLY])
async def test_while_nothing_can_be_noted_what_was_sent_is_not_sent_again(
    office: PostOffice, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, why: Exception
) -> None:
    monkeypatch.setattr(noting, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(noting, "LONGEST_PAUSE", 0.002)
    hook = await office.hook(receiver.url)
    jobs = [await office.job(name) for name in ("a", "b")]
    answered = asyncio.Event()

    async def late(_request: web.Request) -> web.StreamResponse:
        await answered.wait()
        return web.Response()

    receiver.answering = late
    await office.courier.look()
    full = Full(office.stages.database, monkeypatch, why)
    answered.set()
    async with asyncio.timeout(20):
        while full.refused < 10:
            await office.courier.look()
            await asyncio.sleep(0.002)
    assert len(receiver.got) == len(jobs)

    full.emptied()
    await office.courier.quiet()
    await office.look()

    assert len(receiver.got) == len(jobs)
    assert await office.states(hook.row.webhook_id) == [("delivered", 1)] * len(jobs)
    assert office.delivered.taken == len(jobs)


async def test_an_attempt_that_breaks_in_a_way_nobody_knows_keeps_its_place_for_a_while(
    database: Database,
) -> None:
    posted: list[str] = []

    async def post(message: Message) -> Answer:
        posted.append(message.url)
        raise RuntimeError("a fault of ours")

    office = PostOffice(database, post)
    await office.hook("http://127.0.0.1/hook")
    await office.job()
    for _ in range(5):
        await office.courier.look()
        await asyncio.sleep(0.01)
    assert len(posted) == 1
    run = asyncio.create_task(office.courier.run())
    await asyncio.sleep(0)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)


async def test_a_note_that_cannot_be_stored_keeps_no_other_from_it(
    office: PostOffice, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = await office.hook(receiver.url)
    jobs = [await office.job() for _ in range(4)]
    note, blamed = deliveries.note, jobs[1]

    def noted(connection: Connection, delivery: Delivery, attempt: Attempt) -> bool:
        if delivery.job_id == blamed:
            raise RuntimeError("a fault of ours")
        return note(connection, delivery, attempt)

    monkeypatch.setattr(deliveries, "note", noted)
    await office.courier.look()
    wanted = [("delivered", 1), (DeliveryState.WAITING.value, 0), *[("delivered", 1)] * 2]
    async with asyncio.timeout(20):
        while await office.states(hook.row.webhook_id) != wanted:  # noqa: ASYNC110 - the state of a table
            await asyncio.sleep(0.01)
    run = asyncio.create_task(office.courier.run())
    await asyncio.sleep(0)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)


async def test_two_couriers_note_an_attempt_once(office: PostOffice, receiver: Receiver) -> None:
    hook = await office.hook(receiver.url)
    await office.job()
    first = office.courier
    office.restart()
    await first.look()
    await office.courier.look()
    await asyncio.gather(first.quiet(), office.courier.quiet())

    assert len(receiver.got) in (1, 2)
    assert len(set(receiver.ids)) == 1
    assert await office.states(hook.row.webhook_id) == [("delivered", 1)]
    listed = await office.webhooks.attempts("local", hook.row.webhook_id, before=None, limit=10)
    assert len(listed) == 1


async def test_what_is_due_is_asked_when_something_was_queued(
    office: PostOffice, receiver: Receiver
) -> None:
    await office.job("of which nobody wants to hear")
    office.courier.freed.clear()
    await office.courier.look()
    assert not office.courier.freed.is_set()
    await office.hook(receiver.url)
    await office.job("of which somebody does")
    await office.courier.look()
    assert office.courier.freed.is_set()
    await office.courier.quiet()


async def test_one_who_hangs_holds_up_nobody(office: PostOffice, receiver: Receiver) -> None:
    never = asyncio.Event()

    async def hang(_request: web.Request) -> web.StreamResponse:
        await never.wait()
        raise AssertionError("nobody sets it")

    async with receiving() as other:
        other.answering = hang
        await office.hook(other.url)
        await office.hook(receiver.url)
        for n in range(3 * PER_WEBHOOK):
            await office.job(f"job {n}")
        async with asyncio.timeout(20):
            while len(receiver.got) < 3 * PER_WEBHOOK:
                office.courier.freed.clear()
                await office.courier.look()
                office.courier.freed.clear()
                await office.courier.freed.wait()
        assert len(other.got) <= PER_WEBHOOK
        never.set()
        await office.courier.quiet()


async def test_a_tenant_whose_receivers_all_hang_leaves_places_to_others(
    database: Database,
) -> None:
    never, asked = asyncio.Event(), Counter[str]()

    async def post(message: Message) -> Answer:
        asked[message.url] += 1
        if "hangs" in message.url:
            await never.wait()
        return Answer(200)

    office = PostOffice(database, post)
    hooks = AT_ONCE // PER_WEBHOOK + 4
    for n in range(hooks):
        await office.hook(f"http://127.0.0.1/hangs/{n}")
    await office.hook("http://127.0.0.1/other", caller=Caller("other", "eve"))
    for n in range(PER_WEBHOOK):
        await office.job(f"job {n}")
    await office.job("another", tenant="other")
    for _ in range(5):
        await office.courier.look()
    async with asyncio.timeout(10):
        while not await office.webhooks.attempts(
            "other",
            (await office.webhooks.page("other", "", 1))[0].webhook_id,
            before=None,
            limit=1,
        ):
            await office.courier.look()
    assert asked.pop("http://127.0.0.1/other") == 1
    assert asked.total() == PER_TENANT < AT_ONCE
    never.set()
    async with asyncio.timeout(20):
        while asked.total() < hooks * PER_WEBHOOK:
            await office.courier.look()
            await office.courier.quiet()
    assert set(asked.values()) == {PER_WEBHOOK}


async def test_what_nobody_takes_is_dead_and_can_be_replayed(
    office: PostOffice, receiver: Receiver
) -> None:
    hook_id = (await office.hook(receiver.url)).row.webhook_id
    receiver.status = 500
    await office.job()
    began = office.clock.now().timestamp()
    for _ in range(MAX_ATTEMPTS):
        await office.look(2)
        (due,) = (await office.stages.rows("SELECT due FROM webhook_deliveries"))[0]
        office.clock.pass_seconds(max(0.0, due - office.clock.now().timestamp()))

    assert await office.states(hook_id) == [("dead", MAX_ATTEMPTS)]
    assert office.clock.now().timestamp() - began > 20 * 3600
    dead = [DeliveryState.DEAD]
    (one,) = await office.webhooks.deliveries("local", hook_id, dead, before=None, limit=10)
    assert (one.status, one.error, one.event) == (500, None, "job.finished")
    await office.look(2)
    assert len(receiver.got) == MAX_ATTEMPTS

    receiver.status = 200
    assert await office.webhooks.replay(ADMIN, hook_id, [10**9]) == 0
    assert await office.webhooks.replay(ADMIN, hook_id, [one.position]) == 1
    await office.look()

    assert await office.states(hook_id) == [("delivered", MAX_ATTEMPTS + 1)]
    assert len(set(receiver.ids)) == 1


async def test_one_that_fails_for_days_is_disabled_and_says_so(
    office: PostOffice, receiver: Receiver
) -> None:
    hook = await office.hook(receiver.url)
    receiver.status = 500
    await office.job("first")
    await office.look(2)
    office.clock.pass_seconds(DISABLED_AFTER)
    await office.job("second")
    await office.look(2)

    row = await office.webhooks.webhook("local", hook.row.webhook_id)
    assert row.disabled == "failing"
    assert {state for state, _ in await office.states(hook.row.webhook_id)} == {"dead"}
    seen = len(receiver.got)
    await office.job("third")
    await office.look(2)
    assert len(receiver.got) == seen
    assert len(await office.states(hook.row.webhook_id)) == 2
    assert office.delivered.disabled == 1


async def test_one_that_is_gone_is_disabled_at_once(office: PostOffice, receiver: Receiver) -> None:
    hook = await office.hook(receiver.url)
    receiver.status = 410
    await office.job()
    await office.look(3)

    assert (await office.webhooks.webhook("local", hook.row.webhook_id)).disabled == "gone"
    assert len(receiver.got) == 1


async def test_only_what_is_wanted_is_sent(office: PostOffice, receiver: Receiver) -> None:
    named = await office.job("named")
    for filters in (
        {"operations": ["stock.*"]},
        {"operations": ["stock.create"], "tags": ["red", "blue"]},
        {"tags": ["green"]},
        {"jobs": [named]},
        {"operations": ["other.*"]},
    ):
        path = "-".join(filters)
        await office.hook(f"{receiver.url}/{path}/{len(str(filters))}", **filters)
    await office.job("plain")
    await office.job("red", tags=["red"])
    await office.look()

    counted: dict[str, int] = {}
    for one in receiver.got:
        counted[one.path.split("/")[1]] = counted.get(one.path.split("/")[1], 0) + 1
    assert counted == {"operations": 2, "operations-tags": 1}


async def test_a_rotated_secret_signs_beside_the_old_one_for_a_while(
    office: PostOffice, receiver: Receiver
) -> None:
    hook = await office.hook(receiver.url)
    newer = await office.webhooks.rotate(ADMIN, hook.row.webhook_id, 60)
    await office.job("during")
    await office.look(2)
    office.clock.pass_seconds(61)
    await office.job("after")
    await office.look(2)

    during, after = receiver.got
    assert during.is_signed_by(hook.secret)
    assert during.is_signed_by(newer.secret)
    assert after.is_signed_by(newer.secret)
    assert not after.is_signed_by(hook.secret)


async def test_nothing_is_followed_and_no_answer_is_read(
    office: PostOffice, receiver: Receiver
) -> None:
    hook = await office.hook(receiver.url)
    sent: list[int] = []

    async def elsewhere(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=302, headers={"Location": "/elsewhere"})
        await response.prepare(request)
        try:
            for _ in range(2000):
                await response.write(b"x" * 65536)
                sent.append(65536)
        except ConnectionError:
            pass
        return response

    receiver.answering = elsewhere
    await office.job()
    await office.look(2)

    assert {one.path for one in receiver.got} == {"/"}
    assert sum(sent) < 20_000_000
    (attempt,) = await office.webhooks.attempts("local", hook.row.webhook_id, before=None, limit=10)
    assert (attempt.status, attempt.error) == (302, "it sends elsewhere, where nothing is sent")


async def test_a_receiver_may_ask_for_patience(office: PostOffice, receiver: Receiver) -> None:
    await office.hook(receiver.url)

    async def later(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=429, headers={"Retry-After": "100"})

    receiver.answering = later
    await office.job()
    await office.look(2)
    office.clock.pass_seconds(90)
    await office.look(2)
    assert len(receiver.got) == 1
    office.clock.pass_seconds(20)
    await office.look(2)
    assert len(receiver.got) == 2


async def test_what_was_kept_long_enough_goes_and_so_does_what_was_deleted(
    office: PostOffice, receiver: Receiver
) -> None:
    kept, gone = await office.hook(receiver.url), await office.hook(receiver.url)
    await office.job("old")
    await office.look()
    await office.webhooks.delete(ADMIN, gone.row.webhook_id)
    office.clock.pass_seconds(CLEAN_EVERY + 1)
    await office.courier.clean()
    assert await office.states(gone.row.webhook_id) == []
    assert await office.states(kept.row.webhook_id) == [("delivered", 1)]
    left = await office.stages.rows("SELECT webhook_id FROM webhooks")
    assert left == [(kept.row.webhook_id,)]

    office.clock.pass_seconds(KEPT + 1)
    await office.courier.clean()
    assert DEAD_KEPT > KEPT
    for table in ("webhook_deliveries", "webhook_attempts"):
        assert await office.stages.rows(f"SELECT 1 FROM {table}") == []


async def test_nobody_asked_for_costs_no_row_and_no_write(
    database: Database, receiver: Receiver
) -> None:
    async with posting(LOCAL) as post:
        office = PostOffice(database, post)
        await office.job("unheard")
        await office.courier.look()
        (was,) = await office.stages.rows("SELECT position FROM positions WHERE reader='webhooks'")
        await office.job("unheard as well")
        await office.courier.look()
        (now,) = await office.stages.rows("SELECT position FROM positions WHERE reader='webhooks'")
        assert was == now
        await office.hook(receiver.url)
        await office.job("heard")
        await office.look(3)
    assert len(receiver.got) == 1


async def test_a_tenant_has_so_many_and_no_more(office: PostOffice, receiver: Receiver) -> None:
    for _ in range(MAX_WEBHOOKS):
        await office.hook(receiver.url)
    with pytest.raises(QuotaExceeded, match="delete one"):
        await office.hook(receiver.url)
    await office.hook(receiver.url, caller=Caller("other", "eve"))


async def test_too_much_that_waits_disables(office: PostOffice, receiver: Receiver) -> None:
    office.most_waiting = 3
    office.restart()
    hook_id = (await office.hook(receiver.url)).row.webhook_id
    receiver.status = 503
    for n in range(3):
        await office.job(f"job {n}")
        await office.look(2)
    assert (await office.webhooks.webhook("local", hook_id)).disabled is None
    refused = len(receiver.got)
    await office.job("one more")
    await office.look(2)
    assert (await office.webhooks.webhook("local", hook_id)).disabled == "overfull"
    assert {state for state, _ in await office.states(hook_id)} == {"dead"}
    assert len(receiver.got) == refused
    assert MAX_WAITING == 50_000, "as the guide says"
