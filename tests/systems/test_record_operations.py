"""Record operations: three for a declared table, with models, references, stamps and undo."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Date,
    Double,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    PickleType,
    String,
    Table,
    UniqueConstraint,
)

from domain.errors import PluginInvalid
from domain.outcomes import Restored
from domain.record_operations import record_operations
from streams.stores.database import Database
from tests.databases import database, database_url
from tests.systems.bench import NOW, Workbench, document, fault

__all__ = ["database", "database_url"]

metadata = MetaData()
Key = BigInteger().with_variant(Integer, "sqlite")


def _own() -> list[Column[Any]]:
    return [
        Column("id", Key, primary_key=True),
        Column("version", Integer, nullable=False),
        Column("tenant", String(100), nullable=False),
    ]


brands = Table("brands", metadata, *_own(), Column("name", String(10), nullable=False))
products = Table(
    "products",
    metadata,
    *_own(),
    Column("name", String(10), nullable=False),
    Column("brand_id", Key, ForeignKey("brands.id")),
    Column("stock", Integer, nullable=False, default=3),
    Column("kind", String(10), nullable=False, server_default="plain"),
    Column("weight", Double),
    Column("made_on", Date),
    Column("photo", LargeBinary),
    Column("extra", JSON),
    Column("created_by", String(100), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double),
    UniqueConstraint("tenant", "name", name="products_name"),
)


@pytest.fixture
def bench(database: Database) -> Workbench:
    database.write_now(metadata.create_all)
    made = [*record_operations("shop", brands), *record_operations("shop", products)]
    return Workbench(database, made)


def test_a_record_is_made_changed_deleted_and_each_is_undone(bench: Workbench) -> None:
    (brand,) = bench.make("shop.create_brands", [{"name": "acme"}])
    item = {
        "name": "anvil",
        "brand_id": brand,
        "weight": 12.5,
        "made_on": "2024-02-29",
        "photo": "AAEC",
        "extra": {"a": [1, None]},
    }
    (key, bare) = bench.make("shop.create_products", [item, {"name": "rope", "stock": 9}])
    made = bench.rows(products)
    assert made[key]["photo"] == b"\0\1\2"
    assert made[key]["extra"] == {"a": [1, None]}
    assert (made[key]["stock"], made[bare]["stock"]) == (3, 9)
    assert (made[key]["kind"], made[key]["created_by"]) == ("plain", "ada")
    assert made[key]["created_at"] == NOW.timestamp()
    results = bench.work(
        "shop.update_products",
        [{"id": key, "version": 1, "weight": None, "name": "Anvil"}, {"id": bare, "version": 7}],
    )
    assert document(results[0]) == {"id": key, "version": 2}
    assert fault(results[1]) == ("version_conflict", "/version", False)
    changed = bench.rows(products)
    assert changed[key]["updated_at"] == NOW.timestamp()
    assert (changed[key]["weight"], changed[key]["name"]) == (None, "Anvil")
    assert document(bench.work("shop.delete_products", [{"id": bare}])[0])["version"] == 2
    assert bench.undo() == {0: Restored()}
    assert bench.undo(-2) == {0: Restored()}
    assert {k: row | {"version": 1} for k, row in bench.rows(products).items()} == made


def test_one_that_the_database_refuses_fails_alone(bench: Workbench) -> None:
    bench.make("shop.create_products", [{"name": "taken"}])
    items = [{"name": name} for name in ("a", "taken", "b", "c", "c")]
    results = bench.work("shop.create_products", items)
    assert [fault(results[index]) for index in (1, 4)] == [("record_refused", "", True)] * 2
    names = {row["name"] for row in bench.rows(products).values()}
    assert names == {"taken", "a", "b", "c"}
    ids = {row["name"]: key for key, row in bench.rows(products).items()}
    changes = [{"id": ids["a"], "stock": 1}, {"id": ids["b"], "name": "taken"}, {"id": 99_999}]
    results = bench.work("shop.update_products", changes)
    assert document(results[0])["version"] == 2
    assert fault(results[1])[0] == "record_refused"
    assert fault(results[2]) == ("record_not_found", "/id", False)


def test_what_others_refer_to_is_not_deleted(bench: Workbench) -> None:
    used, free = bench.make("shop.create_brands", [{"name": "used"}, {"name": "free"}])
    bench.make("shop.create_products", [{"name": "a", "brand_id": used}])
    results = bench.work("shop.delete_brands", [{"id": used}, {"id": free}])
    assert fault(results[0])[0] == "record_refused"
    assert document(results[1])["id"] == free
    assert set(bench.rows(brands)) == {used}


def test_a_reference_must_be_to_a_record_of_the_tenant(bench: Workbench) -> None:
    (theirs,) = bench.make("shop.create_brands", [{"name": "x"}], tenant="other")
    (own,) = bench.make("shop.create_products", [{"name": "own"}])
    for brand in (theirs, 999_999):
        (result,) = bench.work("shop.create_products", [{"name": "a", "brand_id": brand}])
        assert fault(result) == ("reference_not_found", "/brand_id", True)
        (result,) = bench.work("shop.update_products", [{"id": own, "brand_id": brand}])
        assert fault(result) == ("reference_not_found", "/brand_id", True)
    assert bench.rows(products)[own]["brand_id"] is None


@pytest.mark.parametrize(
    ("item", "pointer"),
    [
        ({}, "/name"),
        ({"name": "a" * 11}, "/name"),
        ({"name": None}, "/name"),
        ({"name": "a", "colour": 1}, "/colour"),
        ({"name": "a", "id": 1}, "/id"),
        ({"name": "a", "tenant": "other"}, "/tenant"),
        ({"name": "a", "created_by": "eve"}, "/created_by"),
        ({"name": "a", "stock": 2**64}, "/stock"),
        ({"name": "a", "photo": "not base64!"}, "/photo"),
    ],
)
def test_the_model_follows_from_the_columns(
    bench: Workbench, item: dict[str, Any], pointer: str
) -> None:
    (result,) = bench.work("shop.create_products", [item])
    assert fault(result) == ("invalid", pointer, False)


def test_operations_are_named_and_described() -> None:
    made = record_operations("shop", products)
    assert [operation.kind for operation in made] == [
        "shop.create_products",
        "shop.update_products",
        "shop.delete_products",
    ]
    assert all(operation.description.endswith(".") for operation in made)
    required = made[0].item.model_json_schema()["required"]
    assert required == ["name"]


def test_decimals_are_bounded_and_unknown_types_refused() -> None:
    exact = Table("exact", MetaData(), *_own(), Column("price", Numeric(6, 2)))
    model = record_operations("shop", exact)[0].item
    assert model.model_validate({"price": "1234.56"}).model_dump() == {"price": Decimal("1234.56")}
    with pytest.raises(ValidationError):
        model.model_validate({"price": "1.234"})
    odd = Table("odd", MetaData(), *_own(), Column("thing", PickleType))
    with pytest.raises(PluginInvalid, match=r"odd\.thing"):
        record_operations("shop", odd)
