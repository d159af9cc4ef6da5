"""Agents: bind the stages to their topics. Faust stays in this file and ``app.py``.

Faust acknowledges a message whose agent raises or is cancelled, unless the agent does that
itself, so a body never raises: what cannot be read goes to the dead-letter topic, what is
unavailable is tried again in place, and the message is acknowledged only when all it caused was
delivered. What was handled is never buried for want of what it caused: a message that cannot be
sent at all goes to the dead-letter topic itself.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any, Generic, TypeVar, cast

import faust
import structlog
from faust.exceptions import NotReady
from structlog.contextvars import bound_contextvars

from domain.errors import (
    BrokerUnavailable,
    CountermandError,
    MessageUnreadable,
    Unavailable,
    UnsupportedVersion,
)
from streams.deadletters import MAX_CAUSE, Burial, bury
from streams.envelope import Headers, Outgoing, Problem, mode_of
from streams.express import Entry, Express, NotBegun
from streams.failpoints import Failpoint, Failpoints
from streams.logs import first_line
from streams.metrics import Metrics
from streams.tracing import OFF, Kind, Tracing, Value, carried, carrying
from streams.transport.current import CurrentConsumer
from streams.transport.errors import (
    BacklogFullError,
    DeliveryFailedError,
    UnknownPartitionError,
)
from streams.transport.letters import SendsTogether

log = structlog.get_logger(__name__)

M = TypeVar("M")
R = TypeVar("R")
Send = Callable[[Outgoing], Awaitable[None]]
Handle = Callable[[Any], Awaitable[None]]
Agent = Callable[[Any], Awaitable[None]]
"""What Faust runs on the stream of a topic."""
Reader = Callable[[faust.App, Handle], Agent]

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 5.0
MAX_TRIES = 200
EXIT_STUCK = 70
"""The process ends without an acknowledgement, and the message comes again."""


class Sender:
    """Sends through an app's producer; returns once the broker has the message."""

    def __init__(self, app: faust.App, tracing: Tracing = OFF) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, outgoing: Outgoing) -> None:
        """Deliver one message; raises Unavailable when that may succeed later.

        A partition that the broker does not have, or not yet, is only where it was to go best:
        without it, the key decides.
        """
        with _translated():
            try:
                await self._send(outgoing, outgoing.partition)
            except UnknownPartitionError as error:
                log.info("sent_by_key", reason=str(error))
                await self._send(outgoing, None)

    async def _send(self, outgoing: Outgoing, partition: int | None) -> None:
        headers = self._headers(outgoing)
        await self._app.producer.send_and_wait(
            outgoing.topic, outgoing.key, outgoing.value, partition, None, headers
        )

    async def together(self, messages: Sequence[Outgoing]) -> None:
        """Deliver messages, neighbours of one topic in few requests; raises as for one.

        Some may have been delivered then. Those with one key never overtake one another.
        """
        producer = cast("SendsTogether", self._app.producer)
        for topic, several in groupby(messages, key=lambda one: one.topic):
            letters = [(one.key, one.value, self._headers(one) or []) for one in several]
            with _translated():
                await producer.send_together(topic, letters)

    def _headers(self, outgoing: Outgoing) -> list[tuple[str, bytes]] | None:
        return list(carrying(outgoing.headers, self._tracing.traceparent())) or None


@contextmanager
def _translated() -> Iterator[None]:
    """What the producer raises, as what may succeed later."""
    try:
        yield
    except (BacklogFullError, DeliveryFailedError) as error:
        raise BrokerUnavailable(str(error)) from error
    except NotReady as error:
        raise BrokerUnavailable(
            "this process has only begun and has not reached the broker yet; try again"
        ) from error


# Agents yield nothing: Faust answers each value at whatever topic the message's header names.


def one_at_a_time(app: faust.App, handle: Handle) -> Agent:
    """An agent that hands over each message when the one before it is done."""

    async def read(stream: Any) -> None:
        # Faust would acknowledge each when the next is asked for, or this ends amid it.
        stream.enable_acks = False
        with ending_the_process():
            async for event in stream.events():
                await _handle_and_acknowledge(app, stream, handle, event)

    return read


def two_at_a_time(app: faust.App, handle: Handle) -> Agent:
    """An agent that hands over a short message beside a long one; see :mod:`.express`."""

    async def read(stream: Any) -> None:
        # As above: acknowledged is what was handled.
        stream.enable_acks = False
        done = partial(_handle_and_acknowledge, app, stream, handle)
        late = partial(_forget_if_late, app)
        express = Express(_entry, done, late, ending_the_process)
        with ending_the_process():
            await express.run(stream.events())

    return read


async def _handle_and_acknowledge(app: faust.App, stream: Any, handle: Handle, event: Any) -> None:
    """Handle a message and say so; one that was not begun in time is forgotten."""
    while True:
        try:
            await handle(event)
        except NotBegun:
            if _forget_if_late(app, event):
                return
        else:
            await stream.ack(event)
            return


def _forget_if_late(app: faust.App, event: Any) -> bool:
    return cast("CurrentConsumer", app.consumer).forget_if_late(event.message)


@contextmanager
def ending_the_process() -> Iterator[None]:
    """Whatever is raised within ends the process, but for a cancellation that was asked for.

    What was read ahead and not done then comes again; a process that went on would wait for it.
    """
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        log.critical("message_not_handled", reason="what it waited for was cancelled")
        raise SystemExit(EXIT_STUCK) from None
    except Exception:
        log.critical("message_not_handled", exc_info=True)
        raise SystemExit(EXIT_STUCK) from None


def _entry(event: Any) -> Entry[Any]:
    message = event.message
    return Entry(event, _job_of(message), mode_of(_pairs(message.headers)))


def _job_of(message: Any) -> str:
    """By the key: that of work names the chunk as well; no job's id has a dot."""
    return str((message.key or b"").decode(errors="replace").partition(".")[0])


@dataclass(frozen=True, kw_only=True)
class Binding(Generic[M]):
    """One stage on one topic: how to read a message, what to do with it."""

    topic: str
    decode: Callable[[bytes | None], M]
    handle: Callable[[M], Awaitable[list[Outgoing]]]
    before_send: Failpoint | None = None
    after_send: Failpoint | None = None
    moved: Callable[[], None] = lambda: None
    """Told that the stage waits, and knows for what."""
    handled: Callable[[str, int], None] = lambda _topic, _partition: None
    """Told of which partition a message was handled."""
    buried: Callable[[bytes | None, Problem], list[Outgoing]] = lambda _value, _problem: []
    """Whom to tell of a message that went to the dead-letter topic."""
    metrics: Metrics = field(default_factory=Metrics)
    tracing: Tracing = OFF
    reader: Reader = one_at_a_time


def bind(app: faust.App, binding: Binding[Any], send: Send, failpoints: Failpoints) -> None:
    """Have ``app`` hand every message of a topic to its stage, one at a time or two."""
    channel = app.topic(
        binding.topic,
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
    )

    async def handle(event: Any) -> None:
        with binding.metrics.handling(binding.topic), within(binding, event.message):
            left = False
            try:
                await deliver(binding, event.message, send, failpoints)
            except NotBegun:
                left = True
        if left:
            # Behind the trace, in which it is no failure.
            raise NotBegun

    app.agent(channel, name=binding.topic, concurrency=1)(binding.reader(app, handle))


@contextmanager
def within(binding: Binding[Any], message: Any) -> Iterator[None]:
    """Within the trace that a message belongs to; what is logged names the message's job."""
    topic = binding.topic
    job_id = _job_of(message)
    parent = carried(_pairs(message.headers)) if binding.tracing.is_on else ""
    said: dict[str, Value] = {"messaging.system": "kafka", "messaging.destination.name": topic}
    said |= {"messaging.operation.type": "process", "countermand.job_id": job_id}
    with (
        bound_contextvars(job_id=job_id),
        binding.tracing.span(f"process {topic}", Kind.CONSUMER, parent=parent, said=said),
    ):
        yield


async def deliver(binding: Binding[M], message: Any, send: Send, failpoints: Failpoints) -> None:
    """Take one message through its stage; never raises but when cancelled.

    Raises NotBegun where the stage does.
    """

    def away() -> None:
        binding.metrics.retried(binding.topic)
        binding.moved()

    try:
        outgoing = await _handle(binding, message, send, away)
        await _send_all(binding, outgoing, send, failpoints, away)
    except Unavailable as error:
        # Burying a command because the database was away for long would lose it.
        log.critical("gave_up_waiting", topic=message.topic, reason=error.message)
        raise SystemExit(EXIT_STUCK) from None
    failpoints.reach(Failpoint.BEFORE_ACK)
    binding.handled(message.topic, message.partition)


async def _handle(
    binding: Binding[M], message: Any, send: Send, away: Callable[[], None]
) -> list[Outgoing]:
    """What a message causes; one that cannot be handled is buried, and causes nothing."""
    try:
        decoded = binding.decode(message.value)
        outgoing: list[Outgoing] = await _patiently(_begun(binding.handle, decoded), away)
    except (MessageUnreadable, UnsupportedVersion) as error:
        problem = _problem(error.code, error.message, error.pointer)
    except (Unavailable, NotBegun):
        raise
    except Exception as error:
        log.exception("message_failed", topic=message.topic, offset=message.offset)
        problem = _fault(error)
    else:
        return outgoing
    await _bury(binding, message, problem, send)
    return []


async def _send_all(
    binding: Binding[Any],
    outgoing: Sequence[Outgoing],
    send: Send,
    failpoints: Failpoints,
    away: Callable[[], None],
) -> None:
    """Send all at once, so that they share requests; those of one key one after the other.

    What can never be sent is buried itself: the message that caused it is done with, and what
    came of that is stored. Raises Unavailable, when all has been tried, where something may be
    sent later: the whole message comes again then.
    """
    refused: list[tuple[Outgoing, Exception]] = []

    async def sent(several: Sequence[Outgoing]) -> None:
        for one in several:
            _reach(failpoints, binding.before_send)
            error = await _refusal(one, send, away)
            if error is not None:
                refused.append((one, error))
            _reach(failpoints, binding.after_send)

    together: dict[tuple[str, bytes | None, int | None], list[Outgoing]] = {}
    for one in outgoing:
        together.setdefault((one.topic, one.key, one.partition), []).append(one)
    if len(together) <= 1:
        await sent(outgoing)
    else:
        ended = await asyncio.gather(*map(sent, together.values()), return_exceptions=True)
        errors = [error for error in ended if error is not None]
        errors.sort(key=lambda error: not isinstance(error, Unavailable))
        if errors:
            raise errors[0]
    for one, error in refused:
        await _bury_unsent(binding, one, _fault(error), send, away)


async def _refusal(one: Outgoing, send: Send, away: Callable[[], None]) -> Exception | None:
    """Send a message; returns why it can never be sent, and raises Unavailable."""
    try:
        await _patiently(lambda: send(one), away)
    except Unavailable:
        raise
    except Exception as error:
        log.exception("message_not_sent", topic=one.topic)
        return error
    return None


def _reach(failpoints: Failpoints, place: Failpoint | None) -> None:
    if place is not None:
        failpoints.reach(place)


def _begun(handle: Callable[[M], Awaitable[R]], message: M) -> Callable[[], Awaitable[R]]:
    """The stage with a message, to be tried again: what a try has begun is not left to others."""
    tried = False

    async def work() -> R:
        nonlocal tried
        try:
            return await handle(message)
        except NotBegun:
            if not tried:
                raise
            raise Unavailable("there is no memory to go on with what has begun") from None
        except Unavailable:
            tried = True
            raise

    return work


async def _patiently(work: Callable[[], Awaitable[Any]], moved: Callable[[], None]) -> Any:
    """Try again, with growing pauses, while what we need is away.

    Such a stage does not hang: another process would wait as well, so each try counts as
    a move.
    """
    pause = FIRST_PAUSE
    for attempt in range(1, MAX_TRIES + 1):
        try:
            return await work()
        except Unavailable as error:
            if attempt == MAX_TRIES:
                raise
            log.warning("waiting", reason=error.message, attempt=attempt)
            moved()
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            pause = min(pause * 2, LONGEST_PAUSE)
    raise AssertionError("unreachable")


def _problem(code: str, reason: str, pointer: str = "") -> Problem:
    return Problem(code=code, message=reason[:MAX_CAUSE], pointer=pointer)


def _fault(error: Exception) -> Problem:
    code = error.code if isinstance(error, CountermandError) else "internal"
    return _problem(code, f"{type(error).__name__}: {first_line(str(error))}")


async def _bury(binding: Binding[Any], message: Any, problem: Problem, send: Send) -> None:
    """Keep a message that cannot be handled, with its cause and where it came from."""
    value = message.value or b""
    burial = Burial(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        size=len(value),
        code=problem.code,
        reason=problem.message,
    )
    letter = _letter(binding, burial, message.key or b"", value, _pairs(message.headers))
    try:
        for one in (letter, *binding.buried(message.value, problem)):
            await _patiently(lambda one=one: send(one), lambda: None)  # type: ignore[misc]
    except Exception:
        # Losing the letter is worse than stopping: the process ends without an ack, and the
        # message comes again.
        log.critical("dead_letter_not_delivered", topic=message.topic, offset=message.offset)
        raise SystemExit(EXIT_STUCK) from None


async def _bury_unsent(
    binding: Binding[Any], one: Outgoing, problem: Problem, send: Send, away: Callable[[], None]
) -> None:
    """Keep a message that cannot be sent, with its cause and where it should have gone."""
    burial = Burial(
        topic=one.topic,
        partition=0,
        offset=0,
        size=len(one.value),
        code=problem.code,
        reason=problem.message,
    )
    letter = _letter(binding, burial, one.key, one.value, one.headers)
    if await _refusal(letter, send, away) is not None:
        # Stopping would help nobody: what caused it is stored, and would cause it again.
        log.critical("dead_letter_not_delivered", topic=one.topic)


def _letter(
    binding: Binding[Any], burial: Burial, key: bytes, value: bytes, headers: Headers
) -> Outgoing:
    log.error("dead_letter", **burial.model_dump())
    binding.metrics.buried(burial.topic, burial.code)
    return bury(burial, key, value, headers)


def _pairs(headers: Any) -> Headers:
    """Headers of a message as Faust hands them over: pairs, a mapping, or none."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    return tuple((name, value or b"") for name, value in pairs)
