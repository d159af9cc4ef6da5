"""Verb: a command to which an empty text says nothing, so that it refuses to be told so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import typer
from typer.core import TyperCommand

MAY_BE_EMPTY: Final = frozenset({"reason", "name", "search", "description", "called"})
"""Options by which nothing is narrowed when they are empty, and the key by which items are called:
that of an item may be empty."""


class Verb(TyperCommand):
    """Refuses what is given empty: it mostly comes of a variable that was never set.

    Taken for an option that was left out it would have a whole batch undone, and not a part.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As any command reads them; raises BadParameter for the first that is empty."""
        said = self.make_parser(ctx).parse_args(args=list(args))[0]
        left = super().parse_args(ctx, args)
        for parameter in self.params:
            _check(parameter, said, ctx)
        return left


def _check(parameter: Any, said: Mapping[str, Any], ctx: Any) -> None:
    """Raise BadParameter for one that was given empty and may not be."""
    may_be = parameter.param_type_name == "option" and parameter.name in MAY_BE_EMPTY
    if _is_empty(said.get(parameter.name)) and not may_be:
        raise typer.BadParameter(
            "it is empty; say what it is to be, or leave it out", ctx=ctx, param=parameter
        )


def _is_empty(said: Any) -> bool:
    """Whether an option that was given, or one of several of its kind, is an empty text."""
    return "" in said if isinstance(said, list | tuple) else said == ""
