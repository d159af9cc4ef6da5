"""Rejected rows as a table again, the texts that they are of told apart.

Two that stood apart follow one another in the file of rejects, and would be one when they have
been corrected. So each has a number where the file gives it none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from domain.systems.annotations.formats.contract import ReadOptions
from domain.systems.annotations.formats.documents import Rejected
from domain.systems.annotations.formats.formulas import unguarded
from domain.systems.annotations.formats.mapping import Path
from domain.systems.annotations.formats.rows import Row
from domain.systems.annotations.formats.table import Header, header_of

DOCUMENT: Final = "document"
_ASK: Final = frozenset({"fields_differ", "content_differs"})
"""Faults whose remedy may be another number: there has to be a column for it."""


@dataclass(frozen=True, slots=True)
class Numbering:
    """Where numbers are put: in a first column that is ``added``, or in empty cells of another.

    A column more may make others' tables look like ours, in which a quote before a formula is
    none of the text: there each such quote is ``guarded`` by another.
    """

    added: bool = False
    guarded: bool = False
    place: int | None = None

    def cells(self, cells: Sequence[str], number: int) -> list[str]:
        """What stands in the columns that the file has itself."""
        found = [_kept(cell) for cell in cells] if self.guarded else [*cells]
        if self.place is not None and self.place < len(found) and not found[self.place]:
            found[self.place] = self.filling(number)
        return found

    def filling(self, number: int) -> str:
        """The number of a text whose own cell is empty; no other text of the file has it."""
        return f"rejected-{number}"


def numbering(first: Row, options: ReadOptions, begun: Sequence[Rejected]) -> Numbering:
    """How rejected texts are numbered, by the header of their file and the first two of them."""
    header = header_of(first, options)
    source = options.mapping.get(DOCUMENT)
    if source is not None:
        return Numbering(place=_place(header, source.path if isinstance(source, Path) else ""))
    if DOCUMENT in header.names:
        return Numbering(place=_place(header, DOCUMENT))
    if len(begun) < 2 and not any(piece.code in _ASK for piece in begun):
        return Numbering()
    beside = header_of(replace(first, cells=[DOCUMENT, *first.cells]), options)
    return Numbering(added=True, guarded=beside.guarded and not header.guarded)


def _kept(cell: str) -> str:
    """A cell whose quote is taken off, with another that is."""
    return f"'{cell}" if unguarded(cell) != cell else cell


def _place(header: Header, name: str) -> int | None:
    return header.names.index(name) if name and name in header.names else None
