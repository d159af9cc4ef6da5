"""What a dry run says is what then happens: generated records, operations and items.

A data set is one tenant's shelves and one list of items. It is run dry, which must leave
every table as it was, and then for good. The verdicts must be the results, and the changes
that were told, made to the records in plain Python, must give the records as they are.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select

from domain.outcomes import ItemStatus
from domain.registry import Registry
from streams.queries import ItemView, Queries
from streams.stores import migrate
from streams.stores.database import Database
from tests.databases import database, database_url
from tests.engine.shelf import operations, shelves
from tests.engine.stages import Stages
from tests.proof.figures import tell

__all__ = ["database", "database_url"]

SAMPLE, FULL = 60, 1000
SEED = 20260105
RECORDS = ("shelves", "history", "writers", "record_tables")
Record = dict[str, Any]


@dataclass(frozen=True)
class DataSet:
    """What there is, and what is to be done to it; ids are offsets from the first shelf's."""

    tenant: str
    shelves: list[Record]
    operation: str
    items: list[Record]
    chunk_size: int | str


def _shelf(chance: random.Random, name: str) -> Record:
    shelf = {
        "name": name,
        "price": str(Decimal(chance.randint(-50_000, 102_000)) / 100),
        "weight": chance.choice([None, 0.5, 1 / 3, -2.0]),
        "live": chance.random() < 0.5,
        "since": chance.choice([None, str(date(2026, 1, 1) + timedelta(chance.randint(0, 99)))]),
        "note": chance.choice([None, "", "é" * 300, "= 1 + 1"]),
    }
    return {
        key: value
        for key, value in shelf.items()
        if key in ("name", "price") or chance.random() < 0.7
    }


def data_set(number: int) -> DataSet:
    """The data set of that number, always the same."""
    chance = random.Random(SEED + number)
    many = chance.randint(0, 12)
    there = [_shelf(chance, f"s{n}") | {"price": "1.50"} for n in range(many)]
    operation = chance.choice(["create", "update", "delete", "move", "move_all"])
    chunk_size = chance.choice(["auto", "auto", 1, 3, 5])
    # Items of one chunk may meet in a record; what another chunk has done is not seen.
    apart = chunk_size != "auto"
    ids = (
        chance.sample(range(30), 30) if apart else [chance.randint(0, many + 1) for _ in range(60)]
    )
    items = [
        item
        for n in range(chance.randint(1, 14))
        if (item := _item(chance, operation, n, ids, apart=apart)) is not None
    ]
    return DataSet(f"tenant-{number}", there, operation, items, chunk_size)


def _item(
    chance: random.Random, operation: str, number: int, ids: list[int], *, apart: bool
) -> Record | None:
    if chance.random() < 0.05:
        return {"wrong": number}
    name = f"n{number}" if apart else f"s{chance.randint(0, 14)}"
    if operation == "create":
        return _shelf(chance, name)
    record = ids.pop()
    if operation == "update":
        change = _shelf(chance, name)
        change.pop(chance.choice(list(change)))
        return {"id": record, **change, **_version(chance)}
    if operation == "delete":
        return {"id": record, **_version(chance)}
    return {"source": record, "target": ids.pop(), "amount": chance.choice([0, 1, 7, 800, 950])}


def _version(chance: random.Random) -> Record:
    return {"version": chance.randint(1, 2)} if chance.random() < 0.4 else {}


class Trial:
    """One data set on the real stages."""

    def __init__(self, stages: Stages, given: DataSet) -> None:
        self._stages = stages
        self._given = given
        self._queries = Queries(stages.database, stages.jobs, stages.registry)

    async def run(self) -> tuple[list[ItemView], list[ItemView]]:
        """Dry and for good; checks what each has left."""
        given = self._given
        if given.shelves:
            await self._job("shelf.create_shelves", given.shelves, "auto")
        first = min(await self._records(), default=1)
        items = [_placed(item, first) for item in given.items]
        kind = "shelf." + (
            given.operation if given.operation.startswith("move") else f"{given.operation}_shelves"
        )
        before, stored = await self._records(), await self._stored()
        dry = await self._job(kind, items, given.chunk_size, dry_run=True)
        assert await self._stored() == stored, "a dry run has left something"
        real = await self._job(kind, items, given.chunk_size)
        assert _foretold(before, dry) == _unnamed(await self._records(), before)
        return dry, real

    async def _job(
        self, kind: str, items: list[Record], chunk_size: int | str, **options: Any
    ) -> list[ItemView]:
        tenant = self._given.tenant
        options["chunk_size"] = chunk_size
        job_id = await self._stages.submit(kind, items, tenant=tenant, options=options)
        await self._stages.run_dry()
        assert (await self._stages.job(job_id)).status.terminal
        return [view async for view in self._queries.items(tenant, job_id)]

    async def _records(self) -> dict[int, Record]:
        query = select(shelves).where(shelves.c.tenant == self._given.tenant)
        rows = await self._stages.database.read(lambda found: found.execute(query).mappings().all())
        return {row["id"]: {k: _told(v) for k, v in row.items() if k != "tenant"} for row in rows}

    async def _stored(self) -> list[Any]:
        return [
            sorted(await self._stages.rows(f"SELECT * FROM {name}"), key=repr) for name in RECORDS
        ]


def _placed(item: Record, first: int) -> Record:
    keys = ("id", "source", "target")
    return {key: value + first if key in keys else value for key, value in item.items()}


def _told(value: Any) -> Any:
    """A value as a change tells it."""
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, date):
        return str(value)
    return f"{value[:200]}…" if isinstance(value, str) and len(value) > 200 else value


def _foretold(
    before: dict[int, Record], dry: list[ItemView]
) -> tuple[dict[int, Record], list[Any]]:
    """The records after the changes that were told, and the new ones, which have no id yet."""
    records, new = {key: dict(record) for key, record in before.items()}, []
    for view in dry:
        for change in view.changes or ():
            if change["change"] == "inserted":
                new.append(change["after"] | {"version": 1})
                continue
            record = records[change["id"]]
            was = {key: record[key] for key in change["before"]}
            assert (was, record["version"]) == (change["before"], change["version"])
            if change["change"] == "deleted":
                del records[change["id"]]
            else:
                record |= change["after"] | {"version": change["version"] + 1}
    return records, sorted(new, key=repr_of)


def _unnamed(
    after: dict[int, Record], before: dict[int, Record]
) -> tuple[dict[int, Record], list[Any]]:
    new = [
        {key: value for key, value in record.items() if key != "id"}
        for key, record in after.items()
        if key not in before
    ]
    return {key: record for key, record in after.items() if key in before}, sorted(new, key=repr_of)


def repr_of(record: Record) -> str:
    """Orders records."""
    return repr(sorted(record.items()))


def _verdicts(views: list[ItemView]) -> list[tuple[str, str | None, str | None]]:
    said = {ItemStatus.PLANNED: "good", ItemStatus.SUCCEEDED: "good"}
    return [
        (
            said.get(view.status, view.status.value),
            view.error and view.error.code,
            view.error and view.error.pointer,
        )
        for view in views
    ]


@pytest.fixture
def stages(database: Database) -> Stages:
    migrate.create_missing(database, [shelves])
    return Stages(database, Registry(operations))


async def _check(stages: Stages, numbers: range) -> None:
    seen: set[tuple[str, str | None, str | None]] = set()
    for number in numbers:
        dry, real = await Trial(stages, data_set(number)).run()
        assert _verdicts(dry) == _verdicts(real), f"data set {number}"
        seen |= set(_verdicts(dry))
    assert {verdict for verdict, _, _ in seen} == {"good", "failed", "skipped"}
    assert {"record_refused", "version_conflict", "handler_error"} <= {code for _, code, _ in seen}
    dialect = stages.database.read_now(lambda found: found.dialect.name)
    tell("dry runs that were true", len(numbers), database=dialect)


async def test_what_is_said_is_what_happens(stages: Stages) -> None:
    await _check(stages, range(SAMPLE))


@pytest.mark.proof
@pytest.mark.timeout(900)
async def test_what_is_said_is_what_happens_to_many(stages: Stages) -> None:
    await _check(stages, range(SAMPLE, SAMPLE + FULL))
