"""Exit codes and the errors behind them: what a script may rely on.

::

    CountermandError              2, the caller must change something
    ├── Problem                   what the server answered: 2 for 4xx, 3 for what may pass
    ├── Unreachable               3, no server, or none any more
    ├── Stranger                  2, something else answers at the address
    └── Unavailable               3, repeat it later

Output that cannot be written is 4. A pipe whose reader has gone is 141, where it is not a stream
of which somebody has seen enough: a check or a job that was followed may not have gone well.
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
UNWRITTEN = 4
"""Standard output could not be written; what was asked for may be done all the same."""
UNREAD = 141
"""The reader of the output went away: as of a program that SIGPIPE has ended."""

NOT_NOW = frozenset({408, 425, 429})
"""Statuses below 500 that say nothing of the request itself: it may be repeated as it is."""
BROKEN = frozenset({500, 501})
"""What the server cannot do now, it will hardly be able to do in a moment."""


class Unreachable(CountermandError):
    """Nobody answers at the address; ``unheard`` when nobody can have heard what was asked."""

    code = "unreachable"

    def __init__(self, message: str, *, unheard: bool = False) -> None:
        super().__init__(message)
        self.unheard = unheard


class Stranger(CountermandError):
    """What answers at the address is not Countermand, and will not be in a moment."""

    code = "stranger"


@dataclass(frozen=True, slots=True)
class ProblemDetails:
    """RFC 9457, as much of it as the server sends; and what it says in Retry-After."""

    status: int
    title: str
    detail: str = ""
    code: str = ""
    pointer: str = ""
    errors: Sequence[Mapping[str, str]] = field(default_factory=tuple)
    retry_after: float = 0.0

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
    return UNREACHABLE if is_for_later(error) else USAGE


def is_for_later(error: CountermandError) -> bool:
    """Whether the same may go well later, with nothing changed by the caller."""
    if isinstance(error, Problem):
        return error.details.status >= 500 or error.details.status in NOT_NOW
    return isinstance(error, Unreachable | Unavailable)


def is_passing(error: CountermandError) -> bool:
    """Whether it makes sense to ask again in a moment."""
    broken = isinstance(error, Problem) and error.details.status in BROKEN
    return is_for_later(error) and not broken


def is_in_doubt(error: CountermandError) -> bool:
    """Whether what was asked may have been done for all that the error says."""
    if isinstance(error, Unreachable):
        return not error.unheard
    return isinstance(error, Problem) and error.details.status not in NOT_NOW


def retry_after(error: CountermandError | None) -> float:
    """The seconds for which the server asks, zero when it does not."""
    return error.details.retry_after if isinstance(error, Problem) else 0.0
