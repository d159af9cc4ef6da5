"""Load: jobs that are submitted, steered and waited for, and the judgement of what came of them."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.chaos.plugin import released, undone
from tests.chaos.stack import Stack
from tests.crash import oracle, promises
from tests.crash.client import BATCHES, JOBS, Client, Document
from tests.crash.oracle import Account, Verdict
from tests.proof.figures import tell

CREATE = "chaos.create"
ORDER = "chaos.order"
WAIT = "crash.wait"
NAMED_WITHIN = 5.0
"""Seconds in which a job must say why it stands still."""
READ_WITHIN = 0.3
"""What it may take to read that."""
WORKED_WITHIN = 60.0
"""Seconds in which a part of a job is done."""
EARLIER = 0
"""Instead of a process where an earlier release noted a slow item: it says the mark alone."""
_FAULTS = (
    *("Traceback", '"uncaught"', "dead_letter"),
    *("message_failed", "chunk_failed", "job_left"),
)
"""Words of the logs that no fault of the world excuses."""


@dataclass(frozen=True)
class Task:
    """A job whose submission was acknowledged, as the journal has it.

    ``notes`` is where its handler notes its runs; ``records`` says whether it writes any,
    ``fitful`` whether its items fail at random and are tried again.
    """

    key: str
    job_id: str
    marks: Sequence[str]
    notes: Path
    records: bool = True
    fitful: bool = False


def told_twice(told: Iterable[tuple[str, str]]) -> list[str]:
    """The jobs that several submissions were told, as sentences."""
    keys: dict[str, list[str]] = {}
    for key, job_id in told:
        keys.setdefault(job_id, []).append(key)
    return [
        f"the submissions {', '.join(several)} were told the same job {job_id}"
        for job_id, several in keys.items()
        if len(several) > 1
    ]


def left_behind(runs: Iterable[tuple[int, str]]) -> Counter[int]:
    """By process, its runs after which the handler ran again for the same item."""
    again: Counter[int] = Counter()
    last: dict[str, int] = {}
    for process, mark in runs:
        if mark in last:
            again[last[mark]] += 1
        last[mark] = process
    return again


@dataclass
class Load:
    """What is asked of a stack, and what has come of it."""

    stack: Stack
    client: Client
    tasks: dict[str, Task] = field(default_factory=dict)
    batches: dict[str, Sequence[Document]] = field(default_factory=dict)
    """The steps of batches, as they were sent, by id; their jobs are tasks."""
    told: list[tuple[str, str]] = field(default_factory=list)
    """The key of each submission, and the job that it was told."""
    noted_items: dict[str, list[Document]] = field(default_factory=dict)
    """What was said of items that can be asked for no more."""
    _read: dict[str, Account] = field(default_factory=dict)

    @classmethod
    def on(cls, stack: Stack) -> Load:
        """A new one."""
        return cls(stack, stack.client())

    @property
    def items(self) -> int:
        """How many were submitted."""
        return sum(len(task.marks) for task in self.tasks.values())

    # -- asking -------------------------------------------------------------------------

    def submit(
        self,
        count: int,
        *,
        ms: float = 0.0,
        slow: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> str:
        """A job of so many items, each of which takes so many milliseconds."""
        key, notes = self._new()
        marks = [f"{key}-{number}" for number in range(count)]
        items = [{"mark": mark, "ms": int(ms) if slow else ms} for mark in marks]
        operation = WAIT if slow else CREATE
        params = {"journal" if slow else "notes": str(notes)}
        fields = {"params": params, **({"options": dict(options)} if options else {})}
        job_id = self.client.submit(key, operation, items, **fields)
        return self._adopt(Task(key, job_id, marks, notes, records=not slow))

    def submit_held(self, count: int, *, ms: float) -> str:
        """As ``submit``, and the last third is not worked before ``half_way`` is over."""
        key, notes = self._new()
        marks = [f"{key}-{number}" for number in range(count)]
        free = count - count // 3
        items = [{"mark": mark, "ms": ms, "held": n >= free} for n, mark in enumerate(marks)]
        job_id = self.client.submit(key, CREATE, items, params={"notes": str(notes)})
        return self._adopt(Task(key, job_id, marks, notes))

    def submit_fitful(self, count: int) -> str:
        """A job whose items fail now and then; it tries them again, and stops at some number."""
        key, notes = self._new()
        marks = [f"{key}-{number}" for number in range(count)]
        fields = {
            "params": {"notes": str(notes), "fails": 0.2},
            "options": {
                "retry": {"attempts": 4, "delay": 0.5, "cap": 4},
                "tolerate": [{"failed": 3}],
            },
        }
        items = [{"mark": mark} for mark in marks]
        job_id = self.client.submit(key, CREATE, items, **fields)
        return self._adopt(Task(key, job_id, marks, notes, fitful=True))

    def submit_whimsical(self, count: int, options: Mapping[str, Any]) -> str:
        """A job of which more is said than its items; its handler may run more than once."""
        key, notes = self._new()
        marks = [f"{key}-{number}" for number in range(count)]
        items = [{"mark": mark} for mark in marks]
        params = {"notes": str(notes)}
        job_id = self.client.submit(key, CREATE, items, params=params, options=dict(options))
        return self._adopt(Task(key, job_id, marks, notes, fitful=True))

    def submit_order(self, count: int, *, chunk_size: int) -> tuple[str, Path]:
        """A job with an effect outside for each item, and where it is noted what is taken back."""
        key, notes = self._new()
        marks = [f"{key}-{number}" for number in range(count)]
        items = [{"mark": mark} for mark in marks]
        fields = {"params": {"notes": str(notes)}, "options": {"chunk_size": chunk_size}}
        job_id = self.client.submit(key, ORDER, items, **fields)
        return self._adopt(Task(key, job_id, marks, notes, fitful=True)), undone(notes)

    def submit_batch(self, steps: Sequence[Document]) -> str:
        """A batch, whose jobs are tasks; steps are as they are sent."""
        key, notes = f"batch-{len(self.batches) + 1}", self.stack.folder / "batches.notes"
        sent = [{**step, "params": {"notes": str(notes)}} for step in steps]
        batch = self.client.ask("POST", BATCHES, {"steps": sent}, key=key, status=202)
        for number, step in enumerate(batch["steps"]):
            marks = [item["mark"] for item in steps[number]["items"]]
            self._adopt(Task(f"{key}-{number}", step["job_id"], marks, notes, fitful=True))
        self.batches[batch["job_id"]] = steps
        self.told.append((key, batch["job_id"]))
        return str(batch["job_id"])

    def apply(self, dry: str, key: str) -> str | None:
        """The job that does what a dry run has found, whose effects it tells from now on."""
        path = f"{JOBS}/{dry}/apply"
        answer = self.client.patiently(
            lambda: self.client.once("POST", path, None, {"Idempotency-Key": key})
        )
        if answer.status != 202:
            assert answer.code in ("wrong_state", "plan_applied", "invalid"), answer
            return None
        task = self.tasks[dry]
        self.tasks[dry] = replace(task, records=False)
        return self._adopt(replace(task, key=key, job_id=answer.document["job_id"]))

    def submit_in_parts(self, parts: int) -> str:
        """A draft whose items come one by one, so that it has as many versions."""
        key, notes = self._new()
        marks = [f"{key}-{number}" for number in range(parts)]
        body = {"operation": CREATE, "draft": True, "params": {"notes": str(notes)}}
        job_id = self.client.ask("POST", JOBS, body, key=key, status=202)["job_id"]
        for part, mark in enumerate(marks):
            path = f"{JOBS}/{job_id}/items?part={part}"
            self.client.ask("POST", path, [{"mark": mark}], status=202)
        path, sealed = f"{JOBS}/{job_id}/seal", {"items": parts}
        self.client.ask("POST", path, sealed, key=f"seal-{key}", status=202)
        return self._adopt(Task(key, job_id, marks, notes))

    def _new(self) -> tuple[str, Path]:
        # Were it the number of jobs, a job that is told twice would have its key used again.
        key = f"job-{len(self.told) + 1}"
        return key, self.stack.folder / f"{key}.notes"

    def _adopt(self, task: Task) -> str:
        self.tasks[task.job_id] = task
        self.told.append((task.key, task.job_id))
        return task.job_id

    def done(self, job_id: str, seconds: float) -> Document:
        """The job once it has come to rest, which it must within the time."""
        try:
            return self.client.settle(job_id, seconds)
        except AssertionError as stuck:
            stuck.add_note(self._stuck(job_id))
            raise

    def _stuck(self, job_id: str) -> str:
        """What the stores say of a job that does not come to rest."""
        with self.stack.opened() as connection:
            said = [
                *connection.execute("SELECT * FROM job_control WHERE job_id = %s", [job_id]),
                *connection.execute(
                    "SELECT chunk, cause, epoch, attempt, starts, worker, claim_by, lease_until, "
                    "items FROM chunks WHERE job_id = %s AND open ORDER BY chunk LIMIT 20",
                    [job_id],
                ),
                *connection.execute("SELECT * FROM grants LIMIT 100"),
            ]
        return "\n".join([f"at {time.time():.1f}", *map(str, said)])

    def all_done(self, job_id: str, seconds: float) -> None:
        """As ``done``, and all of its items have succeeded."""
        job = self.done(job_id, seconds)
        assert job["counts"]["succeeded"] == len(self.tasks[job_id].marks), job

    def put_away(self, job_id: str, seconds: float) -> None:
        """Archive a job; returns once its items are in a file, with whose digest the job agrees."""
        self.noted_items[job_id] = self.client.items(job_id)
        self.client.command(job_id, "archive", f"archive-{job_id}")
        until = time.monotonic() + seconds
        while (file := self.client.job(job_id)["archived"]["file"]) is None:
            assert time.monotonic() < until, f"nobody has written the file of job {job_id}"
            time.sleep(0.05)
        content = (self.stack.archives / file["name"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file["sha256"], file

    @contextmanager
    def half_way(self, job_id: str) -> Iterator[None]:
        """While a third of a held job is done at least, and its last third is not.

        However late this process is told of it: what is done inside meets a job under way.
        """
        self._worked(job_id, 1 / 3)
        try:
            yield
        finally:
            released(self.tasks[job_id].notes).touch()

    def recovered(self, disturbance: AbstractContextManager[None], patience: float) -> float:
        """Seconds from the end of a disturbance to the end of the job that it met half way.

        It has begun when it is entered, and is over, or is ended, when it is left.
        """
        job_id = self.submit_held(1000, ms=2.0)
        # In turn: what is left of the job goes on in the midst of it.
        with ExitStack() as disturbed, self.half_way(job_id):
            disturbed.enter_context(disturbance)
        begun = time.monotonic()
        self.all_done(job_id, patience)
        return time.monotonic() - begun

    def begun(self, job_id: str) -> Document:
        """The job when some of its items are done, and nearly all are left."""
        return self._worked(job_id, 1 / 30)

    def _worked(self, job_id: str, share: float) -> Document:
        until = time.monotonic() + WORKED_WITHIN
        while True:
            job = self.client.job(job_id)
            counts = job["counts"]
            if counts["succeeded"] >= counts["total"] * share:
                assert counts["pending"] > 0, f"nothing of it is left to be broken: {job}"
                return job
            assert time.monotonic() < until, self._stuck(job_id)
            time.sleep(0.01)

    # -- what handlers have noted -------------------------------------------------------

    def runs(self, job_id: str) -> list[tuple[int, str]]:
        """Each run of the handler in turn: by which process, of which item."""
        notes = self.tasks[job_id].notes
        lines = notes.read_text().splitlines() if notes.exists() else []
        noted = (line.rpartition(" ") for line in lines)
        return [(int(process or EARLIER), mark) for process, _, mark in noted]

    def settled(self) -> Counter[str]:
        """How often the handler has run by now for each slow item whose result is stored."""
        slow = {job_id: task for job_id, task in dict(self.tasks).items() if not task.records}
        with self.stack.opened() as connection:
            stored = oracle.stored_results(connection)
        # Read later than the results: it may miss what comes in between, and makes nothing up.
        marks = {slow[job_id].marks[item] for job_id, item in stored if job_id in slow}
        return Counter(mark for job_id in slow for _, mark in self.runs(job_id) if mark in marks)

    def repeated(self, *jobs: str) -> int:
        """Runs of the handler that were not the first of their item, of slow jobs as well."""
        return sum(left_behind(self.runs(job_id)).total() for job_id in jobs)

    @property
    def noted(self) -> list[str]:
        """The jobs whose handler notes its runs, and runs once for an item."""
        return [job_id for job_id, task in self.tasks.items() if not task.fitful]

    def named(self, job_id: str, reason: str, within: float = NAMED_WITHIN) -> None:
        """Return once the job says that it waits for that, which it must soon."""
        since, told = time.monotonic(), None
        while time.monotonic() < since + within + READ_WITHIN:
            told = self.client.job(job_id)["waiting"]
            if told is not None and told["reason"] == reason:
                took = time.monotonic() - since
                tell("seconds until a cause is named", f"{took:.1f}", cause=reason)
                return
            time.sleep(0.05)
        raise AssertionError(f"{reason} is not named: {told}")

    def worker_on(self, job_id: str, seconds: float = 30.0) -> int:
        """The process that works a chunk of a job, as soon as one does."""
        until = time.monotonic() + seconds
        while not (runs := self.runs(job_id)):
            assert time.monotonic() < until, f"nobody works job {job_id}"
            time.sleep(0.02)
        return runs[-1][0]

    def effects(self, job_id: str) -> int:
        """How many effects were made for the job's items, or put back."""
        with self.stack.opened() as connection:
            return oracle.effects_of(connection, self.tasks[job_id].marks)

    def standing(self, job_id: str) -> Counter[str]:
        """The job's items whose effects are there, and how often; an undo would hide that."""
        query = "SELECT mark, count(*) FROM crash_counters WHERE mark = ANY(%s) GROUP BY mark"
        with self.stack.opened() as connection:
            rows = connection.execute(query, [list(self.tasks[job_id].marks)]).fetchall()
        return Counter(dict(rows))

    # -- judging ------------------------------------------------------------------------

    def judge(self) -> None:
        """Nothing is lost, nothing came twice, and what is said of it is true.

        Items and events of a job that has no newer version are not asked for once more, its
        effects are looked at each time; ``verdict`` asks for everything.
        """
        verdict = self._verdict(self._read)
        assert not verdict.faults, "\n".join(verdict.faults)

    def verdict(self) -> Verdict:
        """Of all that is at rest; the members go on running."""
        return self._verdict({})

    def _verdict(self, read: dict[str, Account]) -> Verdict:
        accounts = [self._account(task, read) for task in self.tasks.values()]
        with self.stack.opened() as connection:
            verdict = oracle.judge(connection, accounts)
            jobs = oracle.jobs(connection)
        wanted = len(self.tasks) + len(self.batches)
        verdict.require(jobs == wanted, f"{jobs} jobs for {wanted} submissions")
        whole = [(self.client.job(batch), self.client.events(batch)) for batch in self.batches]
        promises.judge(accounts, whole, verdict)
        verdict.faults += told_twice(self.told)
        for name, log in self.stack.logs.items():
            for word in _FAULTS:
                at = log.find(word)
                there = log[max(at - 300, 0) : at + 6000]
                verdict.require(at < 0, f"the log of {name} has {word}:\n{there}")
        return verdict

    def _account(self, task: Task, read: dict[str, Account]) -> Account:
        """What the engine says of a job; of one that was read before, whether it says more."""
        job, before = self.client.job(task.job_id), read.get(task.job_id)
        if before is not None and before.job["version"] == job["version"]:
            return replace(before, job=job)
        read[task.job_id] = Account(
            job=job,
            marks=task.marks,
            items=self.noted_items.get(task.job_id) or self.client.items(task.job_id),
            events=self.client.events(task.job_id),
            records=task.records,
        )
        return read[task.job_id]
