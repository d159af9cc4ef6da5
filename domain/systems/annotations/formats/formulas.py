"""Cells that a spreadsheet would run as a formula, and how to write them so that it does not.

A quote in front makes a cell a text. Reading takes it off again, so that what was written
comes back; a plain negative number is no formula and is left as it is.
"""

from __future__ import annotations

import re

_RUNS = re.compile(r"'*(?:\s*[=+\-@＝＋－＠]|[\t\r\n])")  # noqa: RUF001 - they run, too
_NUMBER = re.compile(r"-[0-9]+(?:\.[0-9]+)?\Z")


def guarded(cell: str) -> str:
    """A cell that no spreadsheet runs."""
    return f"'{cell}" if _RUNS.match(cell) and not _NUMBER.match(cell) else cell


def unguarded(cell: str) -> str:
    """The cell as it was before ``guarded``."""
    if cell.startswith("'") and _RUNS.match(cell) and not _NUMBER.match(cell):
        return cell[1:]
    return cell
