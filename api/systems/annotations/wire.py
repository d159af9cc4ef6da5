"""Wire: what clients send of a record, and what they are shown of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, create_model

from domain.systems.annotations.kinds import ANNOTATIONS, Kind
from domain.systems.annotations.models import Offsets
from streams.systems.annotations.reading import Row, Rows

_CONFIG = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
_HIDDEN: Final = frozenset({"id", "tenant", "x", "y", "polygon"})
_OF_BOXES: Final = frozenset({"width", "height"})
_DOCUMENTS: Final = frozenset({"metadata", "mapping", "definition", "labels", "severities"})
_TIMES: Final = frozenset({"created_at", "updated_at"})


def _say_no_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


class Deleting(BaseModel):
    """What is to be deleted is said by the path; ``version`` must be its present one."""

    model_config = _CONFIG

    version: Annotated[int, Field(ge=1)] | None = Field(
        default=None, json_schema_extra=_say_no_default
    )


@cache
def new_body(kind: Kind) -> type[BaseModel]:
    """The body of a POST: what a new record is given, but for the project, which the path says."""
    return _counting(kind, _without(kind.new, f"New{kind.one.title()}Body", "project_id"))


@cache
def changed_body(kind: Kind) -> type[BaseModel]:
    """The body of a PATCH: what is to change, and maybe the version that it is meant for."""
    return _counting(kind, _without(kind.changed, f"Changed{kind.one.title()}Body", "id"))


def shown(kind: Kind, row: Row) -> dict[str, Any]:
    """A record as every answer shows it."""
    hidden = _HIDDEN | _OF_BOXES if "x" in row else _HIDDEN
    document: dict[str, Any] = {kind.key: row["id"]}
    document |= {
        name: _value(kind, name, value) for name, value in row.items() if name not in hidden
    }
    if "x" in row:
        document["bbox"] = [row["x"], row["y"], row["width"], row["height"]]
        document["polygon"] = None if row["polygon"] is None else json.loads(row["polygon"])
    return document


def shown_page(kind: Kind, rows: Rows, *, limit: int, offset: int) -> dict[str, Any]:
    """A page of records."""
    items = [shown(kind, row) for row in rows.items]
    return {"items": items, "total": rows.total, "limit": limit, "offset": offset}


def moment(seconds: float | None) -> str | None:
    """Seconds since the epoch as a time; None for what was not yet."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()


def _value(kind: Kind, name: str, value: Any) -> Any:
    if name in _TIMES:
        return moment(value)
    if value is None and name in kind.new.model_fields:
        # What has no value is as new ones are that are given none.
        return kind.new.model_fields[name].get_default()
    return json.loads(value) if name in _DOCUMENTS else value


def _counting(kind: Kind, body: type[BaseModel]) -> type[BaseModel]:
    """Bodies of annotations may say what their offsets count."""
    if kind is not ANNOTATIONS:
        return body
    said: Any = Field(default="code_points", json_schema_extra=_say_no_default)
    return create_model(body.__name__, __base__=body, __doc__=body.__doc__, offsets=(Offsets, said))


def _without(model: type[BaseModel], name: str, field: str) -> type[BaseModel]:
    """The model without one of its fields; what may be left out has no default on the wire."""
    kept: dict[str, Any] = {}
    for each, info in model.model_fields.items():
        if each == field:
            continue
        kind: Any = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
        left_out = ... if info.is_required() else info.get_default()
        kept[each] = (
            kind,
            Field(
                default=left_out,
                discriminator=info.discriminator,
                json_schema_extra=_say_no_default,
            ),
        )
    return create_model(name, __config__=_CONFIG, __doc__=model.__doc__, **kept)
