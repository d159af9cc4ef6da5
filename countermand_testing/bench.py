"""Bench: run an operation with no server, in a plain function of a plain test.

::

    with Bench(operations, seed=7) as bench:
        bench.run("shop.create_prices", [{"amount": 5}])
        job = bench.run("shop.reprice", [{"id": 1, "amount": 7}])
        assert job.status == "completed"
        assert bench.records(prices)[1]["amount"] == 7
        assert job.undo().status == "rolled_back"

The stages are the engine's own, on a SQLite file in a temporary folder; see
:mod:`countermand_testing.stages`.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Coroutine, Iterable, Mapping
from functools import cache, partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import orjson
from sqlalchemy import Connection, Table, select

from countermand_testing.faults import NONE, Faults, WorkerDiedError
from countermand_testing.stages import BenchStages
from domain.commands import (
    BaseCommand,
    CancelJob,
    InlineItems,
    JobSpec,
    PauseJob,
    ResumeJob,
    RetryJob,
    SubmitJob,
    UndoJob,
)
from domain.job import Job
from domain.operation import Operation
from domain.outcomes import Counts
from domain.registry import Registry
from streams.bootstrap.plugins import prepare
from streams.items import ItemView
from streams.queries import Queries
from streams.stores import migrate
from streams.stores.database import Database, sqlite_url
from streams.stores.decisions import Decision

T = TypeVar("T")
Records = dict[int, dict[str, Any]]
TENANT, ACTOR = "bench", "author"


class Bench:
    """An engine for one test; close it, or use it as a context.

    ``seed`` decides what chance decides: which messages faults happen to, which worker gets
    what. The same seed tells the same story, as far as the operation itself does.
    """

    def __init__(self, operations: Operation | Iterable[Operation], *, seed: int = 0) -> None:
        declared = [operations] if isinstance(operations, Operation) else list(operations)
        self._registry = Registry(declared)
        self._seed = seed
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="countermand-"))
        try:
            path = Path(folder, "countermand.db")
            path.write_bytes(_migrated())
            self._database = self._stack.enter_context(Database(sqlite_url(path)))
            prepare(self._database, self._registry)
            self._runner = self._stack.enter_context(asyncio.Runner())
            self._runner.get_loop().set_exception_handler(_tell_but_deaths)
            self._stages = BenchStages(self._database, self._registry, self._seed)
            self._stack.callback(lambda: self.wait_for(self._stages.close()))
            self._queries = Queries(self._database, self._stages.jobs, self._registry)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def run(
        self,
        kind: str,
        items: Iterable[Any],
        *,
        params: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        faults: Faults = NONE,
    ) -> BenchJob:
        """A job, worked until it is at rest.

        ``options`` as in the API: ``dry_run``, ``chunk_size``, ``atomic`` and so on. Raises
        what the engine refuses a job with, see ``domain.errors``.
        """
        job = self.start(kind, items, params=params, options=options)
        return job.settle(faults)

    def start(
        self,
        kind: str,
        items: Iterable[Any],
        *,
        params: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> BenchJob:
        """A job that was accepted and of which nothing is done yet; see :meth:`BenchJob.step`."""
        fields = {"operation": kind, "params": dict(params or {}), "options": dict(options or {})}
        job_id = self._stages.ids.new()
        self.tell(
            SubmitJob(
                command_id=f"{job_id}.submit",
                job_id=job_id,
                tenant=TENANT,
                actor=ACTOR,
                spec=JobSpec.model_validate_json(orjson.dumps(fields)),
                source=InlineItems(items=tuple(items)),
            )
        )
        return BenchJob(self, job_id)

    def records(self, table: Table) -> Records:
        """All records of a table, by id."""
        return self.wait_for(self._database.read(partial(_records, table)))

    def world(self) -> dict[str, Records]:
        """All records of all tables that the operations declare, by table and id."""
        tables = self._registry.tables
        return {n: self.records(t) for n, t in sorted(tables.items()) if isinstance(t, Table)}

    # -- for jobs and checks -----------------------------------------------------------

    @property
    def stages(self) -> BenchStages:
        """What works."""
        return self._stages

    @property
    def queries(self) -> Queries:
        """What reads."""
        return self._queries

    def operation(self, kind: str) -> Operation:
        """The operation of that kind; raises UnknownOperation when there is none."""
        return self._registry.get(kind)

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine, run by the bench."""
        # Runner.run() would put a handler of SIGINT in place and back, for each of thousands.
        return self._runner.get_loop().run_until_complete(work)

    def tell(self, command: BaseCommand) -> Decision:
        """Have the coordinator decide a command; raises CommandRefused when it says no."""
        return self.wait_for(self._told(command)).accepted()

    async def _told(self, command: Any) -> Decision:
        for message in await self._stages.coordinator.handle(command):
            await self._stages.send(message)
        return self._stages.decisions[command.command_id]


class BenchJob:
    """A job on a bench."""

    def __init__(self, bench: Bench, job_id: str) -> None:
        self._bench = bench
        self.id = job_id

    @property
    def state(self) -> Job:
        """The job itself, as the engine has it."""
        return self._bench.wait_for(self._bench.queries.job(TENANT, self.id))

    @property
    def status(self) -> str:
        """Its status, as the API calls it."""
        return self.state.status.value

    @property
    def counts(self) -> Counts:
        """How many items stand where."""
        return self.state.counts

    @property
    def items(self) -> list[ItemView]:
        """What became of each item, in the order in which they were sent."""
        return self._bench.wait_for(self._items())

    async def _items(self) -> list[ItemView]:
        return [view async for view in self._bench.queries.items(TENANT, self.id)]

    def settle(self, faults: Faults = NONE) -> BenchJob:
        """Work until every job of the bench is at rest."""
        stages = self._bench.stages
        stages.suffer(faults)
        self._bench.wait_for(stages.settle())
        return self

    def step(self, messages: int = 1) -> BenchJob:
        """Deliver so many messages, and no more."""
        for _ in range(messages):
            self._bench.wait_for(self._bench.stages.step())
        return self

    def undo(self, faults: Faults = NONE, **fields: Any) -> BenchJob:
        """Undo it; of a job that is rolled back, undo the undo. ``fields`` as in the API."""
        return self._do(UndoJob, fields).settle(faults)

    def retry(self, faults: Faults = NONE, **fields: Any) -> BenchJob:
        """Work the failed items again."""
        return self._do(RetryJob, fields).settle(faults)

    def cancel(self, **fields: Any) -> BenchJob:
        """Ask it to stop; it has stopped after :meth:`settle`."""
        return self._do(CancelJob, fields)

    def pause(self) -> BenchJob:
        """Ask it to pause; what is in flight ends, or is given back, with the next steps."""
        return self._do(PauseJob, {})

    def resume(self, faults: Faults = NONE) -> BenchJob:
        """Go on after a pause."""
        return self._do(ResumeJob, {}).settle(faults)

    def _do(self, kind: type[BaseCommand], fields: Mapping[str, Any]) -> BenchJob:
        self._bench.tell(
            kind(
                command_id=self._bench.stages.ids.new(),
                job_id=self.id,
                tenant=TENANT,
                actor=ACTOR,
                **fields,
            )
        )
        return self


def _tell_but_deaths(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Tell of what ended a task, unless it was asked for."""
    error = context.get("exception")
    if isinstance(error, BaseExceptionGroup):
        _, error = error.split(WorkerDiedError)
    if error is not None and not isinstance(error, WorkerDiedError):
        loop.default_exception_handler(context)


@cache
def _migrated() -> bytes:
    """An empty database of this release: made once a process, copied for each bench."""
    with tempfile.TemporaryDirectory(prefix="countermand-") as folder:
        path = Path(folder, "countermand.db")
        with Database(sqlite_url(path)) as database:
            migrate.upgrade(database)
        return path.read_bytes()


def _records(table: Table, connection: Connection) -> Records:
    return {row["id"]: dict(row) for row in connection.execute(select(table)).mappings()}
