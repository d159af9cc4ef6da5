"""Exit codes and the errors behind them: what a script may rely on.

::

    CountermandError              2, the caller must change something
    ├── Problem                   what the server answered: 2 for 4xx, 3 for 5xx
    ├── Unreachable               3, no server, or none any more
    └── Unavailable               3, repeat it later
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from domain.errors import CountermandError, Unavailable

DONE = 0
FAILED = 1
"""The job failed, was cancelled, or has errors or conflicts; or a check did not hold."""
USAGE = 2
UNREACHABLE = 3


class Unreachable(CountermandError):
    """Nobody answers at the address."""

    code = "unreachable"


@dataclass(frozen=True, slots=True)
class ProblemDetails:
    """RFC 9457, as much of it as the server sends."""

    status: int
    title: str
    detail: str = ""
    code: str = ""
    pointer: str = ""
    errors: Sequence[Mapping[str, str]] = field(default_factory=tuple)

    def sentences(self) -> list[str]:
        """What to tell a person, a line each."""
        named = not self.pointer or self.pointer in self.detail
        where = "" if named else f" (at {self.pointer})"
        lines = [f"{self.title}: {self.detail}{where}" if self.detail else self.title]
        for error in self.errors:
            at = error.get("pointer", "")
            lines.append(f"  {at}: {error.get('detail', '')}" if at else error.get("detail", ""))
        return lines


class Problem(CountermandError):
    """The server refused, or failed; carries its words."""

    code = "problem"

    def __init__(self, details: ProblemDetails) -> None:
        super().__init__("\n".join(details.sentences()), pointer=details.pointer)
        self.details = details


def code_of(error: CountermandError) -> int:
    """The exit code for an error."""
    if isinstance(error, Problem):
        return UNREACHABLE if error.details.status >= 500 else USAGE
    return UNREACHABLE if isinstance(error, Unreachable | Unavailable) else USAGE
