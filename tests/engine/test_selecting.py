"""Filters: what matches at the submit becomes the job's items, of one's own tenant only."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Date,
    DateTime,
    Double,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    PickleType,
    String,
    Table,
    insert,
)

from domain.commands import JobSpec, OpenJob, SubmitJob, UploadedItems
from domain.errors import InvalidCommand, PluginInvalid, SelectionUnconfirmed
from domain.events import JobStatus
from domain.operation import Context, operation
from domain.outcomes import Done, Result
from domain.record_filter import RecordSelection, Where
from domain.registry import Registry
from streams.callers import Caller
from streams.selecting import PAGE, frozen_lines, prepared
from streams.stores import audit, migrate, payloads
from streams.stores.database import Database
from tests.databases import database, database_url, shared_database
from tests.engine.conftest import CALLER, Desk
from tests.engine.stages import Stages
from tests.engine.stock import operations, stock

__all__ = ["database", "database_url", "shared_database"]

WHERE: TypeAdapter[Any] = TypeAdapter(Where)
EMPTY = hashlib.sha256().hexdigest()
A_B = {"op": "in", "column": "name", "values": ["a", "b"]}

metadata = MetaData()
wares = Table(
    "wares",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("tenant", String(100), nullable=False),
    Column("version", Integer, nullable=False),
    Column("name", String(50)),
    Column("pieces", Integer),
    Column("weight", Double),
    Column("price", Numeric(10, 2)),
    Column("sold", Boolean),
    Column("since", Date),
    Column("seen", DateTime(timezone=False)),
    Column("photo", LargeBinary),
    Column("origin", PickleType),
)


class Ware(BaseModel):
    """A ware, maybe with another weight."""

    id: int
    version: int
    weight: float = 0.0


@operation("ware.weigh", item=Ware, tables=[wares], selectable=wares)
def weigh(_ctx: Context, _item: Ware) -> Result:
    """Nothing."""
    return Done()


def _rows(tenant: str, first: int, count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": first + n,
            "tenant": tenant,
            "version": n % 3 + 1,
            "name": ("a", "b", "c'; DROP TABLE wares; --", None)[n % 4],
            "pieces": n % 5 or None,
            "weight": n % 7 / 2,
            "price": Decimal(n % 6) / 4,
            "sold": n % 2 == 0,
            "since": date(2026, 1, n % 9 + 1),
            "seen": datetime(2026, 1, 1, n % 24),  # noqa: DTZ001 - the column has none
            "photo": b"x",
        }
        for n in range(count)
    ]


MINE = _rows("local", 1, 60)


@pytest.fixture
def full(database: Database) -> Database:
    migrate.create_missing(database, [wares])
    rows = [*MINE, *_rows("other", 500, 40)]
    database.write_now(lambda c: c.execute(insert(wares), rows))
    return database


async def _frozen(database: Database, where: Any, **more: Any) -> list[bytes]:
    selection = RecordSelection.model_validate({"table": "wares", "where": where, **more})
    frozen = prepared(weigh, selection, "local")
    blocks = [block async for block in frozen_lines(database, frozen, selection)]
    return b"".join(blocks).splitlines()


SIMPLE: list[tuple[dict[str, Any], Any]] = [
    ({"op": "equals", "column": "name", "value": "a"}, lambda r: r["name"] == "a"),
    ({"op": "equals", "column": "name", "value": None}, lambda r: r["name"] is None),
    (
        {"op": "equals", "column": "name", "value": "c'; DROP TABLE wares; --"},
        lambda r: (r["name"] or "").startswith("c"),
    ),
    ({"op": "in", "column": "pieces", "values": [1, 3]}, lambda r: r["pieces"] in (1, 3)),
    ({"op": "range", "column": "id", "at_least": 10, "below": 20}, lambda r: 10 <= r["id"] < 20),
    ({"op": "range", "column": "weight", "below": 1.5}, lambda r: r["weight"] < 1.5),
    ({"op": "equals", "column": "price", "value": 0.25}, lambda r: r["price"] == Decimal("0.25")),
    ({"op": "equals", "column": "sold", "value": True}, lambda r: r["sold"]),
    (
        {"op": "range", "column": "since", "at_least": "2026-01-08"},
        lambda r: r["since"] >= date(2026, 1, 8),
    ),
    (
        {"op": "range", "column": "seen", "below": "2026-01-01T03:00:00"},
        lambda r: r["seen"].hour < 3,
    ),
    ({"op": "equals", "column": "version", "value": 2}, lambda r: r["version"] == 2),
]


@pytest.mark.parametrize(("where", "holds"), SIMPLE, ids=[str(w["column"]) for w, _ in SIMPLE])
async def test_what_matches_is_frozen_with_its_version(
    full: Database, where: dict[str, Any], holds: Any
) -> None:
    expected = [
        f'{{"id":{row["id"]},"version":{row["version"]}}}'.encode() for row in MINE if holds(row)
    ]
    assert expected
    assert await _frozen(full, where) == expected


async def test_conditions_are_joined_and_each_item_says_more(full: Database) -> None:
    pairs = list(itertools.combinations(range(len(SIMPLE)), 2))
    met = 0
    for first, second in pairs:
        both = {"op": "and", "all": [SIMPLE[first][0], SIMPLE[second][0]]}
        expected = [r["id"] for r in MINE if SIMPLE[first][1](r) and SIMPLE[second][1](r)]
        if not expected:
            with pytest.raises(SelectionUnconfirmed, match=r"no record of wares.*\(of 60\)"):
                await _frozen(full, both)
            continue
        found = await _frozen(full, both, each={"weight": 2.5})
        assert found[0].endswith(b'"weight":2.5}')
        assert len(found) == len(expected)
        met += 1
    assert met > 20


async def test_all_of_them_must_be_meant(full: Database) -> None:
    for where in (None, {"op": "range", "column": "id", "at_least": 1}):
        for unsaid in ({}, {"confirm": "none"}):
            with pytest.raises(SelectionUnconfirmed, match="all 60 records of wares") as refused:
                await _frozen(full, where, **unsaid)
            assert refused.value.pointer == "/select/confirm"
        assert len(await _frozen(full, where, confirm="all")) == 60


async def test_none_of_them_must_be_meant(full: Database) -> None:
    nowhere = {"op": "equals", "column": "name", "value": "z"}
    for unsaid in ({}, {"confirm": "all"}):
        with pytest.raises(SelectionUnconfirmed, match="confirm: none") as refused:
            await _frozen(full, nowhere, **unsaid)
        assert refused.value.pointer == "/select/confirm"
    assert await _frozen(full, nowhere, confirm="none") == []
    some = {"op": "equals", "column": "name", "value": "a"}
    assert len(await _frozen(full, some, confirm="none")) == 15


async def test_pages_are_read_one_by_one(full: Database) -> None:
    more = _rows("local", 1000, 2 * PAGE)
    full.write_now(lambda c: c.execute(insert(wares), more))
    found = await _frozen(full, {"op": "range", "column": "id", "at_least": 1000})
    assert len(found) == 2 * PAGE


async def test_records_of_an_application_are_found_whatever_their_ids_are(full: Database) -> None:
    below = _rows("local", -PAGE, PAGE + 1)
    full.write_now(lambda c: c.execute(insert(wares), below))
    found = await _frozen(full, {"op": "range", "column": "id", "below": 1})
    assert [orjson.loads(line)["id"] for line in found] == [*range(-PAGE, 1)]


REFUSED: list[tuple[Any, str, str]] = [
    ({"op": "equals", "column": "nothing", "value": 1}, "/where/column", "it has: id, version"),
    ({"op": "equals", "column": "tenant", "value": "other"}, "/where/column", "no column"),
    ({"op": "equals", "column": "pieces", "value": "1"}, "/where/value", "valid integer"),
    ({"op": "equals", "column": "pieces", "value": True}, "/where/value", "valid integer"),
    ({"op": "equals", "column": "pieces", "value": 2**64}, "/where/value", "out of range"),
    ({"op": "equals", "column": "name", "value": 7}, "/where/value", "valid string"),
    ({"op": "equals", "column": "name", "value": "\0"}, "/where/value", "NUL"),
    ({"op": "equals", "column": "photo", "value": "x"}, "/where/value", "cannot be filtered"),
    ({"op": "equals", "column": "origin", "value": "x"}, "/where/value", "cannot be filtered"),
    ({"op": "in", "column": "pieces", "values": [1, "x"]}, "/where/values/1", "valid integer"),
    ({"op": "range", "column": "id"}, "/where", "at_least, below or both"),
    (
        {"op": "range", "column": "seen", "below": "2026-01-01T03:00:00Z"},
        "/where/below",
        "has no zone",
    ),
    (
        {"op": "and", "all": [A_B, {"op": "equals", "column": "since", "value": "monday"}]},
        "/where/all/1/value",
        "valid date",
    ),
]


@pytest.mark.parametrize(("where", "pointer", "text"), REFUSED)
def test_what_no_column_can_mean_is_refused(where: Any, pointer: str, text: str) -> None:
    selection = RecordSelection.model_validate({"table": "wares", "where": where})
    with pytest.raises(InvalidCommand, match=text) as refused:
        prepared(weigh, selection, "local")
    assert refused.value.pointer == f"/select{pointer}"


@pytest.mark.parametrize(
    "where",
    [
        {"op": "or", "all": [A_B]},
        {"op": "and", "all": []},
        {"op": "and", "all": [{"op": "and", "all": [A_B]}]},
        {"op": "in", "column": "id", "values": []},
        {"op": "in", "column": "id", "values": [None]},
        {"op": "equals", "column": "id", "value": [1]},
        {"op": "equals", "column": "id", "value": 1, "sql": "1=1"},
        "id = 1",
    ],
)
def test_the_language_is_closed(where: Any) -> None:
    with pytest.raises(ValidationError):
        WHERE.validate_python(where)


@pytest.mark.parametrize(
    ("more", "pointer"),
    [
        ({"table": "stock"}, "/select/table"),
        ({"each": {"id": 7}}, "/select/each/id"),
        ({"each": {"version": 7}}, "/select/each/version"),
        ({"each": {"weight": "heavy"}}, "/select/each/weight"),
    ],
)
def test_a_selection_must_fit_its_operation(more: dict[str, Any], pointer: str) -> None:
    selection = RecordSelection.model_validate({"table": "wares", "where": None} | more)
    with pytest.raises(InvalidCommand) as refused:
        prepared(weigh, selection, "local")
    assert refused.value.pointer == pointer


def test_who_declares_no_table_cannot_be_asked_so() -> None:
    creating = Registry(operations).get("stock.create")
    with pytest.raises(InvalidCommand, match="cannot be asked for by a filter"):
        prepared(creating, RecordSelection(table="stock"), "local")

    class Nameless(BaseModel):
        name: str

    with pytest.raises(PluginInvalid, match="by its id"):
        operation("ware.name", item=Nameless, selectable=wares)(lambda _ctx, _item: Done())


def _spec(names: Sequence[str], *, confirm: str | None = None, **options: Any) -> JobSpec:
    where = {"op": "in", "column": "name", "values": list(names)}
    select = {"table": "stock", "where": where, "each": {"amount": 5}, "confirm": confirm}
    document = {"operation": "stock.add", "select": select, "options": options}
    return JobSpec.model_validate(document)


async def test_a_job_works_what_matched_at_its_submit_and_nothing_else(desk: Desk) -> None:
    things = [{"name": name} for name in ("a", "b", "c", "a")]
    await desk.settle(await desk.submit("stock.create", things))
    gateway = desk.engine.gateway
    job_id = (await gateway.submit_selected(CALLER, _spec("ab"), key="k")).job_id
    job = await desk.settle(job_id)
    assert (job.counts.total, job.counts.succeeded) == (3, 3)
    assert job.spec.select is not None
    await desk.settle(await desk.submit("stock.create", [{"name": "a"}]))
    again = await gateway.submit_selected(CALLER, _spec("ab"), key="k")
    assert again.job_id == job_id, "the same submit, whatever would match by now"
    amounts = "SELECT amount FROM stock ORDER BY id"
    assert await desk.rows(amounts) == [(5,), (5,), (0,), (5,), (0,)]
    with pytest.raises(SelectionUnconfirmed, match="no record of stock matches"):
        await gateway.submit_selected(Caller("other", "eve"), _spec("ab"), key=None)


async def test_a_job_of_nothing_ends_as_it_begins(desk: Desk) -> None:
    await desk.settle(await desk.submit("stock.create", [{"name": "a"}]))
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    gateway, spec = desk.engine.gateway, _spec("z", confirm="none", start_at=tomorrow)
    first = await gateway.submit_selected(CALLER, spec, key="k")
    assert first.job is not None
    assert (first.job.status, first.job.percent) == (JobStatus.COMPLETED, 100.0)
    await desk.settle(await desk.submit("stock.create", [{"name": "z"}]))
    again = await gateway.submit_selected(CALLER, spec, key="k")
    job = await desk.settle(again.job_id)
    assert (again.job_id, job.counts.total, job.percent) == (first.job_id, 0, 100.0)
    assert await desk.rows("SELECT amount FROM stock ORDER BY id") == [(0,), (0,)]
    report = await desk.engine.database.read(
        lambda _: audit.verify(desk.engine.database, None, job_id=job.id)
    )
    assert not report.findings


async def test_a_plan_of_a_selection_is_about_the_records_of_its_dry_run(desk: Desk) -> None:
    await desk.settle(await desk.submit("stock.create", [{"name": "a"}, {"name": "b"}]))
    gateway, plans = desk.engine.gateway, desk.engine.plans
    dry = (await gateway.submit_selected(CALLER, _spec("a", dry_run=True), key=None)).job_id
    await desk.settle(dry)
    spec = await plans.to_apply("local", dry, None)
    job = await desk.settle(
        (await gateway.submit(CALLER, spec, plans.lines("local", dry), key=None)).job_id
    )
    assert job.counts.succeeded == 1


async def test_strangers_cannot_say_that_they_have_looked(database: Database) -> None:
    migrate.create_missing(database, [stock])
    stages = Stages(database, Registry(operations))
    spec = _spec("a")
    job_id = await stages.submit("stock.add", [{"id": 1, "amount": 5}], select=spec.select)
    problem = stages.decisions[f"{job_id}.submit"].problem
    assert problem is not None
    assert problem["pointer"] == "/spec/select"
    opened = await stages.command(OpenJob, stages.ids.new(), spec=spec)
    assert opened.problem is not None


async def test_whoever_sends_the_command_is_asked_whether_nothing_is_meant(
    database: Database,
) -> None:
    """A producer that stores its items and sends the command, past the API."""
    stages = Stages(database, Registry(operations))
    decisions = []
    for confirm in (None, "none"):
        empty = UploadedItems(upload_id=stages.ids.new(), items=0, size=0, sha256=EMPTY)
        database.write_now(lambda c, empty=empty: _upload(c, empty))
        job_id, spec = stages.ids.new(), _spec("z", confirm=confirm)
        decisions.append(await stages.command(SubmitJob, job_id, spec=spec, source=empty))
    refused, taken = decisions
    assert refused.problem is not None
    assert refused.problem["code"] == "selection_unconfirmed"
    assert taken.problem is None


def _upload(connection: Connection, source: UploadedItems) -> None:
    payloads.open_upload(connection, source.upload_id, "local", 0.0)
    payloads.complete_upload(connection, source)


_values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=20)
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(column=st.sampled_from([c.key for c in wares.columns]), value=_values, above=_values)
def test_whatever_is_asked_is_answered_or_refused(
    shared_database: Database, column: str, value: Any, above: Any
) -> None:
    """No value of JSON makes the database raise."""
    migrate.create_missing(shared_database, [wares])
    conditions = [
        {"op": "equals", "column": column, "value": value},
        {"op": "range", "column": column, "at_least": value, "below": above},
    ]
    for where in conditions:
        try:
            selection = RecordSelection.model_validate({"table": "wares", "where": where})
            frozen = prepared(weigh, selection, "local")
        except (ValidationError, InvalidCommand):
            continue
        query = wares.select().where(frozen.matches)
        shared_database.read_now(lambda c, query=query: c.execute(query).all())
