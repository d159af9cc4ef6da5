"""Listening: what another process has committed is heard, or looked for again."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import Connection
from sqlalchemy.engine import make_url

from streams.stores import decisions, event_order, migrate
from streams.stores.database import Database
from streams.stores.decisions import Decision, announce_decision, heard_decision
from streams.stores.listening import listening
from tests.services.postgres import PostgresServer
from tests.stored_events import append, stored_event

BEAT = 0.3
PATIENCE = 15.0
AGAIN = None


class Heard:
    """What a listener was told, in order."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[str | None] = asyncio.Queue()

    def __call__(self, payload: str | None) -> None:
        self._queue.put_nowait(payload)

    async def next(self) -> str | None:
        async with asyncio.timeout(PATIENCE):
            return await self._queue.get()

    @property
    def nothing(self) -> bool:
        return self._queue.empty()


def notify(database_url: str, channel: str, payload: str) -> None:
    with Database(database_url) as database, database.engine.begin() as connection:
        connection.exec_driver_sql("SELECT pg_notify(%s, %s)", (channel, payload))


def listeners_of(server: PostgresServer) -> list[int]:
    """The server processes of the sessions that listen."""
    with server.connect() as connection:
        rows = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
            "AND query IN ('LISTEN \"news\"', 'SELECT 1') AND datname LIKE 'test_%'"
        ).fetchall()
    return [pid for (pid,) in rows]


async def test_each_channel_is_heard_by_its_own_listener(postgres_database: str) -> None:
    news, other = Heard(), Heard()
    async with listening(postgres_database, {"news": news, "other": other}):
        assert await news.next() is AGAIN
        assert await other.next() is AGAIN
        await asyncio.to_thread(notify, postgres_database, "news", "first")
        await asyncio.to_thread(notify, postgres_database, "news", "second")
        await asyncio.to_thread(notify, postgres_database, "other", "third")
        assert [await news.next(), await news.next()] == ["first", "second"]
        assert await other.next() == "third"
    assert news.nothing
    assert other.nothing


async def test_nothing_is_lost_between_two_beats(postgres_database: str) -> None:
    """Notifications arrive as well while the connection is asked whether it is there."""
    news = Heard()
    async with listening(postgres_database, {"news": news}, beat=0.01):
        assert await news.next() is AGAIN
        sent = [str(number) for number in range(300)]
        with Database(postgres_database) as database:
            for payload in sent:
                await database.write(
                    lambda connection, payload=payload: connection.exec_driver_sql(
                        "SELECT pg_notify('news', %s)", (payload,)
                    )
                )
        assert [await news.next() for _ in sent] == sent


async def test_who_cannot_read_a_notification_is_told_to_look_again(
    postgres_database: str,
) -> None:
    """It may be of another release, while processes of both are at work."""
    news, ends = Heard(), 0

    def reads_numbers(payload: str | None) -> None:
        news(payload if payload is None else str(int(payload)))

    def lost() -> None:
        nonlocal ends
        ends += 1

    async with listening(postgres_database, {"news": reads_numbers}, lost=lost):
        assert await news.next() is AGAIN
        for payload in ("1", "no number", "2"):
            await asyncio.to_thread(notify, postgres_database, "news", payload)
        assert [await news.next() for _ in range(3)] == ["1", AGAIN, "2"]
        assert ends == 0


async def test_after_a_lost_connection_it_is_told_to_look_again(
    postgres_database: str, postgres_process: PostgresServer
) -> None:
    news, ends = Heard(), 0

    def lost() -> None:
        nonlocal ends
        ends += 1

    async with listening(postgres_database, {"news": news}, lost=lost):
        assert await news.next() is AGAIN
        for again in range(2):
            assert ends == again
            (pid,) = listeners_of(postgres_process)
            with postgres_process.connect() as connection:
                connection.execute("SELECT pg_terminate_backend(%s)", (pid,))
            assert await news.next() is AGAIN
        await asyncio.to_thread(notify, postgres_database, "news", "after")
        assert await news.next() == "after"


async def test_leaving_ends_the_session(
    postgres_database: str, postgres_process: PostgresServer
) -> None:
    news = Heard()
    async with listening(postgres_database, {"news": news}, beat=0.01):
        assert await news.next() is AGAIN
    async with asyncio.timeout(PATIENCE):
        while await asyncio.to_thread(listeners_of, postgres_process):
            pass


async def test_a_database_that_is_away_is_waited_for(
    postgres_database: str, free_port: int
) -> None:
    """Entering neither raises nor waits; once it is there, listeners are told."""
    news = Heard()
    away = make_url(postgres_database).set(port=free_port)
    async with listening(away.render_as_string(hide_password=False), {"news": news}):
        proxy = Proxy(postgres_database)
        async with proxy.open(free_port):
            assert await news.next() is AGAIN


async def test_a_half_open_connection_is_given_up(postgres_database: str, free_port: int) -> None:
    """The peer keeps the connection open and answers nothing any more."""
    news = Heard()
    proxy = Proxy(postgres_database)
    url = make_url(postgres_database).set(port=free_port).render_as_string(hide_password=False)
    async with proxy.open(free_port), listening(url, {"news": news}, beat=BEAT, patience=BEAT):
        assert await news.next() is AGAIN
        proxy.freeze()
        assert await news.next() is AGAIN, "by a new connection"


async def test_leaving_does_not_wait_for_a_half_open_connection(
    postgres_database: str, free_port: int
) -> None:
    news = Heard()
    proxy = Proxy(postgres_database)
    url = make_url(postgres_database).set(port=free_port).render_as_string(hide_password=False)
    async with proxy.open(free_port):
        async with listening(url, {"news": news}, beat=0.1):
            assert await news.next() is AGAIN
            proxy.freeze()
            async with asyncio.timeout(PATIENCE):
                await proxy.asked.wait()
            left = time.monotonic()
        assert time.monotonic() - left < 1.5


async def test_a_listener_that_fails_is_no_secret(postgres_database: str) -> None:
    def broken(payload: str | None) -> None:
        raise ValueError("a mistake in a listener")

    with pytest.raises(ValueError, match="a mistake"):
        async with listening(postgres_database, {"news": broken}), asyncio.timeout(PATIENCE):
            await asyncio.Event().wait()


async def test_sqlite_has_nothing_to_listen_to(sqlite_database: Database) -> None:
    heard = Heard()
    url = sqlite_database.url.render_as_string()
    async with listening(url, {"news": heard}):
        sqlite_database.write_now(lambda connection: announce_decision(connection, "c", TAKEN))
    assert heard.nothing


async def test_events_and_decisions_are_announced_once_committed(postgres_database: str) -> None:
    events, decided = Heard(), Heard()
    channels = {event_order.CHANNEL: events, decisions.CHANNEL: decided}
    with Database(postgres_database) as database:
        await asyncio.to_thread(migrate.upgrade, database)
        async with listening(postgres_database, channels):
            assert await events.next() is AGAIN
            assert await decided.next() is AGAIN
            with pytest.raises(RolledBack):
                await database.write(announced_in_vain)
            await database.write(lambda connection: announce_decision(connection, "c 1", TAKEN))
            await database.write(lambda connection: announce_decision(connection, "c-2", REFUSED))
            (number,) = await asyncio.to_thread(append, database, stored_event("job", 1))
            assert heard_decision(await decided.next() or "") == ("c 1", TAKEN)
            assert heard_decision(await decided.next() or "") == ("c-2", None)
            assert await events.next() == f"{number} job 1"


TAKEN = Decision("job", 3)
REFUSED = Decision("job", 3, {"code": "wrong_state", "message": "it has ended", "pointer": ""})


class RolledBack(Exception):
    pass


def announced_in_vain(connection: Connection) -> None:
    announce_decision(connection, "never", TAKEN)
    raise RolledBack


class Proxy:
    """Stands between the client and PostgreSQL; may fall silent without hanging up."""

    def __init__(self, database_url: str) -> None:
        self._url = make_url(database_url)
        self._silent: set[asyncio.StreamWriter] = set()
        self._open: set[asyncio.StreamWriter] = set()
        self.asked = asyncio.Event()
        """Something was said to a silent connection."""

    @contextlib.asynccontextmanager
    async def open(self, port: int) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        try:
            yield
        finally:
            server.close()
            for writer in self._open:
                writer.close()

    def freeze(self) -> None:
        """All connections that there are fall silent; new ones are served."""
        self._silent |= self._open

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(self._url.host, self._url.port)
        self._open.add(writer)
        pumps = [self._pump(reader, there[1], writer), self._pump(there[0], writer, writer)]
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await asyncio.gather(*pumps)
        self._open.discard(writer)
        there[1].close()
        writer.close()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, client: asyncio.StreamWriter
    ) -> None:
        while data := await source.read(65536):
            if client in self._silent:
                self.asked.set()
            else:
                sink.write(data)
                await sink.drain()
        sink.close()


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
