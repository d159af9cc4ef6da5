"""Nursery: a process that has imported the engine and forks children which run it at once.

A crash proof starts hundreds of engines, and most of an engine's start is the import of its
libraries. ``python -m tests.crash.nursery FD`` reads requests from a socket; each child gets
descriptors, an environment and arguments as if it had been started by itself.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

CHECKOUT = Path(__file__).parents[2]
_IMPORTED = ("alembic.command", "api.serve", "streams.cli.auditing", "streams.cli.main")
_LARGEST = 65_536
_DESCRIPTORS = 16


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


class Nursery:
    """Forks children; one at a time asks for one."""

    def __init__(self, path: Sequence[Path]) -> None:
        """``path`` is where plug-ins are installed, beside the checkout."""
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tests.crash.nursery", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={
                    **{name: value for name, value in os.environ.items() if not _ours(name)},
                    "PYTHONPATH": os.pathsep.join(map(str, (CHECKOUT, *path))),
                },
            )
        assert self._control.recv(64) == b"ready"

    def fork(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        output: tuple[int, int],
        handed: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Forked:
        """Run ``main`` of a module; the numbers of the ``handed`` descriptors end its arguments."""
        ended, write = os.pipe()
        request = {
            "module": module,
            "arguments": list(arguments),
            "environment": dict(environment or {}),
        }
        try:
            with self._lock:
                message = json.dumps(request).encode()
                socket.send_fds(self._control, [message], [*output, write, *handed])
                return Forked(int(self._control.recv(64)), ended)
        except BaseException:
            os.close(ended)
            raise
        finally:
            os.close(write)

    def close(self) -> None:
        """End it; its children end by themselves, with whoever started them."""
        self._control.close()
        self._process.wait(30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _ours(name: str) -> bool:
    return name.startswith("COUNTERMAND_")


# -- the process ------------------------------------------------------------------------


def main(control: socket.socket) -> None:
    """Fork for each request, until the socket is closed."""
    _import_everything()
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


def _keep(control: socket.socket, request: dict[str, Any], descriptors: list[int]) -> None:
    """In a fork that is the child's parent: tells of its birth and of its end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if not pid:
        control.close()
        _become(request, descriptors)
    control.send(str(pid).encode())
    for descriptor in (*descriptors[:2], *descriptors[3:]):
        os.close(descriptor)
    _, status = os.waitpid(pid, 0)
    os.write(descriptors[2], str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(request: dict[str, Any], descriptors: list[int]) -> None:
    """In the child: what a start of its own would have given it."""
    out, err, ended, *handed = descriptors
    os.setpgid(0, 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    for descriptor in (out, err, ended):
        os.close(descriptor)
    os.environ.update(request["environment"])
    random.seed()
    arguments = [*request["arguments"], *map(str, handed)]
    sys.argv = [request["module"], *arguments]
    raise SystemExit(_MAINS[request["module"]](arguments))


def _serve(arguments: list[str]) -> int:
    from api.serve import main

    return main(arguments)


def _command_line(_arguments: list[str]) -> int | None:
    from streams.cli.main import main

    return main()


_MAINS = {"api.serve": _serve, "streams.cli.main": _command_line}


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
