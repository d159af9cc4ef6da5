"""Annotations: labelled spans of texts, in projects. The first system that ships."""

from domain.operation import Operation
from domain.record_operations import record_operations
from domain.systems.annotations import models, tables
from domain.systems.annotations.changes import delete, update
from domain.systems.annotations.creation import create
from domain.systems.annotations.validation import operations as validation

__all__ = ["operations"]

_SYSTEM = "annotations"

operations: tuple[Operation, ...] = (
    create,
    update,
    delete,
    *record_operations(
        _SYSTEM, tables.projects, new=models.NewProject, changed=models.ChangedProject
    ),
    *record_operations(_SYSTEM, tables.texts, new=models.NewText, changed=models.ChangedText),
    *record_operations(_SYSTEM, tables.labels, new=models.NewLabel, changed=models.ChangedLabel),
    *validation.operations,
)
"""All operations of the system, for the entry-point group ``countermand.operations``."""
