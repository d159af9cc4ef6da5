"""Database: one SQLite file or one PostgreSQL database, opened off the event loop.

All work is a function of a connection. ``read`` and ``write`` run it in threads of a
bounded pool; ``write`` is one transaction, committed when the function returns and
rolled back when it raises. SQLite has one writer thread (BEGIN IMMEDIATE), so that no
two writes of this process ever meet; other processes are waited for.

A commit waits for the disk unless the caller says that it need not: both databases have
one log, so a later commit that does wait makes all earlier ones last as well.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from contextvars import Context
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Dialect, Engine, create_engine, event, exc
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import ConnectionPoolEntry

from domain.errors import DataDirectoryUnusable, RecordsOvertaken, StoreUnavailable
from streams.stores import sealing
from streams.stores.infrastructure import mark_faults
from streams.stores.pipeline import open_pipeline
from streams.stores.sealing import InstallationKey
from streams.stores.statements import commit_kept, run_bare, send_kept

T = TypeVar("T")
Work = Callable[[Connection], T]

BUSY_SECONDS = 5.0
ATTEMPTS = 3
READERS = 4
WRITERS = 8
MORE_READING = WRITERS + 3
"""Connections that writers read on beside their transaction, threads of their own, and who asks
whether the database answers."""
MORE_WRITING = 2
"""Of those who write beside all writers. Two, as one may have to wait for a lock."""
CONNECTIONS = READERS + MORE_READING + WRITERS + MORE_WRITING + 1
"""Of a process at most; the last one listens."""
CACHE_KIB = 16_384
LOG_PAGES = 4_000
"""Pages of SQLite's log (16 MB) after which it is taken over into the file.

A large job writes to the same pages of indexes again and again; four times the library's own
figure spares 4 % of a job of 100,000 items.
"""
KEEPALIVE = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""How PostgreSQL's client notices a peer that is gone without a word, in about ten seconds."""

_SESSION: Mapping[str, int | str] = {
    "lock_timeout": 5000,
    "statement_timeout": 120_000,
    "timezone": "UTC",
    # The server notices as well, or it would keep the locks of who was cut off for two hours.
    "tcp_keepalives_idle": 5,
    "tcp_keepalives_interval": 2,
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
_READING_SESSION: Mapping[str, int | str] = {**_SESSION, "default_transaction_read_only": "on"}
TRUSTED_SECONDS = 1.0
"""A connection to PostgreSQL that was used so lately is not asked whether it is there."""
_READ = "countermand_read"
_LASTING = "countermand_lasting"
_IDLE_SINCE = "countermand_idle_since"
_DAMAGED = ("malformed", "not a database", "file is encrypted")
_REPEATABLE_SQLSTATES = {"40001", "40P01", "55P03"}
_STOOD_STILL = "25P03"
"""The server ended a session that did nothing within a transaction."""
_TAKES_NO_WRITES = "25006"
"""read_only_sql_transaction: of a standby, or where somebody has set the database so."""
_NOT_PERMITTED = "42501"
"""insufficient_privilege."""
_BRIEFLY = "SET LOCAL lock_timeout = '500ms'"
"""A second and a half with all its repetitions: who is silent for five is taken for dead."""


class Database:
    """Opens connections; ``close`` must be called, or use it as a context manager."""

    def __init__(
        self, url: str | URL, *, session: str = "", key: InstallationKey | None = None
    ) -> None:
        """Open nothing yet.

        ``session`` is what PostgreSQL calls the connections of this process; ``key`` seals and
        opens what callers have sent (:mod:`.sealing`).
        """
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        # Connections of their own: what is read beside a transaction takes none of the writers'.
        self._reading = _engine(
            self.url, READERS, session, overflow=MORE_READING, settings=_READING_SESSION
        )
        self.engine = _engine(self.url, 1 if self.is_sqlite else WRITERS, session)
        self._single = self._snapshot = self._reading
        if not self.is_sqlite:
            event.listen(self.engine, "before_cursor_execute", _postgres_asked)
            self._single = self._reading.execution_options(isolation_level="AUTOCOMMIT")
            self._snapshot = self._reading.execution_options(isolation_level="REPEATABLE READ")
        for engine in (self._reading, self._single, self._snapshot, self.engine):
            engine.update_execution_options(**{sealing.OPTION: key})
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="db-read")
        writers = 1 if self.is_sqlite else WRITERS
        self._writers = ThreadPoolExecutor(writers, thread_name_prefix="db-write")
        self._beside = (
            self._writers
            if self.is_sqlite
            else ThreadPoolExecutor(MORE_WRITING, thread_name_prefix="db-beside")
        )
        self._asking = ThreadPoolExecutor(1, thread_name_prefix="db-ask")

    async def read(self, work: Work[T], *, single: bool = False) -> T:
        """The result of ``work``, which writes nothing: it would be refused, or forgotten.

        With ``single`` true each of its statements sees what is committed by then, and none is
        streamed: PostgreSQL is spared the two journeys of a transaction.
        """
        return await self._run(self._readers, partial(self.read_now, work, single=single))

    async def write(self, work: Work[T], *, lasting: bool = True) -> T:
        """The result of ``work``, committed; it may run again after it met another writer.

        With ``lasting`` false it outlives the death of this process as always, but the
        machine's only once a later commit was lasting: for what nobody outside is told before.
        """
        return await self._run(self._writers, partial(self.write_now, work, lasting=lasting))

    async def write_beside(self, work: Work[T], *, lasting: bool = True) -> T:
        """As ``write``, for short work that says that this process lives.

        It waits behind no handler, however long all writers take, and not long for a row that
        somebody has locked; on SQLite it waits for its one writer.
        """

        def briefly(connection: Connection) -> T:
            if not self.is_sqlite:
                connection.exec_driver_sql(_BRIEFLY)
            return work(connection)

        return await self._run(self._beside, partial(self.write_now, briefly, lasting=lasting))

    async def answers(self) -> None:
        """Return when the database has answered; raises Unavailable when it is away.

        In a thread of its own: however much is read and written, that is no reason to wait.
        """
        await self._run(self._asking, partial(self.read_now, _ask, single=True))

    async def aside(self, function: Callable[[], T]) -> T:
        """The result of a function that calls ``read_now`` itself, in a reader's thread."""
        return await self._run(self._readers, function)

    def series(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """The result of a function that calls ``write_now`` itself, in a writer's thread."""
        return self._run(self._writers, function)

    def read_now(self, work: Work[T], *, single: bool = False) -> T:
        """As ``read``, in the calling thread."""
        engine = self._single if single else self._reading
        return _repeated(lambda: self._read_once(engine, work))

    def snapshot_now(self, work: Work[T]) -> T:
        """As ``read_now``, all of it of one moment, for what is compared with each other.

        Else PostgreSQL shows each statement what is committed by then; SQLite never does.
        """
        return _repeated(lambda: self._read_once(self._snapshot, work))

    def write_now(self, work: Work[T], *, lasting: bool = True) -> T:
        """As ``write``, in the calling thread."""
        return _repeated(lambda: self._write_once(work, lasting=lasting))

    def _read_once(self, engine: Engine, work: Work[T]) -> T:
        with _translated(reading=True), engine.connect() as connection:
            connection.execution_options(**{_READ: True})
            if self.is_sqlite:
                with closing(connection.begin()):
                    return work(connection)
            # PostgreSQL's client forgets prepared statements at a rollback, not at a commit.
            with connection.begin():
                return work(connection)

    def _write_once(self, work: Work[T], *, lasting: bool) -> T:
        with _translated(), self.engine.connect() as connection:
            connection.execution_options(**{_LASTING: lasting})
            if not self.is_sqlite:
                open_pipeline(connection)
            with _dropped_if_read_only(connection), connection.begin():
                result = work(connection)
                commit_kept(connection)
                return result

    def _run(self, pool: ThreadPoolExecutor, run: Callable[[], T]) -> asyncio.Future[T]:
        # Threads stay, and handlers set what threads keep (the precision of decimals): each has
        # an empty context, as a copied one would share with the loop what is changed in place.
        return asyncio.get_running_loop().run_in_executor(pool, Context().run, run)

    def close(self) -> None:
        """Wait for work under way, then close all connections."""
        self._readers.shutdown()
        self._writers.shutdown()
        self._beside.shutdown()
        self._asking.shutdown()
        self._reading.dispose()
        self.engine.dispose()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file."""
    return str(URL.create("sqlite", database=str(path)))


def _ask(connection: Connection) -> None:
    connection.exec_driver_sql("SELECT 1")


class _Repeat(Exception):
    """The database asks to run the transaction again."""


def _engine(
    url: URL,
    size: int,
    session: str,
    *,
    overflow: int = MORE_WRITING,
    settings: Mapping[str, int | str] = _SESSION,
) -> Engine:
    if url.get_backend_name() == "sqlite":
        engine = create_engine(
            url,
            pool_size=size,
            pool_use_lifo=True,
            # Every transaction is ended by who began it; there is nothing to reset.
            pool_reset_on_return=None,
            max_overflow=4,
            pool_timeout=30,
            hide_parameters=True,
            connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
        )
        mark_faults(engine)
        event.listen(engine, "connect", _sqlite_connect)
        event.listen(engine, "begin", _sqlite_begin)
        return engine
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=size,
        pool_use_lifo=True,
        max_overflow=overflow,
        pool_timeout=30,
        # They are what callers sent, and errors go into logs and dead letters.
        hide_parameters=True,
        connect_args={
            **KEEPALIVE,
            "application_name": session or "countermand",
            "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
        },
    )
    mark_faults(engine)
    event.listen(engine, "begin", _postgres_begin)
    event.listen(engine, "checkin", _postgres_idle)
    event.listen(engine, "checkout", partial(_postgres_there, engine.dialect))
    return engine


def _sqlite_connect(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    connection.execute("PRAGMA temp_store=MEMORY")
    connection.execute(f"PRAGMA wal_autocheckpoint={LOG_PAGES}")


def _sqlite_begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get(_READ, False):
        run_bare(connection, "BEGIN", ())
        return
    # FULL waits for the log at each commit; NORMAL only before the log is taken over.
    wanted = "FULL" if options.get(_LASTING, True) else "NORMAL"
    if connection.info.get(_LASTING, "FULL") != wanted:
        run_bare(connection, f"PRAGMA synchronous={wanted}", ())
        connection.info[_LASTING] = wanted
    run_bare(connection, "BEGIN IMMEDIATE", ())


def _postgres_begin(connection: Connection) -> None:
    if not connection.get_execution_options().get(_LASTING, True):
        run_bare(connection, "SET LOCAL synchronous_commit TO off", ())


def _postgres_asked(connection: Connection, *_: Any) -> None:
    """What SQLAlchemy runs may depend on whatever was sent before."""
    send_kept(connection)


def _postgres_idle(_connection: Any, record: ConnectionPoolEntry) -> None:
    record.info[_IDLE_SINCE] = time.monotonic()


def _postgres_there(
    dialect: Dialect, connection: Any, record: ConnectionPoolEntry, _proxy: object
) -> None:
    """Ask a connection that nobody has used for a while whether it is still there."""
    since = record.info.get(_IDLE_SINCE)
    if since is None or time.monotonic() - since < TRUSTED_SECONDS:
        return
    try:
        dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        raise exc.InvalidatePoolError from error


class StoreForbidden(StoreUnavailable):
    """The database gives too few rights, which is mended over there as a refused password is."""


def _repeated(run: Callable[[], T]) -> T:
    """Run again, a few times, what met a lock or was overtaken; then it is unavailable."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return run()
        except (_Repeat, RecordsOvertaken) as conflict:
            if attempt == ATTEMPTS:
                raise StoreUnavailable(str(conflict)) from conflict.__cause__
            time.sleep(0.01 * attempt)
    raise AssertionError("unreachable")


@contextmanager
def _dropped_if_read_only(connection: Connection) -> Iterator[None]:
    """Have another one opened the next time in place of a connection that takes no writes.

    It may be to a standby, or be set so for its life: it would be kept when others write again.
    """
    try:
        yield
    except exc.DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == _TAKES_NO_WRITES:
            connection.invalidate()
        raise


@contextmanager
def _translated(*, reading: bool = False) -> Iterator[None]:
    """Driver errors as ours: what to repeat, what to wait for, what is broken."""
    try:
        yield
    except exc.IntegrityError:
        raise
    except exc.DBAPIError as error:
        raise _ours(error, reading=reading) from error
    except exc.PendingRollbackError as error:
        raise StoreUnavailable("the connection was lost; nothing was written") from error
    except exc.TimeoutError as error:
        raise StoreUnavailable(
            "all connections to the database are in use; nothing was written"
        ) from error


def _ours(error: exc.DBAPIError, *, reading: bool) -> Exception:
    reason = str(error.orig)
    if any(word in reason for word in _DAMAGED):
        return DataDirectoryUnusable(
            f"the database is damaged ({reason}); restore it from a backup"
        )
    if "full" in reason and "disk" in reason:
        return StoreUnavailable("the disk is full; free some space, nothing was written")
    if "disk I/O" in reason:
        return StoreUnavailable(
            f"the disk cannot be used ({reason}); free some space, raise the limit to the size of "
            "files, or replace the disk; nothing was written"
        )
    coded = _by_code(getattr(error.orig, "sqlstate", None), reason, reading=reading)
    if coded is not None:
        return coded
    if "locked" in reason:
        return _Repeat("the database is locked by another process; close it")
    if isinstance(error, exc.OperationalError | exc.InterfaceError):
        return StoreUnavailable(f"the database is away ({reason.splitlines()[0]})")
    return error


def _by_code(sqlstate: str | None, reason: str, *, reading: bool) -> Exception | None:
    """By PostgreSQL's code of the error; None for one that says nothing to us."""
    if sqlstate == _STOOD_STILL:
        return StoreUnavailable("the process stood still within a transaction; nothing was written")
    # A reader that writes is a fault of ours, and would be refused for ever.
    if sqlstate == _TAKES_NO_WRITES and not reading:
        return StoreUnavailable(
            "the database takes no writes now; see whether it is a standby, or was made read-only "
            "as its disk is nearly full; nothing was written"
        )
    if sqlstate == _NOT_PERMITTED:
        return StoreForbidden(
            f"who signs in at the database may not do what is needed ({reason.splitlines()[0]}); "
            "run `countermand db permit` as the owner of the tables; nothing was written"
        )
    if sqlstate in _REPEATABLE_SQLSTATES:
        return _Repeat(f"the database reported a lock conflict ({reason})")
    return None
