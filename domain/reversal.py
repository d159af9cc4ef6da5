"""Reversal: what an undo takes on, and on which terms. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from domain.ranges import Ranges
from domain.values import Value


class Part(Value):
    """Items of a closed chunk that are undone, when not all that stands is."""

    target: int
    items: Ranges


@dataclass(frozen=True, slots=True)
class Terms:
    """How an undo meets what was written since.

    With ``force`` it overwrites the writes of others. When it is ``partial``, a later write
    of the job itself may be one that is not undone with it: then the item waits for that.
    """

    force: bool = False
    partial: bool = False


PLAIN = Terms()
