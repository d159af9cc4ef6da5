"""Faust apps: made by a factory, started and stopped inside our own process.

A Faust app cannot be started twice, so whoever needs one again makes a new one.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import faust
from aiokafka.errors import IllegalStateError  # type: ignore[import-untyped]  # it ships none
from faust.types import TP, AppT
from faust.types.auth import CredentialsT
from faust.types.transports import TransportT
from yarl import URL

from domain.errors import Unavailable
from streams import broker_address
from streams.broker_address import Broker, BrokerAddress
from streams.liveness import Standing
from streams.topics import MAX_LETTER_BYTES
from streams.transport.kafka import Transport as KafkaTransport
from streams.transport.tables import PromptTableManager

__all__ = [
    "AppCrashedError",
    "FaustSettings",
    "TransportFactory",
    "backlog",
    "create_faust_app",
    "is_leaving",
    "running",
    "start",
    "stop",
    "tell_of_leaving",
    "watch",
]

TransportFactory = Callable[[list[URL], AppT], TransportT]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaustSettings:
    """What may differ between deployments; seconds, where it is a time."""

    stream_buffer: int = 64
    """Messages fetched ahead of an agent; small, as each may take a megabyte."""
    commit_interval: float = 1.0
    commit_every: int = 100
    max_poll_records: int = 50
    session_timeout: float = 6.0
    """How long the broker waits for a silent member before its partitions go to others."""
    heartbeat_interval: float = 2.0
    rebalance_timeout: float = 30.0
    """How long members have to finish what is in flight; above the longest handler."""
    request_timeout: float = 30.0
    """How long a send may take, waiting for room included."""
    metadata_age: float = 15.0
    """How old may be what is known of topics: within this time new partitions are found."""
    instance_id: str | None = None
    """Static membership: a restart within the session timeout causes no rebalance."""
    from_start: bool = True
    """Whether a group that is new reads what is there already, or only what comes."""
    gathering: float = 0.0
    """For how long the broker gathers messages before it hands some over; 0: it does not. For
    whoever has been told of most of them before, and is spared to wake for each."""


class AppCrashedError(RuntimeError):
    """A Faust app crashed; the reason is the cause of this error."""

    def __init__(self, app_id: str, reason: BaseException | None) -> None:
        super().__init__(f"the Faust app {app_id!r} crashed: {reason!r}")


class _App(faust.App):
    gathering: float = 0.0
    """See `FaustSettings`."""
    broker_address: BrokerAddress | None = None
    """With what is shown to the broker; its driver is told of it in another way."""
    topics_seen: frozenset[str] = frozenset()
    """Topics that were there: a broker that has just come back may not know of them for a while."""
    _stopping: asyncio.Task[None] | None = None

    async def stop(self) -> None:
        """Stop, and return when that is done; Faust returns at once from a second call."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(super().stop())
        await asyncio.shield(self._stopping)

    def _create_directories(self) -> None:
        """Have none: they are for tables, and we keep no tables."""


def create_faust_app(
    *,
    app_id: str,
    broker_url: Broker,
    transport: TransportFactory | None = None,
    settings: FaustSettings | None = None,
    producer_only: bool = False,
) -> faust.App:
    """Make an app for agents on raw bytes; nothing is opened before it starts.

    Args:
        app_id: Its name, and that of its consumer group.
        broker_url: For example `kafka://one:9092,two:9092`, or a memory broker's `url`; or an
            address that was read, with what is shown to a broker that asks who comes.
        transport: Makes the transport if the address alone does not say enough.
        settings: What differs from the defaults.
        producer_only: It only sends; it has no agents and joins no group.
    """
    chosen = settings or FaustSettings()
    address = broker_address.parse(broker_url)
    if address.is_kafka:
        broker_url, transport = address.for_faust, transport or KafkaTransport
    app = _App(
        app_id,
        broker=broker_url,
        broker_credentials=_shown_to(address),
        broker_commit_every=chosen.commit_every,
        broker_commit_interval=chosen.commit_interval,
        broker_heartbeat_interval=chosen.heartbeat_interval,
        broker_max_poll_records=chosen.max_poll_records,
        broker_rebalance_timeout=chosen.rebalance_timeout,
        # A request to join is answered when all members have given up what they held.
        broker_request_timeout=chosen.rebalance_timeout + 10.0,
        broker_session_timeout=chosen.session_timeout,
        consumer_auto_offset_reset="earliest" if chosen.from_start else "latest",
        consumer_group_instance_id=chosen.instance_id,
        consumer_metadata_max_age_ms=int(chosen.metadata_age * 1000),
        producer_metadata_max_age_ms=int(chosen.metadata_age * 1000),
        key_serializer="raw",
        value_serializer="raw",
        producer_acks=-1,
        # A dead letter is a message and its cause.
        producer_max_request_size=MAX_LETTER_BYTES,
        producer_request_timeout=chosen.request_timeout,
        stream_buffer_maxsize=chosen.stream_buffer,
        stream_wait_empty=True,
        table_standby_replicas=0,
        TableManager=PromptTableManager,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
    )
    app.producer_only = producer_only
    app.gathering = chosen.gathering
    app.broker_address = address
    if transport is not None:
        app.transport = transport(app.conf.broker, app)
    return app


def _shown_to(broker: BrokerAddress) -> CredentialsT | None:
    """As Faust takes what is shown to a broker; None for one that asks nobody who comes."""
    if broker.login is not None:
        return faust.SASLCredentials(
            username=broker.login.user,
            password=broker.login.password,
            mechanism=broker.login.mechanism,
            ssl_context=broker.tls,
        )
    return None if broker.tls is None else faust.SSLCredentials(broker.tls)


async def start(app: faust.App) -> None:
    """Start an app; its agents receive messages when this returns.

    Raises:
        AppCrashedError: It crashed while starting, which Faust itself keeps to the log.
    """
    try:
        await app.start()
    except BaseException:
        await app.stop()
        raise
    if app.crashed:
        await app.stop()
        _raise_crash(app)


async def backlog(app: faust.App) -> list[Standing]:
    """How far each partition that the app holds is worked off, as the broker knows it.

    Raises:
        Unavailable: The app has not started.
    """
    consumer: Any = app.consumer
    if not app.started:
        raise Unavailable("the app has not started")
    partitions = sorted(consumer.assignment())
    try:
        ends = await consumer.highwaters(*partitions)
        return [_standing(consumer, tp, ends[tp], await consumer.position(tp)) for tp in partitions]
    except IllegalStateError:
        # A partition went to another member meanwhile; what it has is no longer ours to handle.
        return [_standing(consumer, tp, 0, 0) for tp in partitions]


def _standing(consumer: Any, tp: TP, end: int, position: int | None) -> Standing:
    """Of a partition that was read up to ``position``."""
    # What lies in a buffer that no agent reads waits as well.
    done = (position or 0) - consumer.in_hand(tp)
    return Standing(tp.topic, tp.partition, done, waiting=max(end - done, 0))


def held(app: faust.App) -> dict[str, list[int]]:
    """The partitions that the app holds by topic; none before it has started."""
    found: dict[str, list[int]] = {}
    if app.started:
        for tp in sorted(app.consumer.assignment()):
            found.setdefault(tp.topic, []).append(tp.partition)
    return found


def is_leaving(app: faust.App) -> bool:
    """Whether the app gives its partitions up, or stops: what it has not begun is left to others.

    It waits for what it has begun.
    """
    return not app.flow_control.is_active()


def tell_of_leaving(app: faust.App, leave: Callable[[], None]) -> None:
    """Have ``leave`` called whenever the app gives its partitions up, which others may get then.

    What it had begun of them is done and committed by that time.
    """

    def left(*_: Any, **__: Any) -> None:
        leave()

    app.on_partitions_revoked.connect(left)


async def watch(app: faust.App) -> None:
    """Wait for the crash of an app; belongs in a task that is cancelled before `stop`.

    Raises:
        AppCrashedError: Always, unless it crashed because something was away; it never returns.
        Unavailable: The broker was.
    """
    await app._crashed.wait()
    _raise_crash(app)


def _raise_crash(app: faust.App) -> NoReturn:
    reason = app.crash_reason
    if isinstance(reason, Unavailable):
        raise reason
    raise AppCrashedError(app.conf.id, reason) from reason


async def stop(app: faust.App, *, drain: float) -> bool:
    """Stop an app once its handlers have finished what they have begun; may be called again.

    Args:
        app: The app.
        drain: Seconds the handlers have for that.

    Returns:
        False when they did not finish. Nothing of theirs is committed and the stop goes on in
        the background, but cancelling a handler commits its message, unless its agent acknowledges
        by itself: let them run, or end the process with `os._exit`.
    """
    stopping = asyncio.ensure_future(app.stop())
    done, _ = await asyncio.wait({stopping}, timeout=drain)
    if stopping not in done:
        return False
    await stopping
    return True


@asynccontextmanager
async def running(app: faust.App, *, drain: float = 30.0) -> AsyncIterator[faust.App]:
    """Start an app, and stop it on the way out.

    Raises:
        AppCrashedError: It crashed while starting.
        TimeoutError: Its handlers did not finish in time; see `stop`.
    """
    await start(app)
    try:
        yield app
    finally:
        if not await stop(app, drain=drain):
            raise TimeoutError(f"the handlers of {app.conf.id!r} took more than {drain:g} s")
