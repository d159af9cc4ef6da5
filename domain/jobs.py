"""Jobs: the event-sourced application. Load, decide, save.

The library's recorders open connections of their own; here the recorder is a port
(:mod:`streams.stores.events`) that writes on the caller's connection, so that events,
chunk rows and the decision are one transaction. Events are stored under short aliases
and a schema number: no class path ever reaches the database.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import orjson
from eventsourcing.application import Application
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    EventStore,
    Mapper,
    StoredEvent,
)
from eventsourcing.utils import Environment

from domain import planning
from domain.errors import JobNotFound, MessageUnreadable, UnsupportedVersion
from domain.events import (
    EVENTS,
    KEEPING,
    UPCASTERS,
    JobEvent,
    JobSnapshot,
    Upcaster,
    upcast,
)
from domain.job import Job

_DAMAGED = (ValueError, TypeError, KeyError, AttributeError)
_UNREADABLE = (*_DAMAGED, UnsupportedVersion)
_STORED_ELSEWHERE = {"originator_id", "originator_version"}


class JobMapper(Mapper[str]):
    """Converts between events and stored bytes, by alias; upcasts what is older."""

    def __init__(
        self,
        events: Mapping[str, type[JobEvent]] = EVENTS,
        upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS,
    ) -> None:
        """A mapper without transcoder: pydantic and orjson do its work."""
        self._events = events
        self._upcasters = upcasters

    def to_stored_event(self, domain_event: DomainEventProtocol[str]) -> StoredEvent:
        """The event's bytes: JSON with its schema number."""
        if not isinstance(domain_event, JobEvent | JobSnapshot):
            raise TypeError(f"{type(domain_event).__name__} is not one of the job's events")
        state = domain_event.model_dump(mode="json", exclude=_STORED_ELSEWHERE)
        state["schema"] = domain_event.schema_number
        return StoredEvent(
            originator_id=domain_event.originator_id,
            originator_version=domain_event.originator_version,
            topic=domain_event.alias,
            state=orjson.dumps(state),
        )

    def to_domain_event(self, stored_event: StoredEvent) -> JobEvent | JobSnapshot:
        """The event; raises UnsupportedVersion for one that a later release wrote."""
        alias = stored_event.topic
        kind = JobSnapshot if alias == JobSnapshot.alias else self._events.get(alias)
        if kind is None:
            raise UnsupportedVersion(f"event {alias!r} is of a later release; upgrade the reader")
        state = orjson.loads(stored_event.state)
        state = upcast(kind, state, int(state.pop("schema", 1)), self._upcasters)
        state["originator_id"] = str(stored_event.originator_id)
        state["originator_version"] = stored_event.originator_version
        return kind.model_validate(state)


def stored_event(mapper: Mapper[str], stored: StoredEvent) -> JobEvent:
    """The event of a job, for readers of the notification log.

    Raises MessageUnreadable for one that is damaged, UnsupportedVersion for one that a
    later release wrote.
    """
    try:
        event = mapper.to_domain_event(stored)
    except _DAMAGED as error:
        raise _damaged(stored, f"{type(error).__name__}: {error}") from error
    if not isinstance(event, JobEvent):
        raise _damaged(stored, "it is no event of a job")
    return event


def _damaged(stored: StoredEvent, reason: str) -> MessageUnreadable:
    place = f"version {stored.originator_version} of job {stored.originator_id}"
    return MessageUnreadable(
        f"{place} ({stored.topic}) is damaged; run `countermand audit verify`: {reason}"
    )


def _known(job_id: str, job: Job | None) -> Job:
    if job is None:
        raise JobNotFound.of(job_id)
    return job


MOST_KEPT = 100
"""Events about the keeping of a job that are read, to see that they are about nothing else."""


class JobRecorder(ApplicationRecorder):
    """The library's recorder, which reads at once what the library reads in two steps."""

    @abstractmethod
    def select_latest(self, originator_id: str, *, lte: int | None = None) -> Sequence[StoredEvent]:
        """The latest snapshot of a job up to version ``lte``, if any, and the events after it."""


class Jobs(Application[str]):
    """All jobs. ``save(job, connection=...)`` appends within the caller's transaction.

    They are read by ``load``; the library's ``repository`` knows of no snapshots here. Fast
    chunks of theirs aim at ``target_ms`` milliseconds.
    """

    name = "Jobs"

    def __init__(
        self,
        events: JobRecorder,
        snapshots: AggregateRecorder,
        *,
        target_ms: float = planning.TARGET_MS,
    ) -> None:
        self._target_ms = target_ms
        self._job_mapper = JobMapper()
        self._recorder = events
        super().__init__()
        self.snapshots: EventStore[str] = EventStore(self.mapper, snapshots)

    @property
    def job_mapper(self) -> JobMapper:
        """The mapper, for readers of the notification log."""
        return self._job_mapper

    def construct_env(self, name: str, env: Mapping[str, str] | None = None) -> Environment:
        """Nothing of the process environment: the recorders are passed in."""
        return Environment(name, dict(env or {}))

    def construct_mapper(self) -> Mapper[str]:
        """Aliases instead of class paths."""
        return self._job_mapper

    def construct_recorder(self) -> ApplicationRecorder:
        """The port that was passed in."""
        return self._recorder

    def construct_event_store(self) -> EventStore[str]:
        """The library's event store over our mapper and recorder."""
        return EventStore(self.mapper, self._recorder)

    def begin(self, job_id: str, *, traceparent: str = "") -> Job:
        """A job that is not stored yet."""
        return self._aimed(Job(id=job_id, traceparent=traceparent))

    def load(self, job_id: str, *, version: int | None = None) -> Job:
        """The job as of now or as of ``version``; raises JobNotFound."""
        job = self._folded(job_id, self._recorder.select_latest(job_id, lte=version), version)
        if version is not None and job.version != version:
            raise JobNotFound(f"job {job_id} has no version {version}; its latest is {job.version}")
        return job

    def load_with_events(self, job_id: str, most: int) -> tuple[Job, list[JobEvent]]:
        """The job as of now, and all its events if they are no more; raises JobNotFound."""
        stored = self._recorder.select_latest(job_id)
        if len(stored) > most or any(each.topic == JobSnapshot.alias for each in stored):
            return self._folded(job_id, stored), []
        events = [stored_event(self._job_mapper, each) for each in stored]
        return self._aimed(_known(job_id, Job.project(None, events))), events

    def _folded(
        self, job_id: str, stored: Sequence[StoredEvent], version: int | None = None
    ) -> Job:
        """From what was read, or from all events when the snapshot in it cannot be read."""
        event = self._job_mapper.to_domain_event
        with suppress(*_UNREADABLE):
            return self._aimed(_known(job_id, Job.project(None, map(event, stored))))
        every = self._recorder.select_events(job_id, lte=version)
        return self._aimed(_known(job_id, Job.project(None, map(event, every))))

    def _aimed(self, job: Job) -> Job:
        job.aim(self._target_ms)
        return job

    def has_gone_on(self, job_id: str, version: int) -> bool:
        """Whether a job's results may be others than at that version: more than kept was asked."""
        since = list(self.events.get(job_id, gt=version, limit=MOST_KEPT))
        return len(since) == MOST_KEPT or not all(isinstance(event, KEEPING) for event in since)

    def take_job_snapshot(self, job: Job, **kwargs: Any) -> None:
        """Store a snapshot; only after the commit of the events that it covers."""
        self.snapshots.put([job.snapshot()], **kwargs)
