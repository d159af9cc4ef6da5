"""Reports: how a project's jobs went in a period, and who did what. For all who may see it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Row, Select

from domain.errors import ItemsArchived
from domain.events import JobStatus
from domain.ports import Clock
from domain.systems.annotations.periods import HOUR, Period
from streams.callers import Caller
from streams.stores import worker_use
from streams.stores.database import Database
from streams.stores.error_groups import ErrorGroup
from streams.stores.project_figures import COUNTS, OUTCOMES, WRITES
from streams.stores.worker_use import Used
from streams.systems.annotations import figures
from streams.systems.annotations.access import seat_of
from streams.systems.annotations.load import SYSTEM

MAX_JOBS: Final = 200
"""The failures of so many jobs are looked at, the latest ones."""
MAX_USERS: Final = 1000

Groups = Callable[[str, str], Awaitable[Sequence[ErrorGroup]]]
"""The failures of a tenant's job."""
Written = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Tally:
    """Jobs and their items; ``statuses`` is by the status of the job, ``items`` by the items'."""

    jobs: int
    statuses: Mapping[str, int]
    items: Mapping[str, int]

    @property
    def settled(self) -> int:
        """Items of which it is known what became of them."""
        return self.items["total"] - self.items["pending"]

    @property
    def ended(self) -> int:
        """Jobs that do nothing more by themselves, and of which it is known how they ended.

        Of those that an earlier release has archived it is not.
        """
        ended = {each.value for each in JobStatus if each.terminal} - {JobStatus.ARCHIVED.value}
        return sum(count for status, count in self.statuses.items() if status in ended)


@dataclass(frozen=True, slots=True)
class Summary:
    """All jobs of a period, and those of each operation."""

    all: Tally
    by_operation: Mapping[str, Tally]


@dataclass(frozen=True, slots=True)
class Point:
    """What became of items in a bucket, and for how many seconds workers were at it.

    ``seconds`` is how long the bucket is, as far as it is over.
    """

    start: int
    seconds: float
    outcomes: Mapping[str, int]
    busy_seconds: float

    @property
    def items(self) -> int:
        """How many items something became of."""
        return sum(self.outcomes.values())


@dataclass(frozen=True, slots=True)
class Taken:
    """What a bucket took: of the project, and of all projects together, where that is known."""

    point: Point
    used: Used | None


@dataclass(frozen=True, slots=True)
class Frequency:
    """How many items have failed with a code, in how many jobs."""

    code: str
    items: int
    jobs: int


@dataclass(frozen=True, slots=True)
class Errors:
    """Failed items by code; ``untold`` are those of archived jobs and of jobs beyond the bound."""

    jobs: int
    looked_at: int
    failed: int
    untold: int
    codes: Sequence[Frequency]


@dataclass(slots=True)
class Active:
    """Somebody, with the jobs that they made and the records that they wrote, by kind."""

    user: str
    jobs: int = 0
    items: int = 0
    records: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, kind: str, written: Written) -> None:
        """More records of a kind."""
        own = self.records.setdefault(kind, dict.fromkeys(WRITES, 0))
        for name in WRITES:
            own[name] += written[name]

    @property
    def writes(self) -> int:
        """How many records were written in all."""
        return sum(sum(written.values()) for written in self.records.values())


@dataclass(frozen=True, slots=True)
class Activity:
    """Users of a period, the busiest first; ``left_out`` are those beyond the bound."""

    users: Sequence[Active]
    left_out: int


class Reports:
    """Each raises RecordNotFound for a project that the caller may not see."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def summary(self, caller: Caller, project_id: int, period: Period) -> Summary:
        """The jobs made in the period, and what became of their items since."""
        statement = figures.jobs_by_status(caller.tenant, project_id, period)
        (rows,) = await self._rows(caller, project_id, statement)
        operations = sorted({row.operation for row in rows})
        return Summary(
            _tally(rows),
            {name: _tally([row for row in rows if row.operation == name]) for name in operations},
        )

    async def trend(self, caller: Caller, project_id: int, period: Period) -> list[Point]:
        """What became of items in each bucket of the period, whenever their jobs were made."""
        statement = figures.outcomes_by_hour(caller.tenant, project_id, period)
        (rows,) = await self._rows(caller, project_id, statement)
        now, size = self._clock.now().timestamp(), period.bucket.seconds
        outcomes: dict[int, Counter[str]] = {start: Counter() for start in period.buckets()}
        busy: Counter[int] = Counter()
        for row in rows:
            start = row.hour * HOUR // size * size
            outcomes[start].update({name: int(getattr(row, name)) for name in OUTCOMES})
            busy[start] += row.busy_seconds
        return [
            Point(
                start,
                max(0.0, min(size, now - start)),
                {name: counted[name] for name in OUTCOMES},
                float(busy[start]),
            )
            for start, counted in outcomes.items()
        ]

    async def resources(self, caller: Caller, project_id: int, period: Period) -> list[Taken]:
        """How busy workers were for the project, and what all of them used, in each bucket."""
        points = await self.trend(caller, project_id, period)
        hours = await self._database.read(
            lambda found: worker_use.by_hour(found, SYSTEM, period.start, period.end)
        )
        used: dict[int, Used] = {}
        size = period.bucket.seconds
        for hour, each in hours.items():
            start = hour // size * size
            used[start] = used[start].and_also(each) if start in used else each
        return [Taken(point, used.get(point.start)) for point in points]

    async def errors(
        self, caller: Caller, project_id: int, period: Period, groups: Groups
    ) -> Errors:
        """The failed items of the jobs made in the period, by code, the most frequent first."""
        tenant = caller.tenant
        (sums,), found = await self._rows(
            caller,
            project_id,
            figures.failures(tenant, project_id, period),
            figures.failed_jobs(tenant, project_id, period, MAX_JOBS),
        )
        items, jobs = Counter[str](), Counter[str]()
        for job_id, _ in found:
            codes = await _codes(groups, tenant, job_id)
            items.update(codes)
            jobs.update(codes.keys())
        ranked = sorted(items.items(), key=lambda pair: (-pair[1], pair[0]))
        failed = int(sums[1])
        return Errors(
            jobs=int(sums[0]),
            looked_at=len(found),
            failed=failed,
            untold=max(0, failed - items.total()),
            codes=[Frequency(code, count, jobs[code]) for code, count in ranked],
        )

    async def activity(self, caller: Caller, project_id: int, period: Period) -> Activity:
        """Who has made jobs, and who has written how many records, in the period."""
        asked = caller.tenant, project_id, period
        jobs, *written = await self._rows(
            caller,
            project_id,
            figures.jobs_by_actor(*asked),
            figures.writes_by_jobs(*asked),
            figures.edits(*asked),
        )
        users: dict[str, Active] = {}
        for row in jobs:
            users[row.created_by] = Active(row.created_by, row.jobs, int(row.items))
        for row in (row for rows in written for row in rows):
            user = users.setdefault(row.actor, Active(row.actor))
            user.add(row.kind, {name: int(getattr(row, name)) for name in WRITES})
        ranked = sorted(users.values(), key=lambda user: (-user.writes, -user.jobs, user.user))
        return Activity(ranked[:MAX_USERS], len(ranked[MAX_USERS:]))

    async def _rows(
        self, caller: Caller, project_id: int, *statements: Select[Any]
    ) -> list[Sequence[Row[Any]]]:
        def read(connection: Connection) -> list[Sequence[Row[Any]]]:
            seat_of(connection, caller, project_id)
            return [connection.execute(statement).all() for statement in statements]

        return await self._database.read(read)


async def _codes(groups: Groups, tenant: str, job_id: str) -> Counter[str]:
    """The failures of a job by code; none of one whose items are in an archive."""
    found = Counter[str]()
    try:
        for group in await groups(tenant, job_id):
            found[group.code] += group.count
    except ItemsArchived:
        found.clear()
    return found


def _tally(rows: Iterable[Row[Any]]) -> Tally:
    statuses, items = Counter[str](), Counter[str]()
    for row in rows:
        statuses[row.status] += row.jobs
        items.update({name: int(getattr(row, name)) for name in COUNTS})
    return Tally(statuses.total(), dict(statuses), {name: items[name] for name in COUNTS})
