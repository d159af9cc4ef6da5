"""A table of a plug-in that is not as declared ends the start, with what to do about it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    inspect,
    text,
)

from domain.errors import PluginInvalid
from domain.operation import Operation, operation
from domain.outcomes import Done, Result
from domain.registry import Registry
from domain.systems.annotations import operations as of_the_platform
from streams.bootstrap import migrated
from streams.stores.database import Database
from tests.databases import database, database_url, sqlite_database

__all__ = ["database", "database_url", "sqlite_database"]


class Item(BaseModel):
    """What no test sends."""

    id: int


def _table(name: str, *more: Column[Any], metadata: MetaData | None = None) -> Table:
    key = BigInteger().with_variant(Integer, "sqlite")
    return Table(
        name,
        MetaData() if metadata is None else metadata,
        Column("id", key, primary_key=True),
        Column("version", Integer, nullable=False),
        Column("tenant", String(100), nullable=False),
        *more,
    )


def _operation(kind: str, *tables: Table) -> Operation:
    @operation(kind, item=Item, tables=tables)
    def touch(_ctx: Any, _item: Item) -> Result:
        """Do nothing."""
        return Done()

    return touch


def _start(database: Database, *tables: Table) -> None:
    """What each process does before anything else, with a plug-in that has the tables."""
    migrated(database, Registry([_operation("shop.touch", *tables)]))


def _refused(database: Database, *tables: Table) -> str:
    with pytest.raises(PluginInvalid) as refusal:
        _start(database, *tables)
    return refusal.value.message


def _run(database: Database, statement: str) -> None:
    database.write_now(lambda connection: connection.execute(text(statement)))


def _names(database: Database) -> list[str]:
    return database.read_now(lambda connection: inspect(connection).get_table_names())


def test_a_column_that_was_declared_later_is_refused_until_it_is_there(database: Database) -> None:
    _start(database, _table("prices", Column("price", Numeric(10, 2))))
    later = (Column("price", Numeric(10, 2)), Column("currency", String(3), server_default="EUR"))
    more = _table("prices", *later)
    said = _refused(database, more)
    assert "prices" in said
    assert "currency" in said
    remedy = "ALTER TABLE prices ADD COLUMN currency VARCHAR(3) DEFAULT 'EUR'"
    assert remedy in said
    _run(database, remedy)
    _start(database, more)


def test_all_that_is_lacking_is_said_at_once(database: Database) -> None:
    _start(database, _table("prices"), _table("stores"))
    wanted = _table("prices", Column("net", Integer), Column("gross", Integer, nullable=False))
    said = _refused(database, wanted, _table("stores", Column("town", Text)))
    assert "ADD COLUMN net INTEGER;" in said
    assert "ADD COLUMN gross INTEGER NOT NULL DEFAULT " in said
    assert "ALTER TABLE stores ADD COLUMN town TEXT" in said


def test_columns_that_nobody_declares_are_left_alone(database: Database) -> None:
    """A table may be one of an application, of which operations change but some columns."""
    computed = "net INTEGER GENERATED ALWAYS AS (version) STORED NOT NULL"
    columns = f"id BIGINT PRIMARY KEY, version INTEGER, tenant VARCHAR(100), {computed}"
    columns += ", note VARCHAR(10), kind VARCHAR(10) DEFAULT 'x' NOT NULL, shop INTEGER NOT NULL"
    if not database.is_sqlite:
        columns += ", number BIGINT GENERATED ALWAYS AS IDENTITY, other SERIAL"
    _run(database, f"CREATE TABLE prices ({columns})")
    _start(database, _table("prices"))


@pytest.mark.parametrize(
    ("there", "declared"),
    [(Text(), Integer()), (Integer(), Text()), (Boolean(), Integer()), (LargeBinary(), String(9))],
)
def test_a_type_that_cannot_be_is_refused_where_types_are_heeded(
    database: Database, there: Any, declared: Any
) -> None:
    _start(database, _table("prices", Column("price", there)))
    other = _table("prices", Column("price", declared))
    if database.is_sqlite:
        _start(database, other)
        return
    said = _refused(database, other)
    kind = declared.compile(dialect=database.engine.dialect)
    assert f"ALTER TABLE prices ALTER COLUMN price TYPE {kind}" in said


def test_a_type_that_may_well_do_is_taken(database: Database) -> None:
    _start(database, _table("prices", Column("a", Integer), Column("b", String(3))))
    _start(database, _table("prices", Column("a", Numeric(8, 2)), Column("b", Text)))
    _start(database, _table("prices", Column("a", BigInteger), Column("b", String(300))))


def test_no_table_is_called_as_one_of_the_engine(database: Database) -> None:
    ours = {name for name in _names(database) if not name.startswith("sqlite_")}
    assert {"owners", "workers", "events", "job_list", "projects", "alembic_version"} <= ours
    taken = set()
    for name in sorted(ours | {"Owners", "sqlite_own"}):
        said = _refused(database, _table(name))
        assert f"table {name}" in said
        taken.add(name)
    assert taken == ours | {"Owners", "sqlite_own"}
    migrated(database, Registry(of_the_platform))


def test_two_plug_ins_have_no_table_of_one_name(database: Database) -> None:
    one, other = _table("things"), _table("things", Column("size", Integer))
    two = [_operation("one.touch", one), _operation("other.touch", other)]
    with pytest.raises(PluginInvalid, match=r"one\.touch and other\.touch .* things") as refusal:
        migrated(database, Registry(two))
    assert "another name" in refusal.value.message
    assert "things" not in _names(database)
    migrated(database, Registry([_operation("one.touch", one), _operation("one.see", one)]))


def test_a_reference_to_a_table_that_nobody_declares(database: Database) -> None:
    metadata = MetaData()
    _table("stores", metadata=metadata)
    prices = _table("prices", Column("store_id", ForeignKey("stores.id")), metadata=metadata)
    said = _refused(database, prices)
    assert "prices.store_id" in said
    assert "stores" in said
    assert "tables=[...]" in said
    assert "prices" not in _names(database)


def test_a_reference_to_a_table_of_another_metadata(database: Database) -> None:
    prices = _table("prices", Column("store_id", ForeignKey("stores.id")))
    said = _refused(database, prices, _table("stores"))
    assert "prices.store_id" in said
    assert "one MetaData" in said
    # Who has made them by other means has no use for what SQLAlchemy would need for that.
    _run(database, "CREATE TABLE stores (id BIGINT PRIMARY KEY)")
    own = "id BIGINT PRIMARY KEY, version INTEGER, tenant VARCHAR(100)"
    _run(database, f"CREATE TABLE prices ({own}, store_id BIGINT REFERENCES stores (id))")
    _start(database, prices)


def test_whatever_the_order_a_table_is_made_after_what_it_refers_to(database: Database) -> None:
    metadata = MetaData()
    stores = _table("stores", metadata=metadata)
    prices = _table("prices", Column("store_id", ForeignKey("stores.id")), metadata=metadata)
    _start(database, prices, stores)
    assert {"prices", "stores"} <= {*_names(database)}


def test_sqlite_tells_no_names_apart_by_their_case(sqlite_database: Database) -> None:
    _run(
        sqlite_database,
        "CREATE TABLE Prices (ID INTEGER PRIMARY KEY, VERSION INTEGER, Tenant TEXT)",
    )
    _start(sqlite_database, _table("prices"))
    assert "net" in _refused(sqlite_database, _table("prices", Column("net", Integer)))
