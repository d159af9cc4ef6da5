"""Import terms: what may be asked of an import, once it is known which format its file has."""

from __future__ import annotations

from typing import Final

from domain.systems.annotations.export_terms import Refusal
from domain.systems.annotations.formats.contract import Format, Subject
from domain.systems.annotations.formats.mapping import FieldMapping

MAPPED: Final = frozenset(
    {"csv", "doccano", "json", "jsonl", "labelstudio", "labelstudio-images", "xlsx", "xml"}
)
"""Formats whose documents are records, with fields that may be called otherwise."""
SCHEMED: Final = frozenset({"conll", "pascal-voc"})
UNENCODED: Final = frozenset({"xlsx", "yolo"})
"""Formats that say themselves which encoding they have."""


def refusal(
    form: Format,
    *,
    mapping: FieldMapping,
    scheme: str | None,
    encoding: str | None,
    existing: str | None,
) -> Refusal | None:
    """What was asked for that the format has no use for: done without, it would be lost unsaid."""
    if mapping and form.name not in MAPPED:
        known = ", ".join(sorted(MAPPED))
        return f"{form.title} has fields of its own; a mapping is for {known}", "/field_mapping"
    if scheme is not None and form.name not in SCHEMED:
        known = " and ".join(sorted(SCHEMED))
        return f"{form.title} has no schemes, {known} have; leave it out", "/scheme"
    if encoding is not None and form.name in UNENCODED:
        return f"{form.title} has an encoding of its own; leave it out", "/encoding"
    if existing is not None and form.subject is not Subject.IMAGE:
        return f"{form.title} has texts, and no images; leave it out", "/existing_images"
    return None
