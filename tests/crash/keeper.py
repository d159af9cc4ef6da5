"""Keeper: plays the supervisor of one engine, which it arms with a failpoint once.

Holds the listening socket and the lock of the data directory, as ``countermand serve`` does,
and starts the engine again whenever it has died; only the first life is armed.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from typing import Self

from streams.process_lock import acquire
from streams.roles import Role
from streams.supervisor import listen, url_of
from tests.nursery import Forked, Nursery

PATIENCE = 60.0
MAX_LIVES = 400


@dataclass
class Life:
    """One life of the engine; times are monotonic, in seconds."""

    pid: int
    started: float
    ready: float | None = None
    ended: float | None = None
    status: int | None = None


@dataclass
class _Pipes:
    """Our ends and the child's ends of the two pipes of a life."""

    ready: int
    ready_child: int
    life_child: int
    life: int

    @classmethod
    def new(cls) -> Self:
        return cls(*os.pipe(), *os.pipe())


class Keeper:
    """An engine that is always there; use it as a context manager."""

    def __init__(
        self,
        nursery: Nursery,
        data_dir: Path,
        *,
        failpoint: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.data_dir = data_dir
        self.lives: list[Life] = []
        self.at_death: Callable[[], None] = _look_away
        self._nursery = nursery
        self._failpoint = failpoint
        self._environment = dict(environment or {})
        self._lock = acquire(data_dir)
        self._listener = listen("127.0.0.1", 0)
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._keep, name="keeper")

    @property
    def url(self) -> str:
        """Where it serves, in all of its lives."""
        return url_of(self._listener)

    @property
    def database(self) -> Path:
        """Its SQLite file."""
        return self.data_dir / "countermand.db"

    @property
    def log(self) -> str:
        """What all lives have said so far."""
        return (self.data_dir / "server.log").read_text()

    def begin(self) -> None:
        """Start, and wait for nothing."""
        self._thread.start()

    def __enter__(self) -> Self:
        self.begin()
        try:
            self.wait_for(1)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the engine, and let go of its address and its directory."""
        self.stop()
        self._listener.close()
        self._lock.release()

    def kill(self) -> None:
        """SIGKILL, now."""
        with self._changed:
            life = self.lives[-1]
            if life.ended is None:
                _kill(life.pid)

    def freeze(self, seconds: float) -> None:
        """Let no thread of it run for so long, as a busy machine or a paused one does."""
        with self._changed:
            life = self.lives[-1]
            if life.ended is None:
                _signal(life.pid, signal.SIGSTOP)
        time.sleep(seconds)
        _signal(life.pid, signal.SIGCONT)

    def arm(self, failpoint: str) -> None:
        """Have the next life die at a failpoint, and none after it."""
        self._failpoint = failpoint

    def wait_for_start(self, count: int, seconds: float = PATIENCE) -> Life:
        """The life of that number (from 1), once its process is there."""
        with self._changed:
            started = self._changed.wait_for(lambda: len(self.lives) >= count, seconds)
            assert started, f"life {count} did not begin; the log ends:\n{self.log[-3000:]}"
            return self.lives[count - 1]

    def wait_for(self, count: int, seconds: float = PATIENCE) -> Life:
        """The life of that number (from 1), once it is ready."""
        with self._changed:
            ready = self._changed.wait_for(lambda: self._is_ready(count), seconds)
            assert ready, f"life {count} was never ready; the log ends:\n{self.log[-3000:]}"
            return self.lives[count - 1]

    def stop(self) -> int | None:
        """Ask for a graceful end and wait for it; returns the exit code of the last life."""
        with self._changed:
            self._stopping = True
            if self.lives and self.lives[-1].ended is None:
                _signal(self.lives[-1].pid, signal.SIGTERM)
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            self.kill()
            self._thread.join(PATIENCE)
        return self.lives[-1].status if self.lives else None

    # -- the keeper's thread ----------------------------------------------------------

    def _is_ready(self, count: int) -> bool:
        return len(self.lives) >= count and self.lives[count - 1].ready is not None

    def _keep(self) -> None:
        while not self._stopping and len(self.lives) < MAX_LIVES:
            failpoint, self._failpoint = self._failpoint, ""
            self._live({"COUNTERMAND_FAILPOINT": failpoint} if failpoint else {})
            # Nobody writes now: what a life has left is there to be looked at.
            self.at_death()

    def _live(self, armed: Mapping[str, str]) -> None:
        pipes = _Pipes.new()
        forked = self._fork(pipes, armed)
        with self._changed:
            self.lives.append(Life(forked.pid, time.monotonic()))
            if self._stopping:
                _signal(forked.pid, signal.SIGTERM)
            self._changed.notify_all()
        for descriptor in (pipes.ready_child, pipes.life_child):
            os.close(descriptor)
        self._watch(pipes.ready, forked)
        for descriptor in (pipes.ready, pipes.life):
            os.close(descriptor)

    def _fork(self, pipes: _Pipes, armed: Mapping[str, str]) -> Forked:
        environment = {
            "COUNTERMAND_DATA_DIR": str(self.data_dir),
            "COUNTERMAND_LOG_LEVEL": "warning",
            **self._environment,
            **armed,
        }
        handed = (self._listener.fileno(), self._lock.fileno(), pipes.ready_child, pipes.life_child)
        with (self.data_dir / "server.log").open("ab") as log:
            return self._nursery.fork(
                "api.serve",
                (Role.SERVE,),
                output=(log.fileno(), log.fileno()),
                handed=handed,
                environment=environment,
            )

    def _watch(self, ready: int, forked: Forked) -> None:
        waiting = [ready, forked.ended]
        while True:
            found = select.select(waiting, [], [])[0]
            if forked.ended in found:
                break
            waiting.remove(ready)
            if os.read(ready, 64):
                with self._changed:
                    self.lives[-1].ready = time.monotonic()
                    self._changed.notify_all()
        status = forked.status()
        with self._changed:
            self.lives[-1].ended = time.monotonic()
            self.lives[-1].status = status
            self._changed.notify_all()
        _kill(forked.pid)


def _look_away() -> None:
    """What a death has left is nobody's concern, unless somebody asks."""


def _signal(pid: int, number: int) -> None:
    """Send it; who has died meanwhile needs none, whether or not that was seen."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _kill(pid: int) -> None:
    """A process and all of its group."""
    for kill in (os.kill, os.killpg):
        with suppress(ProcessLookupError):
            kill(pid, signal.SIGKILL)


@dataclass
class Shell:
    """The command ``countermand``, in forks of the nursery."""

    nursery: Nursery
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str) -> CompletedProcess[str]:
        """Run a verb to its end."""
        out, err = self.folder / "stdout", self.folder / "stderr"
        with _opened(out, err) as output:
            forked = self.nursery.fork(
                "streams.cli.main", arguments, output=output, environment=self.environment
            )
            code = forked.status()
        return CompletedProcess(list(arguments), code, out.read_text(), err.read_text())


@contextmanager
def _opened(out: Path, err: Path) -> Iterator[tuple[int, int]]:
    with out.open("wb") as first, err.open("wb") as second:
        yield first.fileno(), second.fileno()


def installed(folder: Path, name: str, target: str, extra: Sequence[tuple[str, str]] = ()) -> Path:
    """A folder for the path on which a distribution of that name offers operations."""
    information = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[countermand.operations]\n{name} = {target}\n")
    for file, text in extra:
        (folder / file).write_text(text)
    return folder
