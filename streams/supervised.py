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

from streams.supervisor import HURRY

Engine = Callable[[socket.socket, Callable[[], None], asyncio.Event], Awaitable[None]]
"""Serves the socket until it is cancelled (``TOLD``), drains and returns; calls back when ready.

The event says that whoever told it to end does not want to wait for its leaving.
"""

_PR_SET_PDEATHSIG = 1
EXIT_HUNG = 70
"""Of a process that could not end by itself: EX_SOFTWARE of sysexits.h."""
TOLD = "told to end"
"""With what the engine is cancelled at a signal, and at no other time."""
NO_LOCK = -1
"""Handed down instead of a descriptor where there is no process lock."""
BEAT_EVERY = 1.0
"""Seconds between two words of an event loop that turns."""


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
    # Whoever reads it may have gone, or stand still.
    telling = threading.Thread(target=_tell_of_the_end, name="last-words", daemon=True)
    telling.start()
    telling.join(1.0)
    os._exit(EXIT_HUNG)


def _tell_of_the_end() -> None:
    with suppress(OSError):
        os.write(2, b"countermand: the process did not end by itself; it is ended\n")


def run(engine: Engine, inherited: Inherited) -> None:
    """Run the engine until SIGTERM has made it drain; whatever it raises passes through."""
    inherited.keep_private()
    die_with_parent(inherited.life)
    with socket.socket(fileno=inherited.listener) as listener:
        asyncio.run(_serve(engine, listener, inherited.ready))


async def _serve(engine: Engine, listener: socket.socket, ready: int) -> None:
    listener.setblocking(False)
    pulse, hurried, loop = Pulse(ready), asyncio.Event(), asyncio.get_running_loop()
    task = asyncio.ensure_future(engine(listener, pulse.begin, hurried))
    # Before the others: by itself it would end the process.
    loop.add_signal_handler(HURRY, hurried.set)
    told = _Told(task)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.end)
    # Being cancelled is how it is told to stop.
    with suppress(asyncio.CancelledError):
        await task


class _Told:
    """Cancels the engine once, however often it is told to end, and by whom.

    A service manager tells every process of a service, and the parent tells its child as well:
    another cancellation would break off the drain.
    """

    def __init__(self, engine: asyncio.Future[None]) -> None:
        self._engine = engine
        self._ending = False

    def end(self) -> None:
        """Have the engine end."""
        if not self._ending:
            self._ending = True
            self._engine.cancel(TOLD)


class Pulse:
    """Tells the parent that the engine is ready, and from then on that the event loop turns."""

    def __init__(self, ready: int) -> None:
        # It must not wait for a parent that does not read.
        os.set_blocking(ready, False)
        self._ready = ready
        self._begun = False

    def begin(self) -> None:
        """Say that it is ready; to be called in the event loop."""
        if not self._begun:
            self._begun = True
            self._beat()

    def _beat(self) -> None:
        # The parent closes its end only when it ends, and then this process ends too; of one that
        # was stopped for long the pipe is full.
        with suppress(BrokenPipeError, BlockingIOError):
            os.write(self._ready, b"1")
        asyncio.get_running_loop().call_later(BEAT_EVERY, self._beat)
