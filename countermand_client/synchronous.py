"""Client: the same as AsyncClient for code without asyncio, on a loop in a thread of its own.

Nothing is done here: each method hands its call over, and each iterator asks for one more.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import (
    AsyncGenerator,
    Callable,
    Coroutine,
    Generator,
    Iterator,
    Mapping,
    Sequence,
)
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from pydantic import BaseModel

from countermand_client.asynchronous import PAGE, AsyncClient, Described, new_key
from countermand_client.bodies import Items
from countermand_client.live import AsyncLive
from countermand_client.models import (
    ApiKey,
    ErrorGroup,
    Event,
    Item,
    Job,
    Message,
    Operation,
    Plan,
)
from countermand_client.patience import Patience

T = TypeVar("T")
ENDING = 2.0
"""So many seconds what is on its way has to end when the client does."""


class Client:
    """Speaks to one server; a context manager. Every method is that of AsyncClient."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        *,
        token: str = "",
        headers: Mapping[str, str] | None = None,
        patience: Patience | None = None,
        keys: Callable[[], str] = new_key,
    ) -> None:
        self._client = AsyncClient(url, token=token, headers=headers, patience=patience, keys=keys)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: set[Future[None]] = set()
        self._open: set[object] = set()
        """What is to be closed on the loop, and not by the garbage collector piece by piece."""

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._process = os.getpid()
        self._thread = threading.Thread(
            target=_serve, args=(self._loop,), name="countermand-client", daemon=True
        )
        self._thread.start()
        self._run(self._client.__aenter__())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_elsewhere:
            # Its connections, and what the loop waits by, belong to the process that has it.
            self._loop = None
            return
        loop = self._running
        self._run(_end_others())
        self._run(self._client.__aexit__(kind, error, trace))
        self._run(loop.shutdown_asyncgens())
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join()
        loop.close()
        self._loop = None
        self._open.clear()

    def submit(
        self,
        operation: str,
        items: Items,
        *,
        params: Mapping[str, Any] | BaseModel | None = None,
        options: Mapping[str, Any] | None = None,
        name: str = "",
        tags: Sequence[str] = (),
        priority: int | None = None,
        key: str | None = None,
    ) -> Job:
        """A new job; see :meth:`AsyncClient.submit`."""
        return self._run(
            self._client.submit(
                operation,
                items,
                params=params,
                options=options,
                name=name,
                tags=tags,
                priority=priority,
                key=key,
            )
        )

    def draft(self, operation: str, **said: Unpack[Described]) -> Job:
        """A job whose items follow by ``append``; nothing is done before ``seal``."""
        return self._run(self._client.draft(operation, **said))

    def append(self, job_id: str, part: int, items: Items) -> None:
        """Items of a draft; sent again as the same ``part`` (0, 1, ...) they are there once."""
        self._run(self._client.append(job_id, part, items))

    def seal(self, job_id: str, *, items: int | None = None, key: str | None = None) -> Job:
        """Have a draft begin; ``items`` is how many it must have by now."""
        return self._run(self._client.seal(job_id, items=items, key=key))

    def select(self, operation: str, select: Mapping[str, Any], **said: Unpack[Described]) -> Job:
        """A job on the records that a filter matches now: ``{"table": ..., "where": ...}``."""
        return self._run(self._client.select(operation, select, **said))

    def batch(
        self,
        steps: Sequence[Mapping[str, Any]],
        *,
        name: str = "",
        tags: Sequence[str] = (),
        priority: int | None = None,
        key: str | None = None,
    ) -> Job:
        """Jobs that come after one another; see :meth:`AsyncClient.batch`."""
        sent = self._client.batch(steps, name=name, tags=tags, priority=priority, key=key)
        return self._run(sent)

    def plan(self, job_id: str) -> Plan:
        """What a finished dry run (``options={"dry_run": True}``) has found."""
        return self._run(self._client.plan(job_id))

    def apply(self, job_id: str, *, digest: str | None = None, key: str | None = None) -> Job:
        """A new job that does what a dry run has found, or raises PlanChangedError."""
        return self._run(self._client.apply(job_id, digest=digest, key=key))

    def job(self, job_id: str, *, at: int | None = None) -> Job:
        """A job as it is, or as it was at version ``at``."""
        return self._run(self._client.job(job_id, at=at))

    def jobs(
        self,
        *,
        status: str | None = None,
        operation: str | None = None,
        tag: str | None = None,
        page: int = 100,
    ) -> Generator[Job, None, None]:
        """Jobs, newest first; pages are asked for as they are needed."""
        found = self._client.jobs(status=status, operation=operation, tag=tag, page=page)
        return self._each(found)

    def items(
        self, job_id: str, *, status: str | None = None, code: str | None = None, page: int = PAGE
    ) -> Generator[Item, None, None]:
        """What became of each item, in order."""
        return self._each(self._client.items(job_id, status=status, code=code, page=page))

    def errors(self, job_id: str) -> list[ErrorGroup]:
        """Failures of a job, in groups that look alike."""
        return self._run(self._client.errors(job_id))

    def operations(self) -> list[Operation]:
        """What can be done."""
        return self._run(self._client.operations())

    def stream(self, job_id: str, *, after: int = 0) -> Generator[Event, None, None]:
        """Events until the job is at rest; see :meth:`AsyncClient.stream`."""
        return self._each(self._client.stream(job_id, after=after))

    def wait(self, job_id: str, *, timeout: float | None = None) -> Job:
        """The job once it is at rest; raises WaitTimedOutError after ``timeout`` seconds."""
        return self._run(self._client.wait(job_id, timeout=timeout))

    @contextmanager
    def live(self) -> Iterator[Live]:
        """One WebSocket for as many jobs and tags as one likes; see :class:`AsyncLive`."""
        opened = self._client.live()
        live = Live(self, self._run(opened.__aenter__()))
        self._open.add(opened)
        leave: Callable[[Coroutine[Any, Any, Any]], None] = self._run
        try:
            yield live
        except GeneratorExit:
            leave = self._later
            raise
        finally:
            leave(self._left(opened))

    def api_keys(self, *, page: int = 100) -> Generator[ApiKey, None, None]:
        """The tenant's keys, without their texts; pages are asked for as they are needed."""
        return self._each(self._client.api_keys(page=page))

    def create_key(
        self, name: str, roles: Sequence[str], *, expires_at: datetime | None = None
    ) -> ApiKey:
        """A key, with its text, which is never shown again; this is asked for one time alone."""
        return self._run(self._client.create_key(name, roles, expires_at=expires_at))

    def rotate_key(self, key_id: str, *, overlap: float = 0.0) -> ApiKey:
        """Another text for a key; the old one goes on for ``overlap`` seconds. One time alone."""
        return self._run(self._client.rotate_key(key_id, overlap=overlap))

    def revoke_key(self, key_id: str) -> ApiKey:
        """Have a key be refused from now on."""
        return self._run(self._client.revoke_key(key_id))

    def pause(self, job_id: str, *, reason: str = "", key: str | None = None) -> Job:
        """Have a job stop until it is resumed."""
        return self._run(self._client.pause(job_id, reason=reason, key=key))

    def resume(self, job_id: str, *, reason: str = "", key: str | None = None) -> Job:
        """Have a paused job go on."""
        return self._run(self._client.resume(job_id, reason=reason, key=key))

    def cancel(
        self, job_id: str, *, roll_back: bool = False, reason: str = "", key: str | None = None
    ) -> Job:
        """Stop a job for good; what it has done stays, unless it is to be rolled back."""
        done = self._client.cancel(job_id, roll_back=roll_back, reason=reason, key=key)
        return self._run(done)

    def retry(
        self, job_id: str, *, reason: str = "", key: str | None = None, **selection: Any
    ) -> Job:
        """Work failed items again: all, or as ``selection`` says (``items``, ``codes``, ...)."""
        return self._run(self._client.retry(job_id, reason=reason, key=key, **selection))

    def undo(
        self, job_id: str, *, reason: str = "", key: str | None = None, **selection: Any
    ) -> Job:
        """Put back what a job has changed; of a job that is rolled back, undo that."""
        return self._run(self._client.undo(job_id, reason=reason, key=key, **selection))

    def approve(self, job_id: str, *, reason: str = "", key: str | None = None) -> Job:
        """Let a job start that waits for approval."""
        return self._run(self._client.approve(job_id, reason=reason, key=key))

    def reject(self, job_id: str, *, reason: str = "", key: str | None = None) -> Job:
        """Have a job never start that waits for approval."""
        return self._run(self._client.reject(job_id, reason=reason, key=key))

    def command(self, job_id: str, verb: str, *, key: str | None = None, **body: Any) -> Job:
        """Any verb of a job, with what its body may say; the job as it is after that."""
        return self._run(self._client.command(job_id, verb, key=key, **body))

    @property
    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise RuntimeError("use the client as a context manager")
        if self._is_elsewhere:
            raise RuntimeError(
                "the client was opened in another process, where the thread of its loop has "
                "stayed; open one in this process"
            )
        return self._loop

    @property
    def _is_elsewhere(self) -> bool:
        """Whether this is a fork of the process that has opened it."""
        return self._loop is not None and self._process != os.getpid()

    @property
    def _beside(self) -> asyncio.AbstractEventLoop:
        """The loop, for whoever may wait for it."""
        loop = self._running
        if threading.current_thread() is self._thread:
            raise RuntimeError(
                "the client is asked in the thread of its own loop, which would wait for itself "
                "for ever; give items by a plain generator there, or use AsyncClient"
            )
        return loop

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine; whoever is interrupted meanwhile cancels it."""
        try:
            loop = self._beside
        except RuntimeError:
            work.close()
            raise
        handed_over = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return handed_over.result()
        except BaseException:
            handed_over.cancel()
            raise
        finally:
            # It knows its error, which knows this frame by its traceback.
            del handed_over

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something closed, and do not wait for it.

        A generator that nobody has read to its end is closed where the garbage collector runs:
        that may be the thread of the loop, or one that holds what the loop waits for.
        """
        try:
            closing = asyncio.run_coroutine_threadsafe(work, self._running)
        except RuntimeError:  # the client has ended, and all of it was closed; or is elsewhere
            work.close()
            return
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def _each(self, source: AsyncGenerator[T, None]) -> Generator[T, None, None]:
        """Its values, one asked for at a time; closing this has that closed."""
        self._open.add(source)
        try:
            while True:
                try:
                    yield self._run(_next(source))
                except StopAsyncIteration:
                    return
        finally:
            self._later(self._closed(source))

    async def _closed(self, source: AsyncGenerator[Any, None]) -> None:
        try:
            await source.aclose()
        finally:
            self._open.discard(source)

    async def _left(self, opened: AbstractAsyncContextManager[AsyncLive]) -> None:
        try:
            await opened.__aexit__(None, None, None)
        finally:
            self._open.discard(opened)


class Live:
    """AsyncLive for code without asyncio: iterate it for the messages that come."""

    def __init__(self, client: Client, live: AsyncLive) -> None:
        self._client = client
        self._live = live

    def follow(self, *, after: int | None = None, ref: str = "", **topic: Any) -> None:
        """Have events of ``job_id=``, ``tag=`` or ``all=True``: new ones, or behind a position."""
        self._client._run(self._live.follow(after=after, ref=ref, **topic))

    def leave(self, *, ref: str = "", **topic: Any) -> None:
        """Have them no more."""
        self._client._run(self._live.leave(ref=ref, **topic))

    def broadcast(self, text: str) -> None:
        """Say something to all connections of the tenant; takes ``administer``."""
        self._client._run(self._live.broadcast(text))

    def ask_statistics(self, *, ref: str = "") -> None:
        """Have a message ``statistics`` about this connection."""
        self._client._run(self._live.ask_statistics(ref=ref))

    def __iter__(self) -> Iterator[Message]:
        return self._client._each(self._live.messages())


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    """Run a loop until it is stopped.

    A task that raises SystemExit, as a caller's source may, ends ``run_forever`` as well: whoever
    waits for that task is told by the loop, if it goes on, and the others get their answers.
    """
    while True:
        try:
            loop.run_forever()
        except (SystemExit, KeyboardInterrupt):
            continue
        return


async def _next(source: AsyncGenerator[T, None]) -> T:
    return await anext(source)


async def _end_others() -> None:
    """Wait for what is closing, or is cancelled; what goes on all the same is cut off.

    Somebody may wait for it in another thread, and would wait for ever.
    """
    going = asyncio.all_tasks() - {asyncio.current_task()}
    if going:
        _, going = await asyncio.wait(going, timeout=ENDING)
    for task in going:
        task.cancel()
    if going:
        await asyncio.wait(going, timeout=ENDING)
