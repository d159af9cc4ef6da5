"""Demo checks: what the demo claims, each claim with what was found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Check:
    """One claim; ``found`` and ``expected`` are texts for people."""

    claim: str
    held: bool
    found: str
    expected: str


@dataclass(slots=True)
class Checks:
    """Collects claims; ``tell`` is called with each as it is made."""

    tell: Callable[[Check], None]
    made: list[Check] = field(default_factory=list)

    def equal(self, claim: str, found: Any, expected: Any) -> bool:
        """Claim that something was found as expected."""
        return self._made(Check(claim, found == expected, _short(found), _short(expected)))

    def holds(self, claim: str, held: bool, found: Any) -> bool:
        """Claim that something holds, of what was found."""
        return self._made(Check(claim, held, _short(found), "that it holds"))

    def _made(self, check: Check) -> bool:
        self.made.append(check)
        self.tell(check)
        return check.held

    @property
    def all_held(self) -> bool:
        """Whether there were any claims, and each of them held."""
        return bool(self.made) and all(check.held for check in self.made)

    def documents(self) -> list[dict[str, Any]]:
        """The claims as JSON values."""
        return [asdict(check) for check in self.made]


def _short(value: Any) -> str:
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return text if len(text) <= 200 else f"{text[:199]}\N{HORIZONTAL ELLIPSIS}"
