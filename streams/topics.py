"""Topics: the only place where their names stand."""

from __future__ import annotations

COMMANDS = "countermand.commands"
OUTCOMES = "countermand.outcomes"
EVENTS = "countermand.events"
DEAD = "countermand.dead"

MAX_MESSAGE_BYTES = 1_000_000


def work(system: str) -> str:
    """The topic of a system's work messages."""
    return f"countermand.work.{system}"
