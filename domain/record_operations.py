"""Record operations: create, update and delete for a declared table, for nothing.

Declare a SQLAlchemy table with ``id``, ``version`` and ``tenant``, and have three
operations on it, with undo::

    operations = record_operations("shop", products)

makes ``shop.create_products``, ``shop.update_products`` and ``shop.delete_products``. The
items' models follow from the columns unless they are given. Columns named ``created_by``,
``created_at``, ``updated_by`` and ``updated_at`` (seconds since the epoch) are filled in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from domain.errors import RecordRefused
from domain.operation import Context, Operation, operation
from domain.outcomes import Done, Failed, Result
from domain.record_models import DeclaredTable, changed_model, new_model, references
from domain.records import Change, Deletion, Missing, Stale, WriteResult, Written

_CREATED = ("created_by", "created_at")
_UPDATED = ("updated_by", "updated_at")
_STAMPS = _CREATED + _UPDATED

Values = dict[str, Any]


class DeletedRecord(BaseModel):
    """A record to delete; ``version``, when given, must be its present one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[int, Field(ge=1, le=2**63 - 1)]
    version: Annotated[int, Field(ge=1)] | None = None


def record_operations(
    system: str,
    table: DeclaredTable,
    *,
    new: type[BaseModel] | None = None,
    changed: type[BaseModel] | None = None,
) -> tuple[Operation, Operation, Operation]:
    """Create, update and delete for a table.

    ``new`` has a field for each column that a new record is given; ``changed`` has ``id``,
    ``version``, and a field with a default for each column that may change. What an item
    leaves out is the database's default, or stays as it is.
    """
    return (
        _create(system, table, new or new_model(table, _STAMPS)),
        _update(system, table, changed or changed_model(table, _STAMPS)),
        _delete(system, table),
    )


def write_result(key: int, written: WriteResult, *, asked: int | None, what: str) -> Result:
    """What a write became, as the result of its item; ``what`` names the kind of record."""
    match written:
        case Written(version=version):
            return Done({"id": key, "version": version})
        case Stale(version=version):
            return version_conflict(version, asked=asked)
        case Missing():
            return not_found(key, what)


def not_found(key: int, what: str) -> Failed:
    """There is no such record for this tenant."""
    return Failed("record_not_found", f"{what} has no record {key}; check the id", "/id")


def version_conflict(present: int, *, asked: int | None) -> Failed:
    """The record is at version ``present``; ``asked`` is the version that the item named."""
    if asked is None:
        return Failed(
            "version_conflict", f"the record went to version {present}; retry", retryable=True
        )
    return Failed(
        "version_conflict",
        f"the record is at version {present}, not {asked}; read it again and decide",
        "/version",
    )


def refused(error: RecordRefused, count: int) -> list[Result]:
    """The result of the one item that the database refuses.

    Raises the error itself when there are more: the engine then halves the chunk until
    the item at fault is alone.
    """
    if count > 1:
        raise error
    return [Failed("record_refused", error.message, retryable=True)]


def _create(system: str, table: DeclaredTable, model: type[BaseModel]) -> Operation:
    @operation(
        f"{system}.create_{table.name}",
        item=model,
        per="chunk",
        independent=True,
        tables=[table],
    )
    def create(ctx: Context, items: Sequence[BaseModel]) -> list[Result]:
        values = [_values(table, item) for item in items]
        results: dict[int, Result] = dict(_dangling(ctx, table, values))
        groups: dict[tuple[str, ...], list[int]] = {}
        for index, row in enumerate(values):
            if index not in results:
                groups.setdefault(tuple(row), []).append(index)
        try:
            for columns, members in groups.items():
                stamps = _stamps(ctx, table, _CREATED, columns)
                rows = [(*values[index].values(), *stamps.values()) for index in members]
                positions = [ctx.positions[index] for index in members]
                ids = ctx.store.insert(table, (*columns, *stamps), rows, positions)
                results |= {
                    index: Done({"id": key}) for index, key in zip(members, ids, strict=True)
                }
        except RecordRefused as error:
            return refused(error, len(items))
        return [results[index] for index in range(len(items))]

    return _described(create, f"Create {table.name}.")


def _update(system: str, table: DeclaredTable, model: type[BaseModel]) -> Operation:
    @operation(
        f"{system}.update_{table.name}",
        item=model,
        per="chunk",
        tables=[table],
        selectable=table,
    )
    def update(ctx: Context, items: Sequence[Any]) -> list[Result]:
        values = [_values(table, item) for item in items]
        results: dict[int, Result] = dict(_dangling(ctx, table, values))
        members = [index for index in range(len(items)) if index not in results]
        changes = []
        for index in members:
            stamps = _stamps(ctx, table, _UPDATED, values[index])
            item, position = items[index], ctx.positions[index]
            changes.append(Change(item.id, values[index] | stamps, item.version, position))
        try:
            written = ctx.store.update(table, changes)
        except RecordRefused as error:
            return refused(error, len(items))
        for index, result in zip(members, written, strict=True):
            item = items[index]
            results[index] = write_result(item.id, result, asked=item.version, what=table.name)
        return [results[index] for index in range(len(items))]

    return _described(update, f"Change {table.name}.")


def _delete(system: str, table: DeclaredTable) -> Operation:
    @operation(
        f"{system}.delete_{table.name}",
        item=DeletedRecord,
        per="chunk",
        tables=[table],
        selectable=table,
    )
    def delete(ctx: Context, items: Sequence[DeletedRecord]) -> list[Result]:
        deletions = [
            Deletion(item.id, item.version, position)
            for item, position in zip(items, ctx.positions, strict=True)
        ]
        try:
            written = ctx.store.delete(table, deletions)
        except RecordRefused as error:
            return refused(error, len(items))
        return [
            write_result(item.id, result, asked=item.version, what=table.name)
            for item, result in zip(items, written, strict=True)
        ]

    return _described(delete, f"Delete {table.name}; refused while other records refer to one.")


def _described(made: Operation, description: str) -> Operation:
    return replace(made, description=description)


def _values(table: DeclaredTable, item: BaseModel) -> Values:
    """What an item sets, by column; documents become text where the column holds text."""
    given = {key: getattr(item, key) for key in type(item).model_fields}
    return {
        key: _stored(table, key, value)
        for key, value in given.items()
        if key in item.model_fields_set and key not in ("id", "version")
    }


def _stored(table: DeclaredTable, key: str, value: Any) -> Any:
    if isinstance(value, dict | list) and table.columns[key].type.python_type is str:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return value


def _stamps(
    ctx: Context, table: DeclaredTable, names: Sequence[str], given: Sequence[str] | Values
) -> Values:
    """Who and when, for the columns that the table has and the item does not set."""
    by, at = names
    stamps = {by: ctx.actor, at: ctx.clock.now().timestamp()}
    known = table.columns.keys()
    return {key: value for key, value in stamps.items() if key in known and key not in given}


def _dangling(
    ctx: Context, table: DeclaredTable, values: Sequence[Mapping[str, Any]]
) -> dict[int, Failed]:
    """Items that refer to a record which is not there, or is another tenant's."""
    faults: dict[int, Failed] = {}
    for key, target in references(table).items():
        wanted = {row[key] for row in values if row.get(key) is not None}
        there = ctx.store.fetch(target, sorted(wanted), ["id"])
        for index, row in enumerate(values):
            reference = row.get(key)
            if reference is not None and reference not in there:
                faults[index] = Failed(
                    "reference_not_found",
                    f"{target.name} has no record {reference}; create it, then retry",
                    f"/{key}",
                    retryable=True,
                )
    return faults
