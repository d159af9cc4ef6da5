"""Meters: what the edge counts for Prometheus, in the registry that it is given."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from streams.intake import Memory

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Meters:
    """Counters and gauges; labels have few values, whatever clients send."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._requests = Counter(
            "countermand_http_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "countermand_http_request_seconds",
            "Time from the end of a request, its body included, to the end of its answer, without "
            "live streams, those who would rather wait and those who call too often.",
            ("route",),
            registry=registry,
        )
        self.streams = Gauge(
            "countermand_live_streams", "Live streams that are open.", registry=registry
        )
        self.cut = Counter(
            "countermand_live_streams_cut",
            "Live streams, exports and downloads ended because their client did not read.",
            registry=registry,
        )
        self.ready = Gauge(
            "countermand_ready", "1 when the engine takes work, else 0.", registry=registry
        )
        self.waiting = Gauge(
            "countermand_messages_waiting",
            "Messages on the partitions of this process that were not handled yet.",
            registry=registry,
        )

        self.retained = Gauge(
            "countermand_retention",
            "Jobs for which this process has done it by the rules of retention, or could not.",
            ("act",),
            registry=registry,
        )
        self._memory = Gauge(
            "countermand_worker_memory_bytes",
            "Resident memory of a process that works.",
            registry=registry,
        )
        self._budget = Gauge(
            "countermand_worker_memory_budget_bytes",
            "Resident memory above which its intake waits.",
            registry=registry,
        )
        self._over = Gauge(
            "countermand_worker_over_memory_budget",
            "1 while it has more than its budget, so that what it has in hand comes first.",
            registry=registry,
        )
        self._waits = Counter(
            "countermand_worker_intake_waits",
            "Messages that have waited for memory.",
            registry=registry,
        )
        self._alone = Counter(
            "countermand_worker_taken_over_budget",
            "Messages taken over budget, as nothing else was in hand.",
            registry=registry,
        )
        self._seen = (0, 0)

    def remembers(self, memory: Memory) -> None:
        """Show the memory of a process that works."""
        self._memory.set(memory.used)
        self._budget.set(memory.budget)
        self._over.set(memory.over_since is not None)
        waits, alone = self._seen
        self._waits.inc(memory.waits - waits)
        self._alone.inc(memory.alone - alone)
        self._seen = memory.waits, memory.alone

    def answered(self, method: str, route: str, status: int, seconds: float | None) -> None:
        """Count an answer; ``seconds`` is None for one whose length says nothing."""
        known = method if method in _METHODS else "other"
        self._requests.labels(known, route, str(status)).inc()
        if seconds is not None:
            self._seconds.labels(route).observe(seconds)
