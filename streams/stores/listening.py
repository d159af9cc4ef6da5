"""Listening: PostgreSQL tells a process what other processes have just committed.

A notification is a hint, also where it brings what was stored. Those sent while the connection
was away are lost, so after each (re)connection every listener is told to look again, and whoever
relies on notifications looks by itself now and then as well. With SQLite there is nothing to
listen to: the one process that writes tells its own readers.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from sqlalchemy.engine import make_url

from streams.loops import background
from streams.stores.database import KEEPALIVE

if TYPE_CHECKING:
    from psycopg import AsyncConnection

log = structlog.get_logger(__name__)

T = TypeVar("T")
Listener = Callable[[str | None], None]
"""Takes the payload of a notification, or None: look again. Must not block.

Of a payload that it cannot read it raises, and is told to look again."""

BEAT_SECONDS = 3.0
"""How often a connection is asked whether it is still there."""
ANSWER_SECONDS = 3.0
"""How long it may take to answer; the peer of a half-open one keeps silent for ever."""
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0


@contextlib.asynccontextmanager
async def listening(
    database_url: str,
    listeners: Mapping[str, Listener],
    *,
    lost: Callable[[], None] = lambda: None,
    beat: float = BEAT_SECONDS,
    patience: float = ANSWER_SECONDS,
) -> AsyncIterator[None]:
    """Call the listener of a channel for each of its notifications, while in the context.

    ``lost`` is called when a connection has ended. Does not wait for the database, nor raise when
    it is away: it connects again, after pauses that grow to ``LONGEST_PAUSE``.
    """
    if make_url(database_url).get_backend_name() == "sqlite":
        yield
        return
    session = _Session(database_url, listeners, lost, beat, patience)
    async with background([session.keep()]):
        yield


def hear(listener: Listener, payload: str) -> None:
    """Tell a listener what was sent, and to look again where it cannot read that."""
    try:
        listener(payload)
    except Exception as error:
        # Of another release, or of whoever else may connect.
        log.warning("notification_unread", reason=f"{type(error).__name__}: {error}")
        listener(None)


class _Session:
    """One connection after the other."""

    def __init__(
        self,
        database_url: str,
        listeners: Mapping[str, Listener],
        lost: Callable[[], None],
        beat: float,
        patience: float,
    ) -> None:
        self._url = make_url(database_url).set(drivername="postgresql+psycopg")
        self._listeners = listeners
        self._lost = lost
        self._beat = beat
        self._patience = patience
        self._pause = FIRST_PAUSE

    async def keep(self) -> None:
        """Listen, and start over when the connection is lost."""
        import psycopg

        while True:
            try:
                await self._listen()
            except psycopg.Error as error:
                reason = (str(error) or type(error).__name__).splitlines()[0]
                log.warning("not_listening", reason=reason, pause=self._pause)
            # Not all processes at once, when the database comes back.
            await asyncio.sleep(self._pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            self._pause = min(self._pause * 2, LONGEST_PAUSE)

    async def _listen(self) -> None:
        connection = await self._connect()
        try:
            listen = "; ".join(f'LISTEN "{channel}"' for channel in self._listeners)
            await self._answered(connection, connection.execute(listen))
            self._pause = FIRST_PAUSE
            for listener in self._listeners.values():
                listener(None)
            while True:
                async for notice in connection.notifies(timeout=self._beat):
                    hear(self._listeners[notice.channel], notice.payload)
                await self._answered(connection, connection.execute("SELECT 1"))
        finally:
            self._lost()
            await connection.close()

    async def _connect(self) -> AsyncConnection[Any]:
        from psycopg import AsyncConnection

        _, options = self._url.get_dialect()().create_connect_args(self._url)
        return await AsyncConnection.connect(autocommit=True, **{**KEEPALIVE, **options})

    async def _answered(self, connection: AsyncConnection[Any], asked: Awaitable[T]) -> T:
        """The answer; without one in time, or when cancelled, the connection is cut.

        The driver would ask the server to cancel the statement, and wait for its answer.
        """
        task = asyncio.ensure_future(asked)
        try:
            await asyncio.wait({task}, timeout=self._patience)
        finally:
            if not task.done():
                _cut(connection)
                await asyncio.wait({task})
        return await task


def _cut(connection: AsyncConnection[Any]) -> None:
    """End the connection below the driver, which then fails as if the peer had gone."""
    with socket.socket(fileno=os.dup(connection.fileno())) as beneath, contextlib.suppress(OSError):
        beneath.shutdown(socket.SHUT_RDWR)
