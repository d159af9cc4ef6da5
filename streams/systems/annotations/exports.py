"""Exports: the files of finished exports, put together when they are first asked for.

What a job has made of its texts or images waits as parts (:mod:`streams.stores.job_parts`). Of them
a file is written, in their order, and stored in pieces; it can be read once it is whole, and then
the parts go. Who writes the same parts in the same way writes the same pieces: so a process that
dies is followed by the next one that is asked. Of two at once the first to end has made the file,
and the other one, whose parts are gone, takes that.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, cast

import structlog
from sqlalchemy import Connection, select

from domain.errors import FileGone, FileUnfinished
from domain.events import JobStatus
from domain.job import Job
from domain.ports import Clock
from domain.systems.annotations import tables
from domain.systems.annotations.export_documents import unpacked
from domain.systems.annotations.export_terms import Export, write_options, written
from domain.systems.annotations.formats.contract import Format
from domain.systems.annotations.formats.documents import Document
from domain.systems.annotations.outlets import terms_of
from streams.logs import first_line
from streams.stores import job_files
from streams.stores.database import Database
from streams.stores.job_files import JobFile
from streams.stores.job_parts import parts_after, remove_parts
from streams.systems.annotations.keeping import keep
from streams.systems.annotations.numbers import Numbered

log = structlog.get_logger(__name__)

EXPORT: Final = "export"
PARTS_AT_ONCE: Final = 4
FILES_AT_ONCE: Final = 2
"""That are put together by one process at a time."""
MAX_WAITING: Final = 20
WAIT_SECONDS: Final = 20.0
"""How long somebody who asks waits for a file that is being put together."""

_UNSAFE: Final = re.compile(r"[^\w .-]+")


@dataclass(frozen=True, slots=True)
class Order:
    """A file to be made: of which job, how, and of how many documents."""

    job_id: str
    tenant: str
    project_id: int
    operation_id: int
    params: Export
    documents: int
    ended_at: float

    @property
    def form(self) -> Format:
        """The format of the file."""
        return written(self.params.format)


class Exports:
    """Files of exports; ``close`` must be called."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._places = asyncio.Semaphore(FILES_AT_ONCE)
        self._running: dict[str, asyncio.Task[JobFile]] = {}

    async def file(self, found: Numbered, job: Job) -> JobFile:
        """The whole file of an export.

        Raises FileUnfinished while there is none, FileGone when there is none any more.
        """
        whole = await self.known(job)
        if whole is not None:
            return whole
        return await self._waited(self._order(found, job))

    async def known(self, job: Job) -> JobFile | None:
        """The file, if it is there already."""
        return await self._database.read(
            lambda found: job_files.find(found, job.tenant, job.id, EXPORT)
        )

    async def close(self) -> None:
        """Nothing more is put together; what was begun is taken up by whoever is asked next."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _order(self, found: Numbered, job: Job) -> Order:
        """What is to be made of a job that is finished and not too old; see ``file``."""
        require_finished(job)
        ended = job.finished_at or self._clock.now()
        if job.shredded is not None or job.status is JobStatus.ARCHIVED:
            raise FileGone("what the file was made of is destroyed; export again")
        if ended.timestamp() + job_files.MAX_SECONDS < self._clock.now().timestamp():
            raise FileGone("the file of an export goes after 30 days; export again")
        return Order(
            job_id=job.id,
            tenant=job.tenant,
            project_id=found.project_id,
            operation_id=found.operation_id,
            params=terms_of(found.kind, job.spec.params),
            documents=job.counts.succeeded,
            ended_at=ended.timestamp(),
        )

    async def _waited(self, order: Order) -> JobFile:
        task = self._running.get(order.job_id)
        if task is None:
            if len(self._running) >= MAX_WAITING:
                raise FileUnfinished("many files are being put together; ask again in a while")
            task = asyncio.create_task(self._made(order))
            self._running[order.job_id] = task
            task.add_done_callback(partial(self._ended, order.job_id))
        done, _ = await asyncio.wait({task}, timeout=WAIT_SECONDS)
        if not done:
            raise FileUnfinished("the file is being put together; ask again in a while")
        return task.result()

    def _ended(self, job_id: str, task: asyncio.Task[JobFile]) -> None:
        del self._running[job_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("export_not_made", job_id=job_id, error=first_line(str(error)))

    async def _made(self, order: Order) -> JobFile:
        async with self._places:
            file = await self._database.write(partial(self._begun, order))
            if file.size is not None:
                return file  # others have made it since it was looked for
            written_by = _Writing(self._database, order, json.loads(file.about)["labels"])
            whole = await written_by.keep(file)
            if whole is None or written_by.documents != order.documents:
                return await self._of_others(order)
            await self._database.write(partial(_finish, whole))
            return whole

    async def _of_others(self, order: Order) -> JobFile:
        """The file that others have made of the parts; raises FileGone when they were removed."""
        whole = await self._database.write(partial(_left, order))
        if whole is None:
            raise FileGone("what the file was made of is destroyed; export again")
        return whole

    def _begun(self, order: Order, connection: Connection) -> JobFile:
        """The file as it was begun, with the labels as they were then, by order."""
        columns = tables.labels.c
        labels = connection.scalars(
            select(columns.name)
            .where(columns.tenant == order.tenant, columns.project_id == order.project_id)
            .order_by(columns.order, columns.id)
        )
        about: dict[str, Any] = {"labels": list(labels)}
        file = JobFile(
            job_id=order.job_id,
            role=EXPORT,
            tenant=order.tenant,
            project_id=order.project_id,
            name=_name(connection, order),
            media_type=order.form.media_type,
            about=json.dumps(about, ensure_ascii=False),
            created_at=order.ended_at,
        )
        return job_files.begun(connection, file)


class _Writing:
    """The bytes of a file, made in a thread of its own; counts the documents."""

    def __init__(self, database: Database, order: Order, labels: list[str]) -> None:
        self._database = database
        self._order = order
        self._labels = labels
        self.documents = 0

    async def keep(self, file: JobFile) -> JobFile | None:
        """Store what is written; see :func:`.keeping.keep`."""
        loop = asyncio.get_running_loop()
        form, options = self._order.form, write_options(self._order.params, self._labels)
        if form.write is None:
            raise TypeError(f"{form.name} is only read")
        pool = ThreadPoolExecutor(1, thread_name_prefix="export")
        try:
            blocks = form.write(self._documents(), options)
            return await keep(
                self._database, file, blocks, lambda work: loop.run_in_executor(pool, work)
            )
        finally:
            # After what the thread is at.
            pool.shutdown(wait=False)

    def _documents(self) -> Iterator[Document]:
        last = -1
        read = partial(parts_after, job_id=self._order.job_id, limit=PARTS_AT_ONCE)
        while parts := self._database.read_now(partial(read, position=last)):
            for _, data in parts:
                for document in unpacked(data):
                    self.documents += 1
                    yield document
            last = parts[-1][0]


def require_finished(job: Job) -> None:
    """Raise FileUnfinished unless the job has made all that its file is of."""
    if job.options.dry_run:
        raise FileUnfinished("a dry run says what would be lost, and makes no file; export without")
    if not job.status.terminal and job.status is not JobStatus.ARCHIVED:
        raise FileUnfinished(
            f"the export is {job.status.value}, {job.counts.pending} of {job.counts.total} are to "
            "be read; wait until it is completed"
        )
    if job.counts.failed:
        raise FileUnfinished(
            f"{job.counts.failed} of {job.counts.total} could not be read; look at the errors of "
            f"job {job.id} and retry it (POST /api/v1/jobs/{job.id}/retry), or export again"
        )
    if job.status not in (JobStatus.COMPLETED, JobStatus.ARCHIVED):
        raise FileUnfinished(f"the export was {job.status.value}; export again")


def _name(connection: Connection, order: Order) -> str:
    """What the file is called: by the project, the operation and the format."""
    columns = tables.projects.c
    project = connection.scalar(
        select(columns.name).where(columns.id == order.project_id, columns.tenant == order.tenant)
    )
    plain = _UNSAFE.sub("_", cast("str | None", project) or "export").strip(" .") or "export"
    return f"{plain[:100]}-{order.operation_id}{order.form.suffix}"


def _left(order: Order, connection: Connection) -> JobFile | None:
    """A file that is whole; what is left of one that is not is not offered as all of it."""
    job_files.remove_unfinished(connection, order.job_id, EXPORT)
    return job_files.find(connection, order.tenant, order.job_id, EXPORT)


def _finish(file: JobFile, connection: Connection) -> None:
    """It is whole, and its parts are not needed any more."""
    job_files.finish(connection, file, file.size or 0, file.sha256 or "")
    remove_parts(connection, file.job_id)
