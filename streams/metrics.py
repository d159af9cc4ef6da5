"""Metrics: what the stages of a process count for Prometheus, in a registry of its own.

Labels are what is installed (topics, operations) and closed sets of ours (codes, causes,
statuses), so there are as many series whatever callers send.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
)
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from streams.stores.chunks import Claimed
from streams.stores.outcomes import OutcomeRow

QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Seconds of what takes milliseconds when all is well."""
LONG = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0)

Counted = Callable[[], Iterable[tuple[str, int]]]
"""A label's values, each with how often it was so far."""


class Metrics:
    """One a process; what a process never does stays at nothing."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._role = Gauge(
            "countermand_process_info",
            "1 of every process, by its role: api, coordinator, worker, or serve for all of them.",
            ("role",),
            registry=self.registry,
        )
        self._handled = self._histogram(
            "countermand_message_seconds",
            "Time from a message to the delivery of all it caused.",
            LONG,
            "topic",
        )
        self._in_flight = Gauge(
            "countermand_messages_in_flight",
            "Messages that are being handled.",
            ("topic",),
            registry=self.registry,
        )
        self._retries = self._counter(
            "countermand_message_retries",
            "Attempts repeated as database or broker were away.",
            "topic",
        )
        self._buried = self._counter(
            "countermand_dead_letters", "Messages sent to the dead-letter topic.", "topic", "code"
        )
        self._chunk = self._histogram(
            "countermand_chunk_seconds", "Work on a chunk.", LONG, "operation"
        )
        self._chunks = self._counter(
            "countermand_chunks", "Chunks whose outcome was stored.", "operation", "cause"
        )
        self._again = self._counter(
            "countermand_chunk_retries",
            "Chunks claimed again after a start without outcome.",
            "operation",
        )
        self._killers = self._counter(
            "countermand_chunk_killers",
            "Chunks that are not begun again as they are: each worker of theirs has died.",
            "operation",
        )
        self._items = self._counter(
            "countermand_items", "Items of closed chunks.", "operation", "status"
        )
        self._append = self._histogram(
            "countermand_append_seconds", "Transactions that append events of a job.", QUICK
        )
        self._events = self._counter("countermand_events_appended", "Events appended.")
        self._ahead = self._gauge(
            "countermand_clock_ahead_seconds",
            "How far this machine's clock is ahead of the database's, where that is too much.",
        )
        self._unwritten = self._gauge(
            "countermand_heads_unwritten", "Signed heads that the disk has not taken yet."
        )
        self._installed = self._gauge(
            "countermand_system_installed", "1 of every system whose jobs are taken.", "system"
        )
        self._worked = self._gauge(
            "countermand_system_worked",
            "1 of every system whose work this process takes.",
            "system",
        )
        self._wanted = self._gauge(
            "countermand_work_wanted",
            "1 of every system with jobs that have work to do, else 0; of coordinators.",
            "system",
        )

    def runs_as(self, role: str) -> None:
        """What this process is."""
        self._role.labels(role).set(1)

    def knows(self, systems: Iterable[str]) -> None:
        """Which systems are installed."""
        for system in systems:
            self._installed.labels(system).set(1)

    def works_on(self, systems: Iterable[str]) -> None:
        """Whose work this process takes."""
        for system in systems:
            self._worked.labels(system).set(1)

    def wants(self, systems: Collection[str], installed: Iterable[str]) -> None:
        """Which of the installed systems have jobs with work to do."""
        for system in installed:
            self._wanted.labels(system).set(system in systems)

    def goes_by(self, ahead: Callable[[], float]) -> None:
        """Show how far the clock of this machine is ahead."""
        self._ahead.set_function(ahead)

    def signs(self, unwritten: Callable[[], int]) -> None:
        """Show how many heads wait for their disk."""
        self._unwritten.set_function(unwritten)

    # -- messages -------------------------------------------------------------------------

    @contextmanager
    def handling(self, topic: str) -> Iterator[None]:
        """While a message is handled."""
        with self._in_flight.labels(topic).track_inprogress(), self._handled.labels(topic).time():
            yield

    def retried(self, topic: str) -> None:
        """What a message needs was away."""
        self._retries.labels(topic).inc()

    def buried(self, topic: str, code: str) -> None:
        """A message went to the dead-letter topic."""
        self._buried.labels(topic, code).inc()

    # -- chunks ---------------------------------------------------------------------------

    def claimed(self, operation: str, chunks: Sequence[Claimed]) -> None:
        """A worker has taken chunks on."""
        again = sum(chunk.starts > 1 for chunk in chunks)
        if again:
            self._again.labels(operation).inc(again)

    def killed(self, operation: str, chunks: int) -> None:
        """Chunks were closed by who found them: who has worked them is dead, and tells nothing."""
        if chunks:
            self._killers.labels(operation).inc(chunks)

    def closed(self, operation: str, chunks: Sequence[Claimed], rows: Sequence[OutcomeRow]) -> None:
        """The outcomes of chunks were stored."""
        causes = {chunk.chunk: chunk.cause.value for chunk in chunks}
        for row in rows:
            closed = row.closed
            cause = causes.get(closed.chunk)
            if cause is not None:
                self._chunks.labels(operation, cause).inc()
            self._chunk.labels(operation).observe(closed.duration_ms / 1000)
            for status in ("succeeded", "failed", "skipped", "rolled_back", "conflict"):
                count = getattr(closed, status)
                if count:
                    self._items.labels(operation, status).inc(count)

    def works_slowly(self, in_flight: Callable[[], int]) -> None:
        """Show how many chunks are worked beyond their messages."""
        gauge = Gauge(
            "countermand_slow_chunks_in_flight",
            "Chunks that are worked in the background.",
            registry=self.registry,
        )
        gauge.set_function(in_flight)

    # -- events ---------------------------------------------------------------------------

    def appended(self, events: int, seconds: float) -> None:
        """A transaction has appended events."""
        if events:
            self._append.observe(seconds)
            self._events.inc(events)

    # -- webhooks -------------------------------------------------------------------------

    def delivers(self, counted: Counted) -> None:
        """Show what has become of webhook deliveries, by outcome."""
        self.registry.register(
            _Counts(
                "countermand_webhook_deliveries",
                "Attempts at webhook deliveries taken and failed; deliveries given up; webhooks "
                "disabled for that.",
                counted,
            )
        )

    # -- how they are made ----------------------------------------------------------------

    def _counter(self, name: str, said: str, *labels: str) -> Counter:
        return Counter(name, said, labels, registry=self.registry)

    def _gauge(self, name: str, said: str, *labels: str) -> Gauge:
        return Gauge(name, said, labels, registry=self.registry)

    def _histogram(self, name: str, said: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(name, said, labels, buckets=buckets, registry=self.registry)


class _Counts(Collector):
    """A counter whose values somebody keeps already."""

    def __init__(self, name: str, said: str, counted: Counted) -> None:
        self._name = name
        self._said = said
        self._counted = counted

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily(self._name, self._said, labels=("outcome",))
        for outcome, count in self._counted():
            family.add_metric((outcome,), count)
        yield family
