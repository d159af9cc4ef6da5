"""The child's side of the supervisor: the engine's process, and what binds it to its parent."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

Engine = Callable[[socket.socket, Callable[[], None]], Awaitable[None]]
"""Serves the socket until it is cancelled (``TOLD``), drains and returns; calls back when ready."""

_PR_SET_PDEATHSIG = 1
EXIT_HUNG = 70
"""Of a process that could not end by itself: EX_SOFTWARE of sysexits.h."""
TOLD = "told to end"
"""With what the engine is cancelled at a signal, and at no other time."""
NO_LOCK = -1
"""Handed down instead of a descriptor where there is no process lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inherited:
    """Descriptors that the parent handed down."""

    listener: int
    lock: int
    ready: int
    life: int

    def keep_private(self) -> None:
        """Hand none of them down further: a pool's process must not keep the lock."""
        for descriptor in (self.listener, self.lock, self.ready, self.life):
            if descriptor != NO_LOCK:
                os.set_inheritable(descriptor, False)


def die_with_parent(life: int) -> None:
    """End this process at once when its parent ends, in whatever way it does.

    The kernel's signal works even while a handler never lets go of the interpreter; the
    pipe works where there is no such signal, or when the parent died before this call.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_wait_for_end, args=(life,), name="parent-watch", daemon=True).start()


def _wait_for_end(life: int) -> None:
    os.read(life, 1)
    os.kill(os.getpid(), signal.SIGKILL)


def end_within(seconds: float) -> None:
    """Have this process end by then, however far its own end has come.

    After a crash a thread or a task may be left that never ends: the process would go on, take
    connections and answer none, and its parent would not see that it must start another one.
    """
    threading.Thread(target=_end, args=(seconds,), name="last-resort", daemon=True).start()


def _end(seconds: float) -> None:
    time.sleep(seconds)
    os.write(2, b"countermand: the process did not end by itself; it is ended\n")
    os._exit(EXIT_HUNG)


def run(engine: Engine, inherited: Inherited) -> None:
    """Run the engine until SIGTERM has made it drain; whatever it raises passes through."""
    inherited.keep_private()
    die_with_parent(inherited.life)
    with socket.socket(fileno=inherited.listener) as listener:
        asyncio.run(_serve(engine, listener, inherited.ready))


async def _serve(engine: Engine, listener: socket.socket, ready: int) -> None:
    listener.setblocking(False)
    task = asyncio.ensure_future(engine(listener, lambda: _say_ready(ready)))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel, TOLD)
    # Being cancelled is how it is told to stop.
    with suppress(asyncio.CancelledError):
        await task


def _say_ready(ready: int) -> None:
    # The parent closes its end only when it ends, and then this process ends too.
    with suppress(BrokenPipeError):
        os.write(ready, b"1")
