"""Topics: the only place where their names and the size of a message stand."""

from __future__ import annotations

COMMANDS = "countermand.commands"
OUTCOMES = "countermand.outcomes"
EVENTS = "countermand.events"
DEAD = "countermand.dead"

MAX_MESSAGE_BYTES = 1_000_000
MAX_INLINE_BYTES = 900_000
"""Items in one command, as JSON; the rest of the message has room beside them."""
MAX_SPEC_BYTES = 950_000
"""A job, or a batch with its steps, as JSON without items: command and event have more to say."""
LETTER_HEADROOM = 10_000
MAX_LETTER_BYTES = MAX_MESSAGE_BYTES + LETTER_HEADROOM
"""A dead letter is a message and its cause; Kafka's default for a topic is above that."""


def work(system: str) -> str:
    """The topic of a system's work messages."""
    return f"countermand.work.{system}"
