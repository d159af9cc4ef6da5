"""The proxy sees commits go by, and cuts those that it was told to cut."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.chaos.proxy import Armed, Cut, Proxy, Weather
from tests.chaos.wire import Frontend
from tests.services.postgres import PostgresServer

pytestmark = pytest.mark.crash


@pytest.fixture
def proxy(postgres_process: PostgresServer) -> Iterator[Proxy]:
    with (
        postgres_process.connect() as connection,
        Proxy(lambda: postgres_process.port, random.Random(1)) as proxy,
    ):
        connection.execute("CREATE TABLE one (n INTEGER); CREATE TABLE two (n INTEGER)")
        yield proxy
        connection.execute("DROP TABLE one, two")


def _connected(proxy: Proxy, **options: Any) -> psycopg.Connection:
    return psycopg.connect(
        host="127.0.0.1",
        port=proxy.port,
        user="countermand",
        dbname="postgres",
        connect_timeout=5,
        **options,
    )


@pytest.mark.parametrize(("cut", "kept"), [(Cut.ANSWER, 1), (Cut.REQUEST, 0), (Cut.HALF, 1)])
@pytest.mark.parametrize("earlier", [0, 9], ids=["first", "prepared"])
def test_a_commit_is_cut(proxy: Proxy, cut: Cut, kept: int, earlier: int) -> None:
    with _connected(proxy) as other:
        with _connected(proxy) as connection:
            for number in range(earlier):
                connection.execute("INSERT INTO one VALUES (%s)", [number])
                connection.commit()
            proxy.arm(Armed("one", cut))
            other.execute("INSERT INTO two VALUES (1)")
            other.commit()
            connection.execute("INSERT INTO one VALUES (%s)", [9])
            with pytest.raises(psycopg.OperationalError):
                connection.commit()
        (count,) = other.execute("SELECT count(*) FROM one").fetchone() or (None,)
        assert (count, proxy.armed, proxy.cuts[Armed("one", cut)]) == (earlier + kept, 0, 1)


def test_a_silent_connection_is_dead_and_new_ones_live(proxy: Proxy) -> None:
    with _connected(proxy, tcp_user_timeout=500) as connection:
        connection.execute("SELECT 1")
        assert proxy.silence() == 1
        with pytest.raises(psycopg.OperationalError, match="timed out"):
            connection.execute("SELECT 1")
    with _connected(proxy) as other, proxy.weather(Weather(delay=0.01)):
        assert other.execute("SELECT 2").fetchone() == (2,)


def test_all_are_reset(proxy: Proxy) -> None:
    with _connected(proxy) as connection:
        connection.execute("SELECT 1")
        assert proxy.reset_all() == 1
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")


def test_messages_in_pieces_are_read() -> None:
    start = b"\0\0\0\x08\x04\xd2\x16\x2f" + b"\0\0\0\x09\0\x03\0\0\0"
    said = start + b"".join(
        kind + (len(body) + 4).to_bytes(4, "big") + body
        for kind, body in (
            (b"Q", b"BEGIN\0"),
            (b"P", b"name\0UPDATE chunks SET open = true\0\0\0"),
            (b"B", b"\0name\0rest"),
            (b"Q", b"COMMIT\0"),
            (b"Q", b"COMMIT\0"),
        )
    )
    frontend = Frontend()
    found = [written for number in range(len(said)) for written in frontend.feed(said[number:][:1])]
    assert found == [frozenset({"chunks"}), frozenset()]
