"""Windows of rates that several processes count together, a row for each."""

from __future__ import annotations

import hashlib
from typing import ClassVar

from limits.aio.storage import Storage
from sqlalchemy import Connection, Dialect, bindparam, case, delete, select
from sqlalchemy.sql.expression import ClauseElement

from domain.errors import Unavailable
from domain.ports import Clock
from streams.stores.database import Database
from streams.stores.schema_callers import rate_windows as windows
from streams.stores.statements import INSERTS, Statement, fixed

KEPT = 10_000
"""Windows whose count this process remembers, so that what it has just written is not read."""


def _incr(dialect: Dialect) -> ClauseElement:
    row = INSERTS[dialect.name](windows).values(
        key=bindparam("key"), taken=bindparam("amount"), ends=bindparam("ends")
    )
    over = windows.c.ends <= bindparam("now")
    return row.on_conflict_do_update(  # type: ignore[no-any-return]
        index_elements=[windows.c.key],
        set_={
            "taken": case((over, row.excluded.taken), else_=windows.c.taken + row.excluded.taken),
            "ends": case((over, row.excluded.ends), else_=windows.c.ends),
        },
    ).returning(windows.c.taken, windows.c.ends)


_INCR = Statement(_incr)
_FIND = fixed(
    select(windows.c.taken, windows.c.ends).where(
        windows.c.key == bindparam("key"), windows.c.ends > bindparam("now")
    )
)
_OVER = select(windows.c.key).where(windows.c.ends <= bindparam("now"))
_REMOVE = fixed(delete(windows).where(windows.c.key.in_(_OVER.limit(bindparam("most")))))


class SharedWindows(Storage):
    """Counts in the database; what is counted outlives no crash of the machine, and need not."""

    STORAGE_SCHEME: ClassVar[list[str] | None] = None  # type: ignore[misc]

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__()
        self._database = database
        self._clock = clock
        self._seen: dict[str, tuple[int, float]] = {}

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        """What is raised when the count cannot be had."""
        return Unavailable

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count some more; returns how many there are in the window."""
        now, digest = self._now(), _digest(key)
        given = {"key": digest, "amount": amount, "ends": now + expiry, "now": now}
        row = await self._database.write(
            lambda found: _INCR.run(found, **given).rows[0], lasting=False
        )
        if len(self._seen) >= KEPT:
            self._seen.clear()
        self._seen[key] = int(row[0]), float(row[1])
        return int(row[0])

    async def get(self, key: str) -> int:
        """How many there are in the window, as this process has last heard."""
        return (await self._window(key))[0]

    async def get_expiry(self, key: str) -> float:
        """When the window ends, in seconds since the epoch."""
        return (await self._window(key))[1]

    async def check(self) -> bool:
        """Whether the database answers."""
        await self._database.read(lambda found: found.exec_driver_sql("SELECT 1").all())
        return True

    async def reset(self) -> int | None:
        """Forget all windows."""
        self._seen.clear()
        return await self._database.write(lambda found: found.execute(delete(windows)).rowcount)

    async def clear(self, key: str) -> None:
        """Forget a window."""
        self._seen.pop(key, None)
        row = windows.c.key == _digest(key)
        await self._database.write(lambda found: found.execute(delete(windows).where(row)))

    async def _window(self, key: str) -> tuple[int, float]:
        now = self._now()
        taken, ends = self._seen.get(key, (0, 0.0))
        if ends > now:
            return taken, ends
        row = await self._database.read(lambda c: _FIND.run(c, key=_digest(key), now=now).first())
        return (0, now) if row is None else (int(row[0]), float(row[1]))

    def _now(self) -> float:
        return self._clock.now().timestamp()


def remove_over(connection: Connection, now: float, *, most: int = 1000) -> int:
    """Forget windows that are over, a number at a time; returns how many."""
    return _REMOVE.run(connection, now=now, most=most).count


def _digest(key: str) -> str:
    """Names of callers may be long, and are nobody's business here."""
    return hashlib.sha256(key.encode()).hexdigest()
