"""Outlets: by which operation texts and images go out as files, and with which parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from domain.operation import Operation
from domain.systems.annotations.export_terms import Export
from domain.systems.annotations.exporting import export
from domain.systems.annotations.formats.contract import Subject
from domain.systems.annotations.image_exporting import ImageExport, export_images


@dataclass(frozen=True)
class Outlet:
    """How what a format holds goes out."""

    operation: Operation
    params: type[Export]


OUTLETS: Final[Mapping[Subject, Outlet]] = MappingProxyType(
    {
        Subject.TEXT: Outlet(export, Export),
        Subject.IMAGE: Outlet(export_images, ImageExport),
    }
)
KINDS: Final = tuple(each.operation.kind for each in OUTLETS.values())
"""The operations that make files."""


def terms_of(kind: str, params: Mapping[str, Any]) -> Export:
    """The parameters of an export, whichever it is."""
    models = {each.operation.kind: each.params for each in OUTLETS.values()}
    return models[kind].model_validate(dict(params))
