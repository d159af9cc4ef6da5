"""Supervisor: the parent process of ``countermand serve``.

It owns what must outlive a crash of the engine, the listening socket and the process lock,
and runs the engine as a child that inherits both. A child that dies is started again: a
handler that exits, hangs or eats memory costs a restart, never the service; connections
wait in the socket's queue meanwhile. The child's side is :mod:`streams.supervised`.

Imports little on purpose: this process must not be what runs out of memory.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it ships no types

from domain.errors import SettingsInvalid

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_MISCONFIGURED = 2
CHILD_MISCONFIGURED = 78
"""Exit code by which the child says that another try would end the same (EX_CONFIG)."""
CHILD_UNAVAILABLE = 75
"""That by which it says that what it needs went away (EX_TEMPFAIL)."""

HURRY = signal.SIGUSR1
"""By which a child that was told to end, and still leaves, is told to drain at once."""

BACKLOG = 1024
LOOK_EVERY = 0.5
"""Seconds between two looks at the child."""
SILENCE = 60.0
"""Seconds after which an event loop that says nothing is taken for one that stands still.

Whatever holds the interpreter for long, which nothing of ours does, is over by then.
"""
BLOCKING = (
    "look for an operation or a compensation that is `async` and waits without `await` (a request, "
    "a query, time.sleep): as a plain function it is called in a thread"
)
PIPE_ROOM = 1 << 16
"""Bytes that a pipe holds: with one read all that the child has said is read."""
MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the child may take: memory in bytes, times in seconds."""

    memory: int
    drain: float
    leave: float = 0.0
    """How long it serves on before the drain; asked a second time, it begins with that at once."""
    start: float = 120.0
    """Until it says that it is ready, or that it is there and waits for what takes longer."""
    silence: float = SILENCE
    """How long it may say nothing once it is ready, see :class:`Silence`."""


@dataclass(slots=True)
class Restarts:
    """Decides how soon the child is started again, and when that has become pointless.

    Being ready is progress. A handler that kills its process makes the engine split the
    chunk at each death, so many quick deaths may lie on the way to a job's end.
    """

    early_limit: int = 5
    quick_limit: int = 1000
    quick: float = 10.0
    """A life shorter than this, in seconds, is a quick one."""
    _early: int = field(default=0, init=False)
    _quick: int = field(default=0, init=False)
    _away: int = field(default=0, init=False)

    def delay_while_away(self, *, lived: float) -> float:
        """Seconds to wait after an end for want of something that only others can bring back.

        However often that happens, it is no reason to give up.
        """
        self._away = 0 if lived >= self.quick else self._away + 1
        return float(min(0.2 * 2 ** min(self._away, 5), 5.0))

    def delay(self, *, was_ready: bool, lived: float) -> float | None:
        """Seconds to wait after a death, or None when to give up."""
        self._away = 0
        self._early = 0 if was_ready else self._early + 1
        self._quick = 0 if was_ready and lived >= self.quick else self._quick + 1
        if self._early >= self.early_limit or self._quick >= self.quick_limit:
            return None
        if self._early:
            return float(min(0.2 * 2**self._early, 5.0))
        return min(0.05 * max(self._quick, 1), 1.0)


class Silence:
    """For how long a child has said nothing, as far as its parent has looked.

    A look counts for its own interval at most: while the machine was suspended, or this process
    stopped, nobody could have said anything.
    """

    def __init__(self, now: float) -> None:
        self.seconds = 0.0
        self._looked = now

    def look(self, now: float, *, heard: bool) -> None:
        """Count a look, at this moment, at whether something was said since the last one."""
        passed = min(now - self._looked, LOOK_EVERY)
        self.seconds = 0.0 if heard else self.seconds + passed
        self._looked = now


@dataclass(frozen=True, slots=True)
class ChildPipes:
    """The child's ends: ``life`` ends with the parent.

    It writes a byte to ``ready`` when it is, and from then on again and again.
    """

    ready: int
    life: int


Command = Callable[[ChildPipes], Sequence[str]]


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; ``port`` 0 takes a free one. Raises SettingsInvalid when it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise SettingsInvalid(
            f"cannot listen on {host} port {port} ({error.strerror}); "
            "choose another --port (0 takes a free one)"
        ) from error
    listener.setblocking(False)
    return listener


def url_of(listener: socket.socket) -> str:
    """The address to type into a browser on this machine."""
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "::1" if ":" in host else "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Signals:
    """SIGTERM, SIGINT and SIGHUP counted; SIGCHLD only wakes. Used in the main thread."""

    def __init__(self) -> None:
        self.stops = 0
        self._wake, self._write = socket.socketpair()
        for end in (self._wake, self._write):
            end.setblocking(False)

    def _stop(self, _number: int, _frame: object) -> None:
        self.stops += 1

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle the signals within this scope, and put back what was there before."""
        stopping = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = {number: signal.signal(number, self._stop) for number in stopping}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        wakeup = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._wake.close()
            self._write.close()

    def wait(self, seconds: float, *also: int) -> None:
        """Return after the time, a signal, or when one of the descriptors can be read."""
        select.select([self._wake.fileno(), *also], [], [], seconds)
        with suppress(BlockingIOError):
            self._wake.recv(4096)


def started(
    command: Sequence[str], *, pass_fds: Sequence[int], env: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """A process that nothing is typed into, which leads a process group of its own."""
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        command,
        stdin=subprocess.DEVNULL,
        pass_fds=pass_fds,
        env=dict(env),
        # A Ctrl-C on the terminal is for the parent, which then asks for the drain.
        process_group=0,
    )


class Child:
    """One life of the engine's process, which leads a process group of its own."""

    def __init__(self, command: Command, pass_fds: Sequence[int], env: Mapping[str, str]) -> None:
        ready, ready_child = os.pipe()
        life_child, life = os.pipe()
        try:
            self._process = started(
                command(ChildPipes(ready=ready_child, life=life_child)),
                pass_fds=(*pass_fds, ready_child, life_child),
                env=env,
            )
        except BaseException:
            os.close(ready)
            os.close(life)
            raise
        finally:
            os.close(ready_child)
            os.close(life_child)
        self.ready_pipe: int | None = ready
        self._life = life
        self.started = time.monotonic()
        self.ready = False
        self.silence = Silence(self.started)
        self.stopping_since: float | None = None
        self.hurried = False
        self.killed_for = ""

    @property
    def pid(self) -> int:
        """Its process id, which is also that of its group."""
        return self._process.pid

    def died(self) -> bool:
        """Whether the process has ended; it is not reaped yet, so its group's id is safe."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None

    def listen(self) -> bool:
        """Take the child's word; True the first time that it says it is ready."""
        heard = self._heard()
        self.silence.look(time.monotonic(), heard=heard)
        first = heard and not self.ready
        self.ready = self.ready or heard
        return first

    def _heard(self) -> bool:
        if self.ready_pipe is None or not select.select([self.ready_pipe], [], [], 0)[0]:
            return False
        if os.read(self.ready_pipe, PIPE_ROOM):
            return True
        os.close(self.ready_pipe)
        self.ready_pipe = None
        return False

    def terminate(self) -> None:
        """Ask for a graceful drain, once."""
        if self.stopping_since is None:
            self.stopping_since = time.monotonic()
            os.kill(self.pid, signal.SIGTERM)

    def hurry(self) -> None:
        """Have it drain now, if it still leaves."""
        self.hurried = True
        os.kill(self.pid, HURRY)

    def kill(self, why: str) -> None:
        """End it and all that it started."""
        if not self.killed_for:
            self.killed_for = why
        self._kill_group()

    def memory(self) -> int:
        """Resident bytes of the largest process that is the child or descends from it."""
        return max(map(_resident, (self.pid, *descendants(self.pid))))

    def close(self) -> int:
        """Reap it, with what is left of its group; returns its exit code, minus the signal."""
        self._kill_group()
        code = self._process.wait()
        if self.ready_pipe is not None:
            os.close(self.ready_pipe)
        os.close(self._life)
        return code

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


class Supervisor:
    """Keeps a child running until a signal asks to stop; see the module's docstring.

    ``on_ready`` is called once, when the first child is ready; ``say`` gets a sentence for
    whoever reads the log.
    """

    def __init__(
        self,
        command: Command,
        *,
        limits: Limits,
        on_ready: Callable[[], None],
        say: Callable[[str], None],
        pass_fds: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
        restarts: Restarts | None = None,
    ) -> None:
        self._command = command
        self._limits = limits
        self._on_ready = on_ready
        self._say = say
        self._pass_fds = pass_fds
        self._env = os.environ if env is None else env
        self._restarts = restarts or Restarts()
        self._signals = Signals()
        self._was_ready = False
        self._waits = False

    def run(self) -> int:
        """Supervise until the end; returns the exit code of this process."""
        with self._signals.installed():
            while True:
                ended = self._one_life()
                if ended is not None:
                    return ended

    def _one_life(self) -> int | None:
        child = Child(self._command, self._pass_fds, self._env)
        try:
            while not child.died():
                self._look(child)
            # It may have become ready and died between two looks.
            child.listen()
        finally:
            code = child.close()
        if self._signals.stops:
            return self._stopped(child, code)
        if code == CHILD_MISCONFIGURED:
            return EXIT_MISCONFIGURED
        if code == CHILD_UNAVAILABLE and not child.killed_for:
            return self._pause_while_away(child)
        self._waits = False
        return self._pause_before_restart(child, code)

    def _look(self, child: Child) -> None:
        # What it says later is read when there is a look at it anyway.
        watched = () if child.ready or child.ready_pipe is None else (child.ready_pipe,)
        self._signals.wait(LOOK_EVERY, *watched)
        bury_orphans(child.pid)
        if child.listen() and not self._was_ready:
            self._was_ready = True
            self._on_ready()
        if child.ready and child.silence.seconds > self._limits.silence:
            child.kill(f"its event loop stood still for {self._limits.silence:g} s; {BLOCKING}")
        elif self._signals.stops:
            self._stop(child)
        elif not child.ready and time.monotonic() - child.started > self._limits.start:
            child.kill(f"it was not ready after {self._limits.start:g} s")
        elif (memory := child.memory()) > self._limits.memory:
            child.kill(f"it took {memory // MIB} MiB, more than {self._limits.memory // MIB} MiB")

    def _stop(self, child: Child) -> None:
        child.terminate()
        stopped = time.monotonic() - (child.stopping_since or 0.0)
        if self._signals.stops == 2 and stopped < self._limits.leave and not child.hurried:
            child.hurry()
        elif self._signals.stops > 1 + child.hurried:
            child.kill("asked to stop a second time")
        elif stopped > self._limits.leave + self._limits.drain:
            child.kill(f"work in flight did not end within {self._limits.drain:g} s")

    def _stopped(self, child: Child, code: int) -> int:
        # Asked before or after it listens to signals, it simply ends.
        if not child.killed_for and code in (0, -signal.SIGTERM, -HURRY):
            return EXIT_DONE
        self._say(
            f"stopped hard: {child.killed_for or _how(code)}. Nothing is lost: what was in "
            "flight is done at the next start"
        )
        return EXIT_FAILED

    def _pause_before_restart(self, child: Child, code: int) -> int | None:
        lived = time.monotonic() - child.started
        how = child.killed_for or _how(code)
        delay = self._restarts.delay(was_ready=child.ready, lived=lived)
        if delay is None:
            self._say(
                f"the engine ended again and again, last after {lived:.1f} s: {how}; giving up. "
                "See its messages above; `countermand db check` looks at the database"
            )
            return EXIT_FAILED
        self._say(f"the engine (process {child.pid}) ended: {how}; starting it again")
        return self._pause(delay)

    def _pause_while_away(self, child: Child) -> int | None:
        lived = time.monotonic() - child.started
        if not self._waits or lived >= self._restarts.quick:
            self._say(
                f"the engine (process {child.pid}) ended: what it needs is away, see its messages "
                "above; it is started again until that is back"
            )
        self._waits = True
        return self._pause(self._restarts.delay_while_away(lived=lived))

    def _pause(self, delay: float) -> int | None:
        until = time.monotonic() + delay
        while (left := until - time.monotonic()) > 0:
            self._signals.wait(left)
            if self._signals.stops:
                return EXIT_DONE
        return None


def bury_orphans(child: int) -> None:
    """Take note that processes have ended whose own parents have gone.

    They are this one's where it is the first of its container, and would be in the way for ever.
    How the child ends is not its business.
    """
    with suppress(ChildProcessError):
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG)) is not None:
            if ended.si_pid == child:
                return
            os.waitpid(ended.si_pid, 0)


def descendants(pid: int) -> set[int]:
    """Whom a process has started, and whom they have.

    Linux keeps a list of those of each thread (proc(5), ``/proc/PID/task/TID/children``); without
    it psutil reads of every process of the machine who its parent is, which this one does twice
    a second.
    """
    if not _children_are_listed():
        return _found_among_all(pid)
    found: set[int] = set()
    new = [pid]
    while new:
        children = _children(new.pop()) - found
        found |= children
        new += children
    return found


@functools.cache
def _children_are_listed() -> bool:
    return Path(f"/proc/self/task/{os.getpid()}/children").exists()


def _children(pid: int) -> set[int]:
    said: list[str] = []
    # A thread or the process may end while it is looked at.
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                said += (thread / "children").read_text().split()
    return set(map(int, said))


def _found_among_all(pid: int) -> set[int]:
    with suppress(psutil.Error):
        return {child.pid for child in psutil.Process(pid).children(recursive=True)}
    return set()


def _resident(pid: int) -> int:
    with suppress(psutil.Error):
        return int(psutil.Process(pid).memory_info().rss)
    return 0


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
