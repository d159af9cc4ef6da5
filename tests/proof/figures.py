"""Figures: how a test tells what it measured, and how the report finds it again."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINE = re.compile(r"FIGURE (?P<name>[^=]+) = (?P<value>.+?)(?: \((?P<terms>[^()]*)\))?$")


@dataclass(frozen=True, slots=True)
class Figure:
    """Something measured or counted; ``terms`` says under which N and seed."""

    name: str
    value: str
    terms: str = ""

    def __str__(self) -> str:
        return f"FIGURE {self.name} = {self.value}" + (f" ({self.terms})" if self.terms else "")


def tell(name: str, value: object, **terms: object) -> None:
    """Print a figure where the report looks for it, as in ``tell("repeats", 12, N=1000)``."""
    said = ", ".join(f"{term}={found}" for term, found in terms.items())
    print(f"\n{Figure(name, str(value), said)}", flush=True)


def found(output: str) -> list[Figure]:
    """The figures in what a process printed, in order."""
    matches = map(_LINE.search, output.splitlines())
    return [Figure(m["name"], m["value"], m["terms"] or "") for m in matches if m]
