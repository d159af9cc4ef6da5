"""WebSockets over a real socket: who may speak, what is followed, and how they end."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from typing import Any, NoReturn

import aiohttp
import orjson
import pytest

from api.conversation import Conversation
from api.limits import Limits
from api.restraint import Restraint
from api.ws_socket import Socket
from domain.errors import CountermandError, JobNotFound, StoreUnavailable
from streams.clock import SystemClock
from streams.live import QUEUED, Placed
from streams.quotas import Quotas, QuotaTable
from streams.rates import Rate
from streams.stores.database import Database
from streams.stores.log import LogPage, Tagged
from tests.api.conftest import Site, site_of
from tests.api.engine import MemoryEngine
from tests.api.proofs import bearer, carrying, proven
from tests.api.reading import live
from tests.api.tail import MemoryTail
from tests.api.talking import PATIENCE, WS, Talk, talk, welcomed
from tests.api.test_all_events import EVENTS, SSE, submitted
from tests.api.test_identity import KEYS, answered, closed
from tests.api.test_live import metric
from tests.databases import sqlite_database
from tests.unit.streams.identity.signing import token

__all__ = ["closed", "sqlite_database"]

ENDED = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)

ADA, EVE, ROOT = (
    bearer("acme", "editor"),
    bearer("other", "editor", actor="eve"),
    bearer("acme", "admin", actor="root"),
)


def credential(headers: dict[str, str]) -> str:
    return headers["Authorization"].removeprefix("Bearer ")


def places(engine: MemoryEngine, *job_ids: str, after: int = 0) -> list[int]:
    logged = [one for one in engine.tail.logged if one.event.originator_id in job_ids]
    return [one.position for one in logged if one.position > after]


# -- what is followed ---------------------------------------------------------------------


async def test_all_jobs_of_the_tenant_are_followed_to_their_end(site: Site) -> None:
    async with welcomed(site) as found:
        began = await found.followed(all=True, ref="r1")
        assert began == {"all": True, "ref": "r1", "position": 0}
        job_id = await submitted(site)
        site.engine.work(job_id)
        *progress, last = [await found.hear() for _ in site.engine.events_of[job_id]]
    assert {kind for kind, _ in progress} == {"progress"}
    kind, data = last
    assert (kind, data["status"], data["event"]) == ("completion", "completed", "job.finished")
    assert [each["position"] for _, each in (*progress, last)] == places(site.engine, job_id)


async def test_a_job_a_tag_and_all_bring_each_event_once(site: Site) -> None:
    red, blue, none = [await submitted(site, *tags) for tags in (("red",), ("blue",), ())]
    async with welcomed(site) as found:
        began = await found.followed(job_id=red)
        assert (began["version"], began["status"]) == (1, "pending")
        await found.followed(tag="blue")
        await found.followed(job_id=blue)
        for job_id in (none, red, blue):
            site.engine.work(job_id)
        wanted = places(site.engine, red, blue, after=began["position"])
        seen = await found.happened(len(wanted))
        assert [data["position"] for data in seen] == wanted
        for topic in ({"tag": "blue"}, {"job_id": blue}):
            assert await found.asked("unsubscribe", "unsubscribed", **topic) == topic | {"ref": ""}
        another = await submitted(site, "blue")
        site.engine.work(another)
        await found.silent()


async def test_who_comes_back_goes_on_behind_the_last_position(site: Site) -> None:
    job_ids = [await submitted(site, "red") for _ in range(4)]
    async with welcomed(site) as found:
        await found.followed(tag="red", after=0)
        (first, second, *_) = await found.happened(4)
    site.engine.work(job_ids[0])
    async with welcomed(site) as found:
        began = await found.followed(job_id=job_ids[0], after=0)
        assert began["position"] == 0
        own = places(site.engine, job_ids[0])
        assert [one["position"] for one in await found.happened(len(own))] == own
        await found.followed(tag="red", after=second["position"])
        rest = places(site.engine, *job_ids[1:], after=second["position"])
        assert [one["position"] for one in await found.happened(len(rest))] == rest
        site.engine.work(job_ids[1])
        await found.happened(len(site.engine.events_of[job_ids[1]]) - 1)
        await found.silent()
    assert first["position"] < second["position"]


class LateTail(MemoryTail):
    """Of a process that has not read so many of the last events of the log yet."""

    missing = 0

    @property
    def position(self) -> int:
        return super().position - self.STRIDE * self.missing

    def page(self, tenant: str, after: int | None, limit: int, wanted: Tagged) -> LogPage:
        missing, self.missing = self.missing, 0
        try:
            return super().page(tenant, after, limit, wanted)
        finally:
            self.missing = missing


async def test_what_another_process_has_sent_already_is_not_sent_again(
    engine: MemoryEngine,
) -> None:
    engine.tail = tail = LateTail(engine.hub)
    async with site_of(engine) as site:
        for _ in range(3):
            await submitted(site, "red")
        await submitted(site, "blue")
        tail.missing = 3
        _, seen, fresh, _ = tail.logged
        async with welcomed(site) as found:
            await found.followed(tag="red", after=seen.position)
            for logged in (seen, fresh):
                shown = engine.hub.shown(logged.event)
                engine.hub.place(logged.event.tenant, Placed(shown, logged.position, logged.tags))
            (sent,) = await found.happened(1)
            await found.silent()
    assert sent["position"] == fresh.position


async def test_progress_between_two_events_has_no_position(site: Site) -> None:
    job_id = await submitted(site, "red")
    async with welcomed(site) as found:
        await found.followed(tag="red")
        site.engine.progress(job_id, pending=0, succeeded=1)
        data = await found.expect("progress")
    assert (data["position"], data["event"], data["counts"]["succeeded"]) == (
        None,
        "job.submitted",
        1,
    )


async def test_a_client_that_was_too_slow_is_sent_the_rest_from_the_log(site: Site) -> None:
    async with welcomed(site) as found:
        await found.followed(all=True)
        job_id = await submitted(site)
        first = await found.expect("progress")
        body = {"operation": "test.double", "items": [{"n": 1}] * (2 * QUEUED)}
        body["options"] = {"chunk_size": 1}  # type: ignore[assignment]
        _, job, _ = await answered(site, "POST", "/api/v1/jobs", json=body)
        # More events than the queue holds, while nobody has a turn.
        site.engine.work(job["job_id"])
        wanted = places(site.engine, job_id, job["job_id"], after=first["position"])
        assert len(wanted) > QUEUED
        seen = await found.happened(len(wanted))
        assert [data["position"] for data in seen] == wanted
        assert (await found.asked("statistics", "statistics"))["overflows"] == 1
        site.engine.work(job_id)
        assert (await found.expect("progress"))["job_id"] == job_id


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that read slowly: whatever is sent takes a moment, in which messages come."""
    send = Socket.send

    async def slow(self: Socket, text: bytes) -> None:
        await asyncio.sleep(0.005)
        await send(self, text)

    monkeypatch.setattr(Socket, "send", slow)


async def told(found: Talk) -> list[int]:
    """The places of all events up to the answer to what is asked last."""
    await found.say("statistics")
    seen: list[int] = []
    while True:
        kind, data = await found.hear()
        if kind == "statistics":
            return seen
        if kind in ("progress", "completion"):
            seen.append(data["position"])


async def all_told(found: Talk, last: int) -> list[int]:
    """The places of all events up to one that comes in any case."""
    seen: list[int] = []
    while last not in seen:
        seen += await told(found)
    return seen


async def test_who_leaves_all_for_a_job_is_sent_what_waited_and_nothing_twice(
    site: Site, slowly: None
) -> None:
    job_id, *others = [await submitted(site) for _ in range(4)]
    async with welcomed(site) as found:
        began = await found.followed(all=True)
        for each in (*others, job_id):
            site.engine.work(each)
        # All of that waits to be handed out when the client turns to the one job.
        await found.say("subscribe", job_id=job_id, after=began["position"])
        await found.say("unsubscribe", all=True)
        wanted = places(site.engine, job_id, after=began["position"])
        seen = await all_told(found, wanted[-1])
        site.engine.undo(job_id)
        later = places(site.engine, job_id, after=wanted[-1])
        seen += await all_told(found, later[-1])
    assert [place for place in seen if place in (*wanted, *later)] == [*wanted, *later]
    assert sorted(seen) == seen


async def test_who_leaves_all_after_an_overflow_is_sent_what_waited(
    site: Site, slowly: None
) -> None:
    job_id = await submitted(site)
    body = {"operation": "test.double", "items": [{"n": 1}] * QUEUED}
    body["options"] = {"chunk_size": 1}  # type: ignore[assignment]
    _, many, _ = await answered(site, "POST", "/api/v1/jobs", json=body)
    async with welcomed(site) as found:
        began = await found.followed(all=True)
        site.engine.work(many["job_id"])
        site.engine.work(job_id)
        await found.say("subscribe", job_id=job_id, after=began["position"])
        await found.say("unsubscribe", all=True)
        wanted = places(site.engine, job_id, after=began["position"])
        seen = await all_told(found, wanted[-1])
        assert (await found.asked("statistics", "statistics"))["overflows"] > 0
    assert [place for place in seen if place in wanted] == wanted
    assert len(set(seen)) == len(seen)


async def test_a_topic_whose_past_cannot_be_read_is_not_followed_and_may_be_asked_for_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await submitted(site)
    site.engine.work(job_id)
    wanted, log = places(site.engine, job_id), site.engine.log
    async with welcomed(site) as found:

        async def once(*parts: Any) -> LogPage:
            if parts[-1] != 1:
                raise StoreUnavailable("the database is away")
            return await log(*parts)

        monkeypatch.setattr(site.engine, "log", once)
        await found.followed(job_id=job_id, after=0, ref="r")
        error = await found.expect("error")
        assert (error["code"], error["ref"]) == ("store_unavailable", "r")
        monkeypatch.undo()
        await found.followed(job_id=job_id, after=0)
        assert [one["position"] for one in await found.happened(len(wanted))] == wanted


@pytest.mark.parametrize("seed", range(6))
async def test_what_stays_followed_comes_once_whatever_else_is_left_and_followed_again(
    site: Site, slowly: None, seed: int
) -> None:
    chance = random.Random(seed)
    topics: list[dict[str, Any]] = [{"all": True}, {"tag": "red"}, {"tag": "blue"}]
    job_id = await submitted(site, "red", "blue")
    for _ in range(8):
        await submitted(site, chance.choice(("red", "blue", "green")))
    async with welcomed(site) as found:
        began = await found.followed(all=True)
        waiting, followed = list(site.engine.events_of), topics[:1]
        for round_ in range(40):
            if waiting and chance.random() < 0.6:
                site.engine.work(waiting.pop(chance.randrange(len(waiting))))
            if round_ == 10:
                await found.say("subscribe", job_id=job_id, after=began["position"])
            topic = chance.choice(topics)
            if topic in followed:
                # All is followed until the job is.
                if round_ > 10 or topic != topics[0]:
                    followed.remove(topic)
                    await found.say("unsubscribe", **topic)
            else:
                followed.append(topic)
                behind = {"after": began["position"]} if chance.random() < 0.5 else {}
                await found.say("subscribe", **topic, **behind)
            await asyncio.sleep(chance.choice((0, 0, 0.01)))
        site.engine.undo(job_id)
        wanted = places(site.engine, job_id, after=began["position"])
        seen = await all_told(found, wanted[-1])
    assert [place for place in seen if place in wanted] == wanted


async def test_nothing_of_another_tenant_is_told(closed: Site) -> None:
    job_id = await submitted(closed, "red", headers=ADA)
    async with welcomed(closed, headers=EVE) as found:
        await found.followed(all=True, after=0)
        await found.followed(tag="red", after=0)
        refused = await found.asked("subscribe", "error", job_id=job_id, ref="x")
        nobodys = await found.asked("subscribe", "error", job_id="nobodys", ref="x")
        assert (refused["code"], refused["ref"]) == ("job_not_found", "x")
        assert refused["detail"].replace(job_id, "nobodys") == nobodys["detail"]
        closed.engine.work(job_id)
        assert (await found.asked("statistics", "statistics"))["topics"] == [
            {"all": True},
            {"tag": "red"},
        ]
        theirs = await submitted(closed, headers=EVE)
        assert (await found.expect("progress"))["job_id"] == theirs


# -- what is said badly -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code", "pointer"),
    [
        ("", "malformed_body", ""),
        ("{", "malformed_body", ""),
        ('{"type": "subscribe", "type": "x"}', "malformed_body", ""),
        ("[]", "invalid", ""),
        ("{}", "invalid", ""),
        ('{"type": "shout"}', "invalid", ""),
        ('{"type": "subscribe"}', "invalid", "/data"),
        ('{"type": "subscribe", "data": {}}', "invalid", "/data"),
        ('{"type": "subscribe", "data": {"job_id": "a", "tag": "b"}}', "invalid", "/data"),
        ('{"type": "subscribe", "data": {"all": false}}', "invalid", "/data/all"),
        ('{"type": "subscribe", "data": {"tag": ""}}', "invalid", "/data/tag"),
        ('{"type": "subscribe", "data": {"tag": "a", "after": -1}}', "invalid", "/data/after"),
        ('{"type": "subscribe", "data": {"tag": "a", "after": "1"}}', "invalid", "/data/after"),
        ('{"type": "subscribe", "data": {"tag": "a", "x": 1}}', "invalid", "/data/x"),
        ('{"type": "subscribe", "data": {"tag": "a"}, "x": 1}', "invalid", "/x"),
        ('{"type": "subscribe", "data": {"tag": "a", "after": 99}}', "bad_last_event_id", ""),
        ('{"type": "subscribe", "data": {"tag": "\\ud800"}}', "malformed_body", ""),
        ('{"type": "unsubscribe", "data": {"tag": "a"}}', "not_subscribed", ""),
        ('{"type": "authenticate", "data": {"token": "a"}}', "already_authenticated", ""),
        ('{"type": "broadcast", "data": {"text": ""}}', "invalid", "/data/text"),
        ("[" * 100 + "]" * 100, "malformed_body", ""),
    ],
)
async def test_what_is_not_understood_is_refused_and_the_connection_goes_on(
    site: Site, text: str, code: str, pointer: str
) -> None:
    async with welcomed(site) as found:
        await found.socket.send_str(text)
        error = await found.expect("error")
        assert (error["code"], error["pointer"]) == (code, pointer), error
        await found.followed(all=True)


async def test_what_is_followed_already_is_not_followed_twice(site: Site) -> None:
    async with welcomed(site) as found:
        await found.followed(tag="a")
        assert (await found.asked("subscribe", "error", tag="a"))["code"] == "already_subscribed"


@pytest.mark.parametrize(("said", "code"), [(b"\x00" * 10, 1003), ("x" * 70_000, 1009)])
async def test_what_is_no_text_or_too_long_ends_it(
    site: Site, said: str | bytes, code: int
) -> None:
    async with welcomed(site) as found:
        if isinstance(said, bytes):
            await found.socket.send_bytes(said)
        else:
            await found.socket.send_str(said)
        assert await found.closed() == code
    await gone(site.engine)


# -- who may speak ------------------------------------------------------------------------


async def test_the_first_message_says_who_it_is(closed: Site) -> None:
    async with talk(closed) as found:
        data = await found.asked("authenticate", "authenticated", token=credential(ADA), ref="me")
        assert (data["tenant"], data["actor"], data["ref"]) == ("acme", "ada", "me")
        assert "view" in data["permissions"]
        await found.followed(all=True)


async def test_a_header_or_a_ticket_says_it_as_well(closed: Site) -> None:
    async with welcomed(closed, headers=ADA) as found:
        await found.followed(all=True)
    _, made, _ = await answered(closed, "POST", f"{EVENTS}/ticket", headers=ADA)
    async with welcomed(closed, made["links"]["websocket"]) as found:
        await found.followed(all=True)
    _, made, _ = await answered(closed, "POST", f"{EVENTS}/ticket", headers=ADA)
    async with talk(closed) as found:
        await found.asked("authenticate", "authenticated", ticket=made["ticket"])
    async with talk(closed) as found:
        await found.asked("authenticate", "error", ticket=made["ticket"])
        assert await found.closed() == 4401
    for path in (made["links"]["websocket"], f"{WS}?token={credential(ADA)}"):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            async with talk(closed, path, headers={} if "ticket" in path else ADA):
                pass
        assert refusal.value.status in (400, 401)


@pytest.mark.parametrize(
    ("kind", "data", "code"),
    [
        ("authenticate", {"token": "x"}, "unauthenticated"),
        ("authenticate", {"token": token(exp=1)}, "unauthenticated"),
        ("authenticate", {"ticket": "cmt_" + "0" * 64}, "unauthenticated"),
        ("authenticate", {}, "invalid"),
        ("authenticate", {"token": "x", "ticket": "y"}, "invalid"),
        ("subscribe", {"all": True}, "unauthenticated"),
        ("statistics", {}, "unauthenticated"),
        ("authenticate", {"token": token(tenant="acme", roles=["operator"])}, "permission_lacking"),
    ],
)
async def test_nobody_else_is_let_in(
    closed: Site, kind: str, data: dict[str, Any], code: str
) -> None:
    async with talk(closed) as found:
        error = await found.asked(kind, "error", **data)
        assert error["code"] == code
        assert await found.closed() == (4403 if code == "permission_lacking" else 4401)
    assert closed.engine.hub.readers == 0


async def test_who_says_nothing_is_not_waited_for_long(
    engine: MemoryEngine, sqlite_database: Database
) -> None:
    limits = Limits(ws_hello=0.05, ws_unknown=1)
    async with site_of(engine, limits, callers=proven(sqlite_database)) as site:
        # The second has the place of the first.
        for _ in range(2):
            async with talk(site) as found:
                assert await found.closed() == 4408


async def test_pings_are_not_waited_for_longer(
    engine: MemoryEngine, sqlite_database: Database
) -> None:
    limits = Limits(ws_hello=0.2)
    async with (
        site_of(engine, limits, callers=proven(sqlite_database)) as site,
        talk(site) as found,
    ):

        async def pinging() -> None:
            while not found.socket.closed:
                await found.socket.ping()
                await asyncio.sleep(0.02)

        pings = asyncio.ensure_future(pinging())
        try:
            assert await found.closed() == 4408
        finally:
            pings.cancel()
            await asyncio.gather(pings, return_exceptions=True)


async def test_who_says_nothing_takes_up_no_place_of_who_is_known(
    engine: MemoryEngine, sqlite_database: Database
) -> None:
    limits = Limits(ws_unknown=1)
    async with (
        site_of(engine, limits, callers=proven(sqlite_database)) as site,
        talk(site) as found,
    ):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            async with talk(site):
                pass
        assert refusal.value.status == 503
        async with welcomed(site, headers=ADA):
            pass
        await found.asked("authenticate", "authenticated", token=credential(ADA))
        async with talk(site):
            pass


async def test_one_address_leaves_places_to_others_who_say_nothing_yet(
    engine: MemoryEngine, sqlite_database: Database
) -> None:
    limits = Limits(ws_unknown=8)
    async with (
        site_of(engine, limits, callers=proven(sqlite_database)) as site,
        talk(site),
        talk(site) as second,
    ):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            async with talk(site):
                pass
        assert refusal.value.status == 503
        connector = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
        async with (
            aiohttp.ClientSession(site.url, connector=connector) as elsewhere,
            elsewhere.ws_connect(WS) as other,
        ):
            await Talk(other).asked("authenticate", "authenticated", token=credential(ADA))
        await second.asked("authenticate", "authenticated", token=credential(ADA))
        async with talk(site) as third:
            await third.asked("authenticate", "authenticated", token=credential(ADA))


async def test_it_ends_with_the_key_that_opened_it(closed: Site) -> None:
    body = {"name": "importer", "roles": ["viewer"]}
    _, key, _ = await answered(closed, "POST", KEYS, json=body, headers=ROOT)
    async with welcomed(closed, headers=carrying(key["key"])) as found:
        await found.followed(all=True)
        await answered(closed, "POST", f"{KEYS}/{key['key_id']}/revoke", headers=ROOT)
        assert (await found.expect("error"))["code"] == "unauthenticated"
        assert await found.closed() == 4401


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreUnavailable("the database is away"), 1013),
        (JobNotFound("there is no such job"), 1011),
        (CountermandError("a fault"), 1011),
    ],
)
async def test_it_ends_as_what_is_wrong_here_says(
    site: Site, monkeypatch: pytest.MonkeyPatch, error: CountermandError, code: int
) -> None:
    async def look_around(_: Conversation) -> NoReturn:
        raise error

    monkeypatch.setattr(Conversation, "_look_around", look_around)
    async with welcomed(site) as found:
        await found.followed(all=True)
        await submitted(site)
        assert (await found.expect("error"))["code"] == error.code
        assert await found.closed() == code


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
async def test_a_page_elsewhere_opens_none(site: Site, origin: str) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        async with talk(site, headers={"Origin": origin}):
            pass
    assert refusal.value.status == 403


async def test_what_is_no_handshake_is_told_so(site: Site) -> None:
    status, problem, headers = await answered(site, "GET", WS)
    assert (status, problem["code"]) == (426, "upgrade_required")
    assert (headers["Upgrade"], headers["Sec-WebSocket-Version"]) == ("websocket", "13")


async def test_who_says_too_much_is_told_to_wait(
    engine: MemoryEngine, sqlite_database: Database
) -> None:
    rate = Rate.of("3/hour", SystemClock())
    async with (
        site_of(engine, callers=proven(sqlite_database), rate=rate) as site,
        welcomed(site, headers=ADA) as found,
    ):
        for _ in range(3):
            await found.silent()
        error = await found.asked("statistics", "error")
        assert error["code"] == "too_many_requests"
        await found.followed(all=True)


async def test_what_is_not_understood_counts_as_well_and_refusals_are_told_in_turn(
    engine: MemoryEngine, sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[str] = []

    async def hold(_: Restraint, whose: str) -> None:
        held.append(whose)

    monkeypatch.setattr(Restraint, "hold", hold)
    rate = Rate.of("3/hour", SystemClock())
    async with (
        site_of(engine, callers=proven(sqlite_database), rate=rate) as site,
        welcomed(site, headers=ADA) as found,
    ):
        codes = []
        for text in ("{", "[]", '{"type": "shout"}', '{"type": "subscribe"}', "{"):
            await found.socket.send_str(text)
            codes.append((await found.expect("error"))["code"])
        assert codes == ["malformed_body", *["invalid"] * 2, *["too_many_requests"] * 2]
        assert held == ["tenant acme"] * 2
        # A message of a kind that there is counts for that one alone.
        for _ in range(3):
            await found.silent()
        assert (await found.asked("statistics", "error"))["code"] == "too_many_requests"
        assert len(held) == 3


# -- how many, how long, and how they end -------------------------------------------------


async def test_connections_count_as_streams_of_the_tenant(
    engine: MemoryEngine, sqlite_database: Database
) -> None:
    limits = Limits(quotas=QuotaTable(Quotas(streams=1)))
    async with site_of(engine, limits, callers=proven(sqlite_database)) as site:
        async with welcomed(site, headers=ADA):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
                async with talk(site, headers=ADA):
                    pass
            assert refusal.value.status == 429
            async with talk(site) as found:
                error = await found.asked("authenticate", "error", token=credential(ADA))
                assert error["code"] == "quota_exceeded"
                assert await found.closed() == 4429
            async with welcomed(site, headers=EVE):
                pass
        await gone(engine)
        async with welcomed(site, headers=ADA):
            pass


async def gone(engine: MemoryEngine) -> None:
    """Wait until nobody follows any more."""
    async with asyncio.timeout(5):
        while engine.hub.readers:  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.005)


async def test_topics_of_a_connection_are_limited(engine: MemoryEngine) -> None:
    async with site_of(engine, Limits(ws_topics=2)) as site, welcomed(site) as found:
        await found.followed(tag="a")
        await found.followed(tag="b")
        assert (await found.asked("subscribe", "error", tag="c"))["code"] == "too_many_topics"
        await found.asked("unsubscribe", "unsubscribed", tag="a")
        await found.followed(tag="c")


async def test_who_follows_nothing_is_not_kept(
    engine: MemoryEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limits(heartbeat=0.02)
    async with site_of(engine, limits) as site, welcomed(site) as idle, welcomed(site) as other:
        await other.followed(all=True)
        later = limits.ws_idle + 1
        monkeypatch.setattr(SystemClock, "monotonic", lambda _: time.monotonic() + later)
        assert await idle.closed() == 4408
        # The server looks whether it may stay before it hands anything on.
        await submitted(site)
        await other.expect("progress")
        await other.silent()


async def test_a_client_that_does_not_answer_pings_is_given_up(engine: MemoryEngine) -> None:
    async with site_of(engine, Limits(ws_ping=0.1)) as site, talk(site, autoping=False) as found:
        # It may be given up as soon as it is there, but not before it was asked.
        heard = [(await found.socket.receive(PATIENCE)).type]
        while heard[-1] not in ENDED:
            heard.append((await found.socket.receive(PATIENCE)).type)
        assert aiohttp.WSMsgType.PING in heard
        await gone(engine)


async def test_a_shutdown_says_so(engine: MemoryEngine) -> None:
    async with aiohttp.ClientSession() as client:
        async with site_of(engine) as site:
            found = Talk(await client.ws_connect(f"{site.url}{WS}"))
            await found.expect("authenticated")
            await found.followed(all=True)
            closing = asyncio.ensure_future(found.closed())
        assert await closing == 1001
        await found.socket.close()
    assert engine.hub.readers == 0


async def test_a_client_that_reads_nothing_is_cut_and_others_see_all(
    engine: MemoryEngine,
) -> None:
    async with site_of(engine, Limits(write_wait=0.1), send_buffer=4096) as site:
        deaf = await deaf_follower(site)
        try:
            async with welcomed(site) as found:
                await found.followed(all=True)
                seen = []
                while await metric(site, "countermand_live_streams_cut_total") == 0:
                    job_id = await submitted(site)
                    engine.work(job_id)
                    seen += await found.happened(len(engine.events_of[job_id]))
        finally:
            deaf.close()
    assert [data["position"] for data in seen] == [one.position for one in engine.tail.logged]


async def deaf_follower(site: Site) -> socket.socket:
    """A client that has asked for everything and reads nothing more."""
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.connect(("127.0.0.1", site.port))
    deaf.sendall(
        f"GET {WS} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    text = orjson.dumps({"type": "subscribe", "data": {"all": True}})
    deaf.sendall(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)
    async with asyncio.timeout(5):
        while not site.engine.hub.readers:  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.005)
    return deaf


# -- what administrators say, and how it all is -------------------------------------------


async def test_an_administrator_speaks_to_all_of_the_tenant(closed: Site) -> None:
    async with (
        welcomed(closed, headers=ROOT) as root,
        welcomed(closed, headers=ADA) as ada,
        welcomed(closed, headers=EVE) as eve,
        closed.client.get(EVENTS, params={"tag": "x"}, headers={**SSE, **ADA}) as stream,
    ):
        events = live(stream)
        await anext(events)
        for each in (root, ada, eve):
            await each.silent()
        await root.say("broadcast", text="we close at five\n")
        heard = [await each.expect("broadcast") for each in (root, ada)]
        assert heard[0] == heard[1]
        assert (heard[0]["text"], heard[0]["by"]) == ("we close at five\n", "root")
        streamed = await anext(events)
        assert (streamed.name, streamed.id, streamed.data) == ("broadcast", None, heard[0])
        await eve.silent()
        assert (await ada.asked("broadcast", "error", text="me too"))["code"] == (
            "permission_lacking"
        )
        await root.silent()


async def test_how_connections_are_is_told(closed: Site) -> None:
    async with welcomed(closed, headers=ADA) as found, welcomed(closed, headers=EVE):
        await found.followed(tag="red")
        await submitted(closed, "red", headers=ADA)
        await found.expect("progress")
        own = await found.asked("statistics", "statistics", ref="s")
        assert own.pop("opened_at")
        assert own == {
            "received": 2,
            "sent": 3,
            "overflows": 0,
            "topics": [{"tag": "red"}],
            "websockets": 1,
            "streams": 1,
            "ref": "s",
        }
        _, told, _ = await answered(closed, "GET", "/api/v1/connections", headers=ROOT)
        assert told == {
            "websockets": 1,
            "streams": 1,
            "topics": 1,
            "received": 2,
            "sent": 4,
            "overflows": 0,
        }
    status, _, _ = await answered(closed, "GET", "/api/v1/connections", headers=ADA)
    assert status == 403
