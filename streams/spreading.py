"""Spreading: to which partition of its topic a work message goes.

A key's hash would give two messages to one worker while another has nothing to do, and with
few in flight that is half of the time. So the next goes to the slot that has the fewest. Which
partitions a slot holds is what its worker last said; where that is wrong by now, the message
is only worked elsewhere: any worker may claim any chunk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from domain.job import Job

Held = Callable[[str], Sequence[Sequence[int]]]
"""The partitions of a topic that each slot holds, as far as that is known."""


@dataclass(frozen=True, slots=True)
class _Sent:
    partition: int
    chunks: tuple[int, ...]


class Spread:
    """Knows what one coordinator has in flight on each partition of work."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self._sent: dict[str, dict[str, list[_Sent]]] = {}
        self._last: dict[tuple[str, int], int] = {}
        self._number = 0

    def place(
        self, topic: str, job_id: str, chunks: Sequence[int], live: Mapping[str, Job]
    ) -> int | None:
        """The partition for work on these chunks, or None: then its key decides.

        ``live`` are the jobs of this process, by whose open chunks it knows what is in flight.
        """
        slots = [partitions for partitions in self._held(topic) if partitions]
        if not slots:
            return None
        loads = self._loads(topic, live)
        slot = min(slots, key=lambda one: self._rank(topic, loads, one))
        partition = min(slot, key=lambda one: self._rank(topic, loads, (one,)))
        self._number += 1
        self._last[topic, partition] = self._number
        of_job = self._sent.setdefault(topic, {}).setdefault(job_id, [])
        of_job.append(_Sent(partition, tuple(chunks)))
        return partition

    def _loads(self, topic: str, live: Mapping[str, Job]) -> Counter[int]:
        """How many messages each partition has in flight; the others are forgotten."""
        left: dict[str, list[_Sent]] = {}
        for job_id, sent in self._sent.get(topic, {}).items():
            job = live.get(job_id)
            open_ones = [one for one in sent if job is not None and _is_open(one, job)]
            if open_ones:
                left[job_id] = open_ones
        self._sent[topic] = left
        return Counter(one.partition for sent in left.values() for one in sent)

    def _rank(
        self, topic: str, loads: Mapping[int, int], partitions: Iterable[int]
    ) -> tuple[int, int]:
        """The fewest first; among equals, the one whose turn was longest ago."""
        load, last = 0, 0
        for partition in partitions:
            load += loads.get(partition, 0)
            last = max(last, self._last.get((topic, partition), 0))
        return load, last


def _is_open(sent: _Sent, job: Job) -> bool:
    return any(chunk in job.open for chunk in sent.chunks)
