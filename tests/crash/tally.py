"""Tally: what random walks over processes have seen."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    """What the walks have seen."""

    steps: int = 0
    walks: int = 0
    kills: int = 0
    """Of an engine that lived."""
    lives: int = 0
    unanswered: int = 0
    effects: int = 0
    actions: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    items: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        return (
            f"{self.steps:,} steps in {self.walks} walks, {self.lives} lives, {self.kills} kills, "
            f"{self.unanswered} requests without answer, {self.effects:,} effects; "
            f"{told(self.actions)}; jobs: {told(self.statuses)}; items: {told(self.items)}"
        )


def told(counted: Counter[str]) -> str:
    """As words: each name with its count."""
    return ", ".join(f"{name} {count}" for name, count in sorted(counted.items()))
