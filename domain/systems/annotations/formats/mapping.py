"""How the fields of a file and of a document correspond: pure values and what they do.

A mapping names, for each field that is wanted, where it comes from::

    {
        "content": "review.body",
        "key": {"template": "{source}-{id}"},
        "labels": {"constant": ["imported"]},
    }

A plain text is the name of a field (a rename) or, where no field has that name, a path into
nested ones, numbers being places in lists. Fields that no rename takes keep their names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from domain.systems.annotations.formats.json_values import check_numbers, compact

_PLACE = re.compile(r"\{([^{}]*)\}")
MAX_FIELDS = 100
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Path:
    """The field of that name, or the value at that path, its parts set apart by dots."""

    path: str


@dataclass(frozen=True, slots=True)
class Constant:
    """The same value in every document."""

    value: Any


@dataclass(frozen=True, slots=True)
class Template:
    """A text with ``{path}`` where values go; what is absent leaves nothing."""

    template: str


Source = Path | Constant | Template
FieldMapping = Mapping[str, Source]


def parsed_mapping(spec: Mapping[str, Any]) -> dict[str, Source]:
    """A mapping as it came over the wire; raises ValueError, with the remedy."""
    if len(spec) > MAX_FIELDS:
        raise ValueError(f"a field mapping names at most {MAX_FIELDS} fields; name fewer")
    return {name: _source_of(name, source) for name, source in spec.items()}


def renames(columns: Mapping[str, str]) -> dict[str, Source]:
    """A mapping that only renames, from the name in the source by the name that is wanted."""
    return {name: Path(source) for name, source in columns.items()}


def reversed_renames(columns: Mapping[str, str]) -> dict[str, Source]:
    """The mapping that undoes ``renames``."""
    return {source: Path(name) for name, source in columns.items()}


def mapped(record: Mapping[str, Any], mapping: FieldMapping) -> dict[str, Any]:
    """The fields of a record by their wanted names."""
    if not mapping:
        return dict(record)
    found = {name: _value(record, source) for name, source in mapping.items()}
    taken = {source.path for source in mapping.values() if isinstance(source, Path)}
    rest = {name: value for name, value in record.items() if name not in taken}
    return rest | {name: value for name, value in found.items() if value is not _ABSENT}


def lacking(record: Mapping[str, Any], mapping: FieldMapping) -> set[str]:
    """The fields whose templates name something that the record has not."""
    return {
        name
        for name, source in mapping.items()
        if isinstance(source, Template)
        and any(_at(record, path) is _ABSENT for path in _PLACE.findall(source.template))
    }


def by_other_names(source: Source, others: Mapping[str, str]) -> Source:
    """The source with names of fields replaced by those that are given for them."""
    match source:
        case Path(path):
            return Path(others.get(path, path))
        case Template(template):
            return Template(
                _PLACE.sub(lambda place: f"{{{others.get(place[1], place[1])}}}", template)
            )
    return source


def _source_of(name: str, source: Any) -> Source:
    try:
        return source_of(source)
    except ValueError as error:
        raise ValueError(f"field mapping, {name!r}: {error}") from None


def source_of(source: Any) -> Source:
    """Where one field comes from, as it came over the wire; raises ValueError, with the remedy."""
    match source:
        case str():
            return Path(source)
        case {"path": str(path), **rest} if not rest:
            return Path(path)
        case {"constant": value, **rest} if not rest:
            check_numbers(value)
            return Constant(value)
        case {"template": str(template), **rest} if not rest:
            return Template(template)
    raise ValueError(
        'give the name of a field, or one of {"path": …}, {"constant": …}, {"template": …}'
    )


def _value(record: Mapping[str, Any], source: Source) -> Any:
    match source:
        case Path(path):
            return _at(record, path)
        case Constant(value):
            return value
        case Template(template):
            return _PLACE.sub(lambda place: _as_text(_at(record, place[1])), template)


def _at(record: Mapping[str, Any], path: str) -> Any:
    if path in record:
        return record[path]
    value: Any = record
    for part in path.split("."):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return _ABSENT
    return value


def _as_text(value: Any) -> str:
    if value is None or value is _ABSENT:
        return ""
    return compact(value) if isinstance(value, dict | list) else str(value)
