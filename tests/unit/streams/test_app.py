"""The factory of Faust apps, and their life inside our own process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from aiokafka.errors import IllegalStateError
from faust.transport.drivers.aiokafka import Transport as KafkaTransport
from faust.types import TP

from streams.agents import Binding, bind
from streams.app import (
    AppCrashedError,
    FaustSettings,
    backlog,
    create_faust_app,
    running,
    start,
    stop,
    watch,
)
from streams.envelope import Outgoing
from streams.failpoints import Failpoints
from streams.liveness import Standing
from streams.transport.memory import MemoryBroker, Transport, memory_transport


def make_app(*, producer_only: bool = False) -> faust.App:
    broker = MemoryBroker()
    broker.create_topic("work", 1)
    return create_faust_app(
        app_id="app",
        broker_url=str(broker.url),
        transport=memory_transport(broker),
        producer_only=producer_only,
    )


def make_app_with(handler: asyncio.Event) -> tuple[faust.App, asyncio.Event]:
    """An app whose agent waits for the event, and an event that it sets before."""
    app, begun = make_app(), asyncio.Event()

    async def read(stream: faust.StreamT[bytes]) -> None:
        async for _ in stream:
            begun.set()
            await handler.wait()

    app.agent(app.topic("work"), name="work")(read)
    return app, begun


def entries(directory: Path) -> list[Path]:
    return list(directory.iterdir())


async def test_a_message_that_asks_for_a_reply_elsewhere_gets_none() -> None:
    # Faust answers what an agent yields at the topic that a header names, whoever wrote it.
    broker = MemoryBroker()
    for topic in ("work", "commands"):
        broker.create_topic(topic, 1)
    app = create_faust_app(
        app_id="app", broker_url=str(broker.url), transport=memory_transport(broker)
    )
    handled: list[bytes | None] = []
    both = asyncio.Event()

    async def handle(value: bytes | None) -> list[Outgoing]:
        handled.append(value)
        if len(handled) == 2:
            both.set()
        return []

    async def send(_outgoing: Outgoing) -> None:
        return None

    bind(app, Binding(topic="work", decode=lambda value: value, handle=handle), send, Failpoints())
    async with running(app):
        for headers in ({"Faust-Ag-ReplyTo": b"commands"}, {}):
            await app.producer.send_and_wait("work", b"job", b"value", None, None, headers)
        async with asyncio.timeout(10):
            await both.wait()
        # The second message is taken only when all that the first one causes is sent.
        (commands,) = broker.partitions("commands")
        assert commands.highwater == 0


async def test_an_address_of_kafka_is_enough() -> None:
    app = create_faust_app(
        app_id="app",
        broker_url="kafka://one:9092;kafka://two:9092",
        settings=FaustSettings(instance_id="worker-1", session_timeout=1.5),
    )
    assert isinstance(app.transport, KafkaTransport)
    assert [url.host for url in app.transport.url] == ["one", "two"]
    assert app.conf.consumer_group_instance_id == "worker-1"
    assert app.conf.broker_session_timeout == 1.5


async def test_messages_are_raw_bytes_and_faust_creates_nothing() -> None:
    conf = make_app().conf
    assert (conf.key_serializer, conf.value_serializer) == ("raw", "raw")
    assert not conf.web_enabled
    assert not conf.topic_allow_declare
    assert conf.topic_disable_leader
    assert conf.stream_wait_empty


async def test_no_directory_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with running(make_app()):
        pass
    assert entries(tmp_path) == []


async def test_a_sender_needs_no_agents_and_joins_no_group() -> None:
    async with running(make_app(producer_only=True)) as app:
        sent = await app.producer.send_and_wait("work", None, b"value", None, None, None)
        assert sent.offset == 0
        assert isinstance(app.transport, Transport)
        assert app.transport.broker.group("app").members == ()


async def test_a_crash_is_told_to_whoever_watches() -> None:
    app = make_app()
    await start(app)
    watching = asyncio.ensure_future(watch(app))
    await asyncio.sleep(0)
    assert not watching.done()
    reason = RuntimeError("on purpose")
    await app.crash(reason)
    with pytest.raises(AppCrashedError, match=r"'app' crashed.*on purpose") as caught:
        await watching
    assert caught.value.__cause__ is reason
    assert await stop(app, drain=5)


async def test_a_watch_can_be_cancelled() -> None:
    async with running(make_app()) as app:
        watching = asyncio.ensure_future(watch(app))
        await asyncio.sleep(0)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        assert watching.cancelled()


async def test_a_start_that_is_cancelled_leaves_nothing_running() -> None:
    app = make_app()
    starting = asyncio.ensure_future(start(app))
    await asyncio.sleep(0)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    assert starting.cancelled()
    assert len(asyncio.all_tasks()) == 1


async def test_a_stop_says_when_handlers_did_not_finish_in_time() -> None:
    handler = asyncio.Event()
    app, begun = make_app_with(handler)
    await start(app)
    await app.producer.send_and_wait("work", None, b"value", None, None, None)
    await begun.wait()
    assert not await stop(app, drain=0.05)
    assert not await stop(app, drain=0.05)
    handler.set()
    assert await stop(app, drain=5)
    assert len(asyncio.all_tasks()) == 1


async def test_whoever_gives_up_waiting_for_a_stop_does_not_break_it_off() -> None:
    handler = asyncio.Event()
    app, begun = make_app_with(handler)
    await start(app)
    await app.producer.send_and_wait("work", None, b"value", None, None, None)
    await begun.wait()
    impatient = asyncio.ensure_future(app.stop())
    await asyncio.sleep(0.01)
    impatient.cancel()
    assert not await stop(app, drain=0.05)
    handler.set()
    assert await stop(app, drain=5)
    assert isinstance(app.transport, Transport)
    assert app.transport.broker.lag("app") == 0


async def test_leaving_the_context_with_a_stuck_handler_is_an_error() -> None:
    handler = asyncio.Event()
    app, begun = make_app_with(handler)

    async def run() -> None:
        async with running(app, drain=0.05):
            await app.producer.send_and_wait("work", None, b"value", None, None, None)
            await begun.wait()

    with pytest.raises(TimeoutError, match=r"handlers of 'app' took more than 0\.05 s"):
        await run()
    handler.set()
    assert await stop(app, drain=5)


class LeavingConsumer:
    """One whose partition goes to another member between two questions."""

    def in_hand(self, partition: TP) -> int:
        return len([partition])

    def assignment(self) -> set[TP]:
        return {TP("work", 3)}

    async def highwaters(self, *partitions: TP) -> dict[TP, int]:
        return dict.fromkeys(partitions, 9)

    async def position(self, partition: TP) -> int:
        raise IllegalStateError(f"Partition {partition} is not assigned")


async def test_a_rebalance_while_the_backlog_is_counted_is_no_crash() -> None:
    app: Any = SimpleNamespace(started=True, consumer=LeavingConsumer())
    assert await backlog(app) == [Standing("work", 3, done=-1, waiting=1)]
