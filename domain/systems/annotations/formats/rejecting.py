"""What is rejected of a file, for whatever its reader met in a piece of it."""

from __future__ import annotations

import sqlite3
from typing import Final

from domain.systems.annotations.formats.contract import FileRefused
from domain.systems.annotations.formats.documents import Rejected
from domain.systems.annotations.formats.validity import Unfit

INTERNAL: Final = "internal"
"""The code of what nobody foresaw: one piece that has it costs no other."""
_OF_NO_PIECE: Final = (FileRefused, MemoryError, OSError, sqlite3.Error)


def rejection(line: int, error: Exception, raw: bytes, file: str | None = None) -> Rejected:
    """The piece as rejected for an error that it has made; raises what is no fault of a piece."""
    if isinstance(error, Unfit):
        return Rejected(line, error.code, error.message, raw, file)
    if isinstance(error, _OF_NO_PIECE):
        raise error
    return unforeseen(line, error, raw, file)


def unforeseen(line: int, error: Exception, raw: bytes, file: str | None = None) -> Rejected:
    """The piece as rejected for an error that is a fault of ours."""
    said = (
        f"reading it met a fault of ours ({type(error).__name__}); report that with the piece,"
        " and leave it out until then"
    )
    return Rejected(line, INTERNAL, said, raw, file, cause=error)
