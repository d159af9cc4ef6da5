"""Kinds: the records of a project, with what is done with them and the role that it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel
from sqlalchemy import Table

from domain.operation import Operation
from domain.record_operations import record_operations
from domain.systems.annotations import models, tables
from domain.systems.annotations.boxes import create_boxes, delete_boxes, update_boxes
from domain.systems.annotations.changes import delete, update
from domain.systems.annotations.creation import create
from domain.systems.annotations.roles import ProjectRole
from domain.systems.annotations.validation import operations as validation
from domain.systems.annotations.validation import tables as validation_tables

_SYSTEM: Final = "annotations"


@dataclass(frozen=True)
class Kind:
    """A kind of records: one of them, its table, its three operations.

    ``key`` is what its id is called on the wire; ``writing`` is the role that changing one takes;
    ``called`` is what several are called in paths, where that is not the name of their table.
    """

    one: str
    table: Table
    create: Operation
    update: Operation
    delete: Operation
    writing: ProjectRole
    key: str = "id"
    called: str = ""

    @property
    def name(self) -> str:
        """What several are called in histories and reports."""
        return self.table.name

    @property
    def path(self) -> str:
        """What several are called in the path of their project."""
        return self.called or self.name

    @property
    def new(self) -> type[BaseModel]:
        """What a new one is given."""
        return self.create.item

    @property
    def changed(self) -> type[BaseModel]:
        """What may change of one."""
        return self.update.item

    @property
    def operations(self) -> tuple[Operation, Operation, Operation]:
        """What is done with many of them."""
        return self.create, self.update, self.delete


def _kind(one: str, table: Table, writing: ProjectRole, new: Any, changed: Any) -> Kind:
    made = record_operations(_SYSTEM, table, new=new, changed=changed)
    return Kind(one, table, *made, writing=writing, key=f"{one}_id")


ANNOTATIONS: Final = Kind(
    "annotation", tables.annotations, create, update, delete, writing=ProjectRole.ANNOTATOR
)
PROJECTS: Final = _kind(
    "project", tables.projects, ProjectRole.ADMIN, models.NewProject, models.ChangedProject
)
TEXTS: Final = _kind("text", tables.texts, ProjectRole.MANAGER, models.NewText, models.ChangedText)
LABELS: Final = _kind(
    "label", tables.labels, ProjectRole.MANAGER, models.NewLabel, models.ChangedLabel
)
MEMBERS: Final = _kind(
    "member", tables.members, ProjectRole.MANAGER, models.NewMember, models.ChangedMember
)
IMAGES: Final = _kind(
    "image", tables.images, ProjectRole.MANAGER, models.NewImage, models.ChangedImage
)
MAPPINGS: Final = _kind(
    "mapping", tables.mappings, ProjectRole.MANAGER, models.NewMapping, models.ChangedMapping
)
BOXES: Final = Kind(
    "box",
    tables.boxes,
    create_boxes,
    update_boxes,
    delete_boxes,
    writing=ProjectRole.ANNOTATOR,
)
RULES: Final = Kind(
    "rule",
    validation_tables.rules,
    *validation.RULES,
    writing=ProjectRole.MANAGER,
    key="rule_id",
    called="rules",
)
THRESHOLDS: Final = Kind(
    "threshold",
    validation_tables.thresholds,
    *validation.THRESHOLDS,
    writing=ProjectRole.MANAGER,
    key="threshold_id",
    called="thresholds",
)

KINDS: Final = (
    *(ANNOTATIONS, PROJECTS, TEXTS, LABELS, MEMBERS, IMAGES, MAPPINGS, BOXES),
    *(RULES, THRESHOLDS),
)
IN_PROJECTS: Final = tuple(kind for kind in KINDS if kind is not PROJECTS)
"""What belongs to a project."""
