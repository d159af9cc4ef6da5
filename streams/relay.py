"""Relay: what is published, to those who read live in this process.

What this process has committed itself it is offered at once. Over Kafka the events topic says
it again, and says all that others commit; the embedded engine publishes only what was not offered.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from eventsourcing.persistence import Recording

from domain.events import ChunksClosed, JobEvent, JobOpened, JobSubmitted, StepsSubmitted
from domain.outcomes import Counts, ItemStatus
from domain.progress import of_event
from domain.ranges import Ranges
from streams.envelope import (
    ItemsProgressed,
    OutcomeMessage,
    Outgoing,
    decode_event,
    decode_outcome,
)
from streams.live import LiveEvent, LiveHub, Placed

KEPT = 1000
STORED_TOGETHER = 8
"""Events of a job that one transaction stores, mostly."""


@dataclass(slots=True)
class _Seen:
    """The last stored event of a job, and what its open chunks have done since."""

    event: JobEvent
    since: dict[int, ItemsProgressed] = field(default_factory=dict)
    closed: Ranges = Ranges()  # noqa: RUF009 - it is never changed
    """Chunks that are closed; they follow one another, so that a long job has few ranges."""
    offered: set[int] = field(default_factory=set)
    """Versions that were not taken from the topic or by the outbox yet."""
    tags: tuple[str, ...] = ()
    """Of the job, when its first event was among those that were seen."""

    def move_on(self, event: JobEvent) -> None:
        """Take a stored event; it counts what its chunks had reported before."""
        if event.originator_version > self.event.originator_version:
            self.event = event
        if isinstance(event, JobSubmitted | JobOpened | StepsSubmitted):
            self.tags = event.spec.tags
        if isinstance(event, ChunksClosed):
            for chunk in event.chunks:
                self.since.pop(chunk.chunk, None)
            self.closed |= Ranges.of(chunk.chunk for chunk in event.chunks)
        if self.event.status.terminal:
            self.since.clear()

    def report(self, message: ItemsProgressed) -> bool:
        """Take a report of an open chunk; one that comes after its end says nothing new."""
        if message.chunk in self.closed or self.event.status.terminal:
            return False
        self.since[message.chunk] = message
        return True


class LiveRelay:
    """Stage on the events and outcomes topics of every process that serves readers."""

    def __init__(self, hub: LiveHub) -> None:
        self._hub = hub
        self._seen: OrderedDict[str, _Seen] = OrderedDict()

    def offer(self, recordings: Iterable[Recording[str]]) -> None:
        """Show what this process has just committed; nobody waits for the topic."""
        for recording in recordings:
            event = recording.domain_event
            if isinstance(event, JobEvent):
                self._hub.beginnings.keep(event)
                self.show_early(event)

    def show_early(self, event: JobEvent) -> None:
        """Show a stored event which the topic has not said yet."""
        self._show(event).offered.add(event.originator_version)

    def last_shown(self, job_id: str) -> int | None:
        """The last version of a job that was shown; None of an unknown one."""
        seen = self._seen.get(job_id)
        return None if seen is None else seen.event.originator_version

    def shown(self, job_id: str, *, before: int) -> int:
        """The last version of a job that was shown; of an unknown one, one not long ``before``.

        Its readers have the rest from the log, where they would look again for what is left out.
        """
        last = self.last_shown(job_id)
        return max(before - STORED_TOGETHER, 0) if last is None else last

    def decode_event(self, value: bytes | None) -> JobEvent | None:
        """The event; None when it was offered before, or this release does not know its kind."""
        return decode_event(value, known=self.take_offered)

    def decode_outcome(self, value: bytes | None) -> OutcomeMessage | None:
        """The outcome message, or None when this release does not know its kind."""
        return decode_outcome(value)

    async def event(self, event: JobEvent | None) -> list[Outgoing]:
        """A stored event was published."""
        if event is not None:
            self._hub.beginnings.heard(event.originator_id, event.originator_version)
            self._show(event)
        return []

    def _show(self, event: JobEvent) -> _Seen:
        job_id = event.originator_id
        seen = self._seen.setdefault(job_id, _Seen(event))
        seen.move_on(event)
        self._seen.move_to_end(job_id)
        while len(self._seen) > KEPT:
            self._seen.popitem(last=False)
        if self._hub.wanted(job_id):
            self._hub.publish(self._hub.shown(event))
        return seen

    def take_offered(self, job_id: str, version: int) -> bool:
        """Whether an event was offered before; it counts once, and is forgotten then."""
        seen = self._seen.get(job_id)
        if seen is None or version not in seen.offered:
            return False
        seen.offered.discard(version)
        return True

    async def outcome(self, message: OutcomeMessage | None) -> list[Outgoing]:
        """Items of a slow chunk were done; shown as progress without an id."""
        if not isinstance(message, ItemsProgressed):
            return []
        seen = self._seen.get(message.job_id)
        if seen is None or not seen.report(message):
            return []
        tenant = seen.event.tenant
        if self._hub.wanted(message.job_id) or self._hub.followed(tenant):
            event = seen.event.model_copy(update={"counts": _with(seen)})
            shown = LiveEvent(message.job_id, None, "progress", of_event(event))
            self._hub.publish(shown)
            self._hub.place(tenant, Placed(shown, None, seen.tags))
        return []


def _with(seen: _Seen) -> Counts:
    """The stored counts plus what open chunks have reported, never below zero pending."""
    counts = seen.event.counts
    for progress in seen.since.values():
        for status in (ItemStatus.SUCCEEDED, ItemStatus.FAILED, ItemStatus.SKIPPED):
            reported = min(getattr(progress, status.value), counts.pending)
            counts = counts.moved(ItemStatus.PENDING, status, reported)
    return counts
