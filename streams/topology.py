"""Topology: the stages of the flow, in its order, and the topic that each one reads.

A message's way through the engine reads from top to bottom::

    gateway -> COMMANDS -> coordinator -> work(system) -> worker -> OUTCOMES
                  ^                                         |
                  +---------- hint to look -----------------+
    coordinator -> event store -> outbox -> EVENTS -> live

:mod:`streams.agents` binds each stage's function to its topic; nothing else does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from streams import topics


class StageName(StrEnum):
    """The stages that read a topic; also the names of their consumer groups."""

    COORDINATOR = "countermand-coordinator"
    WORKER = "countermand-worker"
    LIVE = "countermand-live"


@dataclass(frozen=True, slots=True)
class Stage:
    """Who reads which topics; ``everyone`` has each process read all messages."""

    name: StageName
    topics: tuple[str, ...]
    everyone: bool = False


def stages(systems: Sequence[str]) -> tuple[Stage, ...]:
    """All stages, in the order of the flow."""
    return (
        Stage(StageName.COORDINATOR, (topics.COMMANDS,)),
        Stage(StageName.WORKER, tuple(topics.work(system) for system in systems)),
        Stage(StageName.LIVE, (topics.EVENTS, topics.OUTCOMES), everyone=True),
    )


def all_topics(systems: Sequence[str]) -> list[str]:
    """Every topic, in the order of the flow."""
    named = [topic for stage in stages(systems) for topic in stage.topics]
    return [*dict.fromkeys([*named, topics.DEAD])]
