"""Replaying: the events topic from its beginning into jobs, and the jobs as they are stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import text

from domain.job import Job
from domain.jobs import Jobs
from streams.envelope import decode_event
from streams.stores.database import Database
from streams.stores.events import EventRecorder, SnapshotRecorder
from tests.kafka.clients import Client, Message, Reader
from tests.kafka.contract import Contract

FORGED = "lied-about-"
"""How ids begin of jobs of which tests forge events; no replay can tell these from true ones."""


def stored_jobs(database_url: str) -> dict[str, Job]:
    """Every job of the event store but those lied about, by id, as its events say."""
    with Database(database_url) as database:
        jobs = Jobs(EventRecorder(database), SnapshotRecorder(database))
        ids = database.read_now(
            lambda connection: connection.scalars(text("SELECT DISTINCT job_id FROM events")).all()
        )
        return {job_id: jobs.load(job_id) for job_id in ids if not job_id.startswith(FORGED)}


class Replay:
    """Jobs as the topic tells of them; an event that was seen already is passed over."""

    def __init__(self, contract: Contract) -> None:
        self.jobs: dict[str, Job] = {}
        self.seen: list[Message] = []
        self.repeated = 0
        self._contract = contract

    async def read_to(self, reader: Reader, versions: Mapping[str, int]) -> None:
        """Read until each job is as new as that."""
        while behind := {
            job_id: (self._version(job_id), version)
            for job_id, version in versions.items()
            if self._version(job_id) < version
        }:
            try:
                self.take(await reader.next())
            except TimeoutError as error:
                raise AssertionError(f"the topic does not tell all of {behind}") from error

    async def read_repetitions(self, reader: Reader, count: int) -> None:
        """Read until so many events came again."""
        until = self.repeated + count
        while self.repeated < until:
            self.take(await reader.next())

    def take(self, message: Message) -> None:
        """Fold one message; events of a job come in order and without a gap."""
        if (message.key or b"").startswith(FORGED.encode()):
            return
        self._contract.check("events", message.key, message.value)
        self.seen.append(message)
        event = decode_event(message.value)
        assert event is not None
        job = self.jobs.setdefault(event.originator_id, Job(id=event.originator_id))
        if event.originator_version <= job.version:
            self.repeated += 1
            return
        assert event.originator_version == job.version + 1
        job.apply(event)

    def _version(self, job_id: str) -> int:
        return self.jobs[job_id].version if job_id in self.jobs else 0


async def send_again(client: Client, messages: Iterable[Message]) -> int:
    """Send messages once more, as a broker or an outbox may; returns how many."""
    count = 0
    for message in messages:
        await client.send(message)
        count += 1
    return count
