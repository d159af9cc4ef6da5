"""Workshop: where engines are started on copies of a prepared data directory, and judged."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.crash import oracle, promises
from tests.crash.client import BATCHES, JOBS, Answer, Client, Document
from tests.crash.keeper import Keeper, Shell, installed
from tests.crash.oracle import Account, Verdict
from tests.crash.places import Place, SqliteFile
from tests.nursery import Nursery
from tests.services.receiver import ALLOWED

ARCHIVES = "archives"
COUNTERS = 500
_FAULTS = ("Traceback", '"uncaught"', "dead_letter", "message_failed", "chunk_failed")
"""Counters 1 to this stand at 1 in the prepared directory, marked ``seed-0`` and so on."""


@dataclass
class Task:
    """A job that was submitted; ``marks`` are those of its items.

    ``items`` are what the engine said of them, where it cannot be asked again. A job that is
    ``alone`` is no step of a batch. One with a ``source`` has its items from that job, and
    its marks begin with its ``name``: they are known when it has them.
    """

    job_id: str
    marks: Sequence[str]
    records: bool = True
    items: Sequence[Document] | None = None
    alone: bool = True
    source: str = ""
    name: str = ""

    @property
    def is_source(self) -> bool:
        """Whether others may take its results, which are counters that it has made."""
        return bool(self.marks) and self.marks[0].startswith("named")

    @property
    def shared(self) -> bool:
        """Whether others write to its records, whose effects an undo by force takes away."""
        return bool(self.source) or self.marks[0].startswith(("add", "misbehave", "named"))


@dataclass(frozen=True)
class Remains:
    """What there is of slow work: the marks that were noted, and whose results are stored.

    Results are those of an item of a job, by its position.
    """

    noted: Sequence[str]
    stored: Set[tuple[str, int]]


class Caller(Client):
    """Notes from when to when it has waited for each answer, in monotonic seconds."""

    def __init__(self, url: str, *, actor: str = "") -> None:
        super().__init__(url, actor=actor)
        self.waits: list[tuple[float, float]] = []

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While something is waited for."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.waits.append((begun, time.monotonic()))

    def patiently(self, request: Callable[[], Answer]) -> Answer:
        """As any client, and notes how long that was."""
        with self.waiting():
            return super().patiently(request)

    def settle(self, job_id: str, seconds: float = 60.0) -> Document:
        """As any client, and notes how long that was."""
        with self.waiting():
            return super().settle(job_id, seconds)


@dataclass
class Run:
    """An engine at work on a copy, and what it was told to do."""

    keeper: Keeper
    client: Caller
    place: Place
    tasks: list[Task] = field(default_factory=list)
    batches: dict[str, Sequence[Document]] = field(default_factory=dict)
    """The steps of batches, as they were sent, by id; their jobs are tasks."""
    judged: list[Account] = field(default_factory=list)

    def settle(self, job_id: str) -> Document:
        """The job once it has come to rest."""
        return self.client.settle(job_id)

    def submit(
        self,
        operation: str,
        items: Sequence[Mapping[str, Any]],
        *,
        records: bool = True,
        **fields: Any,
    ) -> str:
        """A job whose key is the number of the task."""
        job_id = self.client.submit(f"task-{len(self.tasks)}", operation, items, **fields)
        self.adopt(job_id, items, records=records)
        return job_id

    def adopt(
        self,
        job_id: str,
        items: Sequence[Mapping[str, Any]],
        *,
        records: bool = True,
        alone: bool = True,
    ) -> None:
        """Count a job among the tasks."""
        marks = [item["mark"] for item in items]
        self.tasks.append(Task(job_id, marks, records, alone=alone))

    def submit_batch(self, steps: Sequence[Document]) -> str:
        """A batch whose key is its number."""
        key = f"batch-{len(self.batches)}"
        batch = self.client.ask("POST", BATCHES, {"steps": steps}, key=key, status=202)
        for told, step in zip(batch["steps"], steps, strict=True):
            self.adopt(told["job_id"], step["items"], alone=False)
        self.batches[batch["job_id"]] = steps
        return str(batch["job_id"])

    def apply(self, dry: Task, key: str) -> bool:
        """Whether a job does what a dry run has found; its effects are told by that job then."""
        path = f"{JOBS}/{dry.job_id}/apply"
        answer = self.client.patiently(
            lambda: self.client.once("POST", path, None, {"Idempotency-Key": key})
        )
        if answer.status != 202:
            assert answer.code in ("wrong_state", "plan_applied", "plan_changed", "invalid"), answer
            return False
        dry.records = False
        self.tasks.append(Task(answer.document["job_id"], dry.marks))
        return True

    def note(self, job_id: str) -> None:
        """Take down what became of a job's items, before they are given up."""
        (task,) = [task for task in self.tasks if task.job_id == job_id]
        self.look_up(task)
        task.items = self.client.items(job_id)

    def look_up(self, task: Task) -> None:
        """The marks of a job that has its items from another one, as soon as it has them."""
        if not task.source or task.marks:
            return
        job = self.client.job(task.job_id)
        if job["status"] == "draft" or not job["counts"]["total"]:
            # It takes nothing yet, or was skipped and never will.
            return
        path = f"{JOBS}/{task.job_id}/items?format=items"
        answer = self.client.patiently(lambda: self.client.once("GET", path))
        assert answer.status == 200, answer
        taken = [json.loads(line)["id"] for line in answer.body.splitlines()]
        task.marks = [f"{task.name}-{number}" for number in taken]

    def agrees(self) -> None:
        """The effects so far are those of which the jobs tell, which are at rest.

        To be asked before an undo, behind which there is less to be seen.
        """
        accounts = self.accounts()
        with self.place.opened() as connection:
            verdict = oracle.judge_effects(connection, accounts)
        assert not verdict.faults, verdict

    def remains(self, journal: Path) -> Remains:
        """What there is of slow work, whose handlers note their runs in that journal."""
        with self.place.opened() as connection:
            stored = oracle.stored_results(connection)
        lines = journal.read_text().splitlines() if journal.exists() else []
        return Remains([line.rpartition(" ")[2] for line in lines], stored)

    def cleared(self, job_id: str, seconds: float = 30.0) -> Document:
        """An archived job once it has given up what it was worked with; its file is there."""
        with self.client.waiting():
            self._until_cleared(job_id, seconds)
        job = self.client.job(job_id)
        file = job["archived"]["file"]
        content = (self.keeper.data_dir / ARCHIVES / file["name"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file["sha256"], file
        return job

    def _until_cleared(self, job_id: str, seconds: float) -> None:
        until = time.monotonic() + seconds
        while True:
            with self.place.opened() as connection:
                rows = connection.execute("SELECT job_id, stage FROM archives").fetchall()
            if (job_id, "cleared") in [tuple(row) for row in rows]:
                return
            assert time.monotonic() < until, f"job {job_id} keeps everything: {rows}"
            time.sleep(0.05)

    def accounts(self) -> list[Account]:
        """What the engine says of all that it was told."""
        for task in self.tasks:
            self.look_up(task)
        return [
            Account(
                job=self.client.job(task.job_id),
                marks=task.marks,
                items=self.client.items(task.job_id) if task.items is None else task.items,
                events=self.client.events(task.job_id),
                records=task.records,
            )
            for task in self.tasks
        ]


class Workshop:
    """Makes runs; see the module's docstring."""

    def __init__(self, nursery: Nursery, folder: Path, place: Place | None = None) -> None:
        """``place`` is empty; what is made in it is copied for each run."""
        self.nursery = nursery
        self.folder = folder
        self.template = folder / "template"
        self.place: Place = place or SqliteFile(self.template)
        self._made = 0

    def prepare(self) -> None:
        """Have an engine make the tables and the counters, then the oracle its log."""
        with Keeper(self.nursery, self.template, environment=self.place.environment) as keeper:
            client = Client(keeper.url)
            items = [{"mark": f"seed-{number}"} for number in range(COUNTERS)]
            job = client.settle(client.submit("seed", "crash.create", items))
            assert job["counts"]["succeeded"] == COUNTERS
        with self.place.opened(write=True) as connection:
            oracle.install(connection)
        (self.template / "server.log").unlink()

    @contextmanager
    def running(
        self,
        failpoint: str = "",
        environment: Mapping[str, str] | None = None,
        actor: str = "",
    ) -> Iterator[Run]:
        """A run on a copy of its own, which is kept when it ends in an exception.

        ``actor`` is who its client says to be.
        """
        self._made += 1
        data_dir = Path(shutil.copytree(self.template, self.folder / f"data-{self._made}"))
        place = self.place.copied(data_dir)
        archives = {"COUNTERMAND_ARCHIVE_DIR": str(data_dir / ARCHIVES)}
        settings = {**place.environment, **archives, **ALLOWED, **(environment or {})}
        with Keeper(self.nursery, data_dir, failpoint=failpoint, environment=settings) as keeper:
            yield Run(keeper, Caller(keeper.url, actor=actor), place)
        place.remove()
        shutil.rmtree(data_dir)

    def verdict(self, run: Run) -> Verdict:
        """Stop the engine of a run whose jobs are at rest, and judge what it has left."""
        run.judged = run.accounts()
        whole = [(run.client.job(batch), run.client.events(batch)) for batch in run.batches]
        code = run.keeper.stop()
        with run.place.opened() as connection:
            verdict = oracle.judge(connection, run.judged)
            jobs = oracle.jobs(connection)
        verdict.require(code == 0, f"the engine ended with {code}")
        wanted = 1 + len(run.tasks) + len(run.batches)
        verdict.require(jobs == wanted, "there is a job nobody wanted")
        promises.judge(run.judged, whole, verdict)
        self._judge_log(run.keeper, verdict)
        self._judge_audit(run, verdict)
        return verdict

    def _judge_log(self, keeper: Keeper, verdict: Verdict) -> None:
        for word in _FAULTS:
            verdict.require(word not in keeper.log, f"the log has {word}:\n{keeper.log[-3000:]}")

    def _judge_audit(self, run: Run, verdict: Verdict) -> None:
        data_dir = run.keeper.data_dir
        shell = Shell(self.nursery, data_dir, dict(run.place.environment))
        checked = shell.run("audit", "verify", "--data-dir", str(data_dir))
        verdict.require(checked.returncode == 0, f"audit verify: {checked.stdout}{checked.stderr}")


@contextmanager
def workshop(folder: Path, place: Place | None = None) -> Iterator[Workshop]:
    """A workshop with the crash plug-in installed."""
    path = installed(folder / "site", "crash-plugin", "tests.crash.plugin:operations")
    with Nursery([path]) as nursery:
        made = Workshop(nursery, folder, place)
        made.prepare()
        yield made
