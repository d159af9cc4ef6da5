"""Values: what commands, options and events are made of."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from domain.ranges import Ranges

WORD = r"^[^\x00-\x1f\x7f]+$"
"""No control characters: PostgreSQL keeps no NUL, and a log line ends with the line."""


class Value(BaseModel):
    """An immutable value with no field but those declared."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def Unless(default: Any) -> Any:  # noqa: N802 - stands where pydantic's Field does
    """A field that is written unless it has its default.

    What came later than others of its kind: who does not use it writes what was written
    before, byte by byte, and who does not know it reads that.
    """
    return Field(default=default, exclude_if=lambda value: value == default)


def Shared(default: Value | Ranges) -> Any:  # noqa: N802 - stands where pydantic's Field does
    """A field whose default never changes, so that all can have the same: pydantic copies it."""
    return Field(default_factory=lambda: default)
