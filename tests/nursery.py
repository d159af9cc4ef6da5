"""Nursery: a process that has imported the engine and forks children which run it at once.

Tests start hundreds of engines, and most of an engine's start is the import of its libraries.
``python -m tests.nursery FD`` reads requests from a socket; each child gets descriptors, an
environment and arguments as if it had been started by itself, and a supervisor among them forks
its engines, too. What an interpreter of its own makes of the commands is for the tests of the
supervisor, of the demonstration and of what is deployed.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn, Self
from unittest import mock

CHECKOUT = Path(__file__).parents[1]
_IMPORTED = ("alembic.command", "api.serve", "streams.cli.auditing", "streams.cli.main")
_LARGEST = 65_536
_DESCRIPTORS = 16
_PATIENCE = 60.0
"""Seconds in which the nursery has imported everything, or forked a child."""


@dataclass
class Forked:
    """A child: ``ended`` becomes readable once it has ended, and then says how."""

    pid: int
    ended: int

    def status(self) -> int:
        """Its exit code, or minus the signal; waits for it. Call once."""
        said = os.read(self.ended, 64)
        os.close(self.ended)
        return int(said)


class Child:
    """A forked child with pipes to it, used as a :class:`subprocess.Popen` is."""

    def __init__(self, forked: Forked, given: IO[str], said: IO[str]) -> None:
        self.stdin = given
        self.stdout = said
        self.pid = forked.pid
        self.returncode: int | None = None
        self._forked = forked

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, or minus the signal. Raises TimeoutExpired after ``timeout`` seconds."""
        if self.returncode is None:
            if not select.select([self._forked.ended], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("countermand", timeout or 0.0)
            self.returncode = self._forked.status()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self.stdout, self.stdin):
            with suppress(BrokenPipeError):
                pipe.close()
        self.wait()


class Nursery:
    """Forks children; one at a time asks for one."""

    def __init__(self, path: Sequence[Path] = ()) -> None:
        """``path`` is where plug-ins are installed, beside the checkout."""
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        self._environment = {
            **{name: value for name, value in os.environ.items() if not _ours(name)},
            "PYTHONPATH": os.pathsep.join(map(str, (CHECKOUT, *path))),
        }
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tests.nursery", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=self._environment,
                # What ends the tests at a terminal would end who tells how children ended.
                start_new_session=True,
            )
        self._control.settimeout(_PATIENCE)
        self._answer()

    def fork(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        output: tuple[int, int],
        given: int | None = None,
        handed: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Forked:
        """Run ``main`` of a module; the numbers of the ``handed`` descriptors end its arguments.

        ``environment`` is in addition to the nursery's own. Without ``given`` there is nothing to
        read for it.
        """
        ended, write = os.pipe()
        null = os.open(os.devnull, os.O_RDONLY)
        request = {
            "module": module,
            "arguments": list(arguments),
            "environment": {**self._environment, **(environment or {})},
        }
        message = json.dumps(request).encode()
        descriptors = [null if given is None else given, *output, write, *handed]
        try:
            if len(message) > _LARGEST:
                raise ValueError(f"{len(message)} bytes of arguments and environment are too many")
            with self._lock:
                socket.send_fds(self._control, [message], descriptors)
                return Forked(int(self._answer()), ended)
        except BaseException:
            os.close(ended)
            raise
        finally:
            os.close(write)
            os.close(null)

    def _answer(self) -> bytes:
        answer = self._control.recv(64)
        if not answer:
            raise RuntimeError("the nursery has ended; why is among the errors of the tests")
        return answer

    def start(self, arguments: Sequence[str], log: IO[bytes], **variables: str) -> Child:
        """Run the command ``countermand``; its errors go to the log, all else into pipes."""
        (given, give), (read, said) = os.pipe(), os.pipe()
        try:
            forked = self.fork(
                "streams.cli.main",
                arguments,
                output=(said, log.fileno()),
                given=given,
                environment=variables,
            )
        except BaseException:
            os.close(give)
            os.close(read)
            raise
        finally:
            os.close(given)
            os.close(said)
        return Child(forked, os.fdopen(give, "w"), os.fdopen(read))

    def close(self) -> None:
        """End it; its children end by themselves, with whoever started them."""
        self._control.close()
        self._process.wait(30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@functools.cache
def nursery() -> Nursery:
    """The one of this process, which ends with it."""
    made = Nursery()
    atexit.register(made.close)
    return made


def _ours(name: str) -> bool:
    return name.startswith("COUNTERMAND_")


# -- the process ------------------------------------------------------------------------


def main(control: socket.socket) -> None:
    """Fork for each request, until the socket is closed."""
    _import_everything()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    control.send(b"ready")
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, _LARGEST, _DESCRIPTORS)
        if not message:
            return
        if not os.fork():
            _keep(control, json.loads(message), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _import_everything() -> None:
    from streams.bootstrap import installed_operations

    for module in _IMPORTED:
        importlib.import_module(module)
    installed_operations()


def _keep(control: socket.socket, request: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """In a fork that is the child's parent: tells of its birth and of its end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if not pid:
        control.close()
        _become(request, descriptors)
    control.send(str(pid).encode())
    # The tests see that the nursery has ended although its children have not.
    control.close()
    ended = descriptors.pop(3)
    for descriptor in descriptors:
        os.close(descriptor)
    _, status = os.waitpid(pid, 0)
    os.write(ended, str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(request: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """In the child: what a start of its own would have given it."""
    given, out, err, ended, *handed = descriptors
    os.setpgid(0, 0)
    for number, descriptor in enumerate((given, out, err)):
        os.dup2(descriptor, number)
    for descriptor in (given, out, err, ended):
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])
    searched = os.environ["PYTHONPATH"].split(os.pathsep)
    sys.path[:0] = [folder for folder in searched if folder not in sys.path]
    random.seed()
    arguments = [*request["arguments"], *map(str, handed)]
    sys.argv = [request["module"], *arguments]
    raise SystemExit(_MAINS[request["module"]](arguments))


def _serve(arguments: list[str]) -> int:
    from api.serve import main

    return main(arguments)


def _command_line(_arguments: list[str]) -> int:
    from streams import supervisor
    from streams.cli.main import main

    with mock.patch.object(supervisor, "started", _engine):
        main()
    return 0


_MAINS = {"api.serve": _serve, "streams.cli.main": _command_line}


# -- the engines of a supervisor ----------------------------------------------------------


class _Engine:
    """A fork of the supervisor's process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def wait(self) -> int:
        """Its exit code, or minus the signal; waits for it. Call once."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _engine(command: Sequence[str], *, pass_fds: Sequence[int], env: Mapping[str, str]) -> _Engine:
    """Fork instead of starting an interpreter that imports what this process has."""
    sys.stdout.flush()
    if pid := os.fork():
        # Whichever of the two is first: it leads its group before anybody asks.
        with suppress(PermissionError):
            os.setpgid(pid, pid)
        return _Engine(pid)
    with _alone():
        os.setpgid(0, 0)
        _forget_the_parent(pass_fds)
        os.environ.clear()
        os.environ.update(env)
        random.seed()
        module = command.index("api.process")
        raise SystemExit(_serve(list(command[module + 1 :])))
    raise AssertionError("it has ended")


@contextmanager
def _alone() -> Iterator[None]:
    """End the process here; what it was forked in is for its parent to end."""
    code = 1
    try:
        yield
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _forget_the_parent(kept: Sequence[int]) -> None:
    """Have its handlers, its input and its descriptors no more, as after ``exec``."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Path(os.devnull).open() as null:
        os.dup2(null.fileno(), 0)
    last = 2
    for descriptor in sorted(kept):
        os.closerange(last + 1, descriptor)
        last = descriptor
    os.closerange(last + 1, os.sysconf("SC_OPEN_MAX"))


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
