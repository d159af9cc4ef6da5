"""Record filter: which records a job is about, said by their columns. Closed and tiny.

A filter is frozen at the submit: the ids that match become the job's items, with the
versions that were seen. What matches later is no part of the job.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from domain.errors import SelectionUnconfirmed
from domain.values import Unless, Value

MAX_VALUES = 1000
MAX_CONDITIONS = 20
MAX_TEXT = 2000
CONFIRM = "/select/confirm"
"""Where it is said that none or all are meant."""

Column = Annotated[str, Field(min_length=1, max_length=100)]
Known = bool | int | float | Annotated[str, Field(max_length=MAX_TEXT)]


class Equals(Value):
    """The column has this value; null stands for none."""

    op: Literal["equals"]
    column: Column
    value: Known | None


class In(Value):
    """The column has one of these values."""

    op: Literal["in"]
    column: Column
    values: Annotated[tuple[Known, ...], Field(min_length=1, max_length=MAX_VALUES)]


class Range(Value):
    """The column is at least one value, below another, or both."""

    op: Literal["range"]
    column: Column
    at_least: Known | None = None
    below: Known | None = None


Condition = Annotated[Equals | In | Range, Field(discriminator="op")]


class And(Value):
    """All of these hold."""

    op: Literal["and"]
    all: Annotated[tuple[Condition, ...], Field(min_length=1, max_length=MAX_CONDITIONS)]


Where = Annotated[Equals | In | Range | And, Field(discriminator="op")]


class RecordSelection(Value):
    """The records of a table that meet ``where``; all of the tenant's when it is left out.

    Each becomes an item of its id, of its version where the operation's items have one, and
    of what ``each`` says. A selection that may be of all records says ``confirm: all``, one
    that may be of none ``confirm: none``.
    """

    table: Annotated[str, Field(min_length=1, max_length=100)]
    where: Where | None = None
    each: Annotated[dict[str, Any], Field(max_length=100)] = {}  # noqa: RUF012 - pydantic copies it
    confirm: Literal["all", "none"] | None = Unless(None)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """What must hold, one by one."""
        if self.where is None:
            return ()
        return self.where.all if isinstance(self.where, And) else (self.where,)

    def require_confirmed(self, matching: int, there: int | None = None) -> None:
        """Raise SelectionUnconfirmed when none or all of the records match, and that is unsaid.

        ``there`` is how many there are, where anybody has counted.
        """
        if matching == 0 and self.confirm != "none":
            counted = "" if there is None else f" (of {there})"
            raise SelectionUnconfirmed(
                f"no record of {self.table} matches{counted}; change the filter, or say "
                "confirm: none when a job without items is meant then",
                pointer=CONFIRM,
            )
        if 0 < matching == there and self.confirm != "all":
            raise SelectionUnconfirmed(
                f"all {there} records of {self.table} match; narrow the filter, or say "
                "confirm: all when that is meant",
                pointer=CONFIRM,
            )
