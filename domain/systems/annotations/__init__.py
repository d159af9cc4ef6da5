"""Annotations: labelled spans of texts and boxes of images, in projects.

The first system that ships. :mod:`.kinds` lists its records with what is done with each.
"""

from domain.operation import Operation
from domain.systems.annotations.exporting import export
from domain.systems.annotations.image_exporting import export_images
from domain.systems.annotations.image_importing import import_images
from domain.systems.annotations.importing import import_texts
from domain.systems.annotations.kinds import KINDS
from domain.systems.annotations.validation.validating import validate

__all__ = ["operations"]

operations: tuple[Operation, ...] = (
    *(each for kind in KINDS for each in kind.operations),
    import_texts,
    import_images,
    export,
    export_images,
    validate,
)
"""All operations of the system, for the entry-point group ``countermand.operations``."""
