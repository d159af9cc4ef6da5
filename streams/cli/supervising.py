"""Supervising: what the parent process of ``countermand serve`` does."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import UTC, datetime

from streams.cli.output import complain, emit, give_up_output, say
from streams.process_lock import ProcessLock, acquire
from streams.roles import Role
from streams.settings import Settings, check_broker, check_callers, check_memory, environment
from streams.supervised import NO_LOCK
from streams.supervisor import MIB, ChildPipes, Limits, Supervisor, listen, url_of

DRAIN_MARGIN = 5.0
"""Seconds for the engine to end by itself when its own time for the drain has run out."""

ALLOCATING = {"MALLOC_ARENA_MAX": "2"}
"""glibc gives each thread an arena of its own, and what one has freed is of no use to another: with
the blocks of a large job that is memory again as much as they take."""

# -P: a folder named like one of our packages in the working directory is not ours.
CHILD = (sys.executable, "-P", "-m", "api.process")


def supervise(
    settings: Settings, role: Role = Role.SERVE, *, as_json: bool, end_with_input: bool
) -> int:
    """Serve until a signal, or the end of the input, asks to stop; returns the exit code.

    Raises DataDirectoryUnusable when the directory is held, SettingsInvalid when the port is, when
    others reach a server that asks nobody who calls, or when it would not use its broker or its
    memory.
    """
    check_callers(settings, role)
    check_broker(settings, role)
    check_memory(settings)
    with _held(settings, role) as lock, listen(settings.host, settings.port) as listener:
        descriptors = (listener.fileno(), *([] if lock is None else [lock.fileno()]))

        def command(pipes: ChildPipes) -> list[str]:
            held = NO_LOCK if lock is None else lock.fileno()
            handed = (listener.fileno(), held, pipes.ready, pipes.life)
            return [*CHILD, role.value, *map(str, handed)]

        supervisor = Supervisor(
            command,
            limits=Limits(
                memory=settings.worker_memory * MIB,
                drain=settings.drain + DRAIN_MARGIN,
                leave=settings.leave if role.serves_callers else 0.0,
            ),
            on_ready=lambda: _say_ready(role, url_of(listener), settings, as_json=as_json),
            say=_say_of_the_engine,
            pass_fds=descriptors,
            env={**ALLOCATING, **os.environ, **environment(settings)},
        )
        if end_with_input:
            threading.Thread(target=_stop_at_end_of_input, daemon=True).start()
        return supervisor.run()


def _held(settings: Settings, role: Role) -> AbstractContextManager[ProcessLock | None]:
    """The lock of the data directory, for the one kind of process that must be alone."""
    return acquire(settings.data_dir) if role is Role.SERVE else nullcontext()


def _say_of_the_engine(sentence: str) -> None:
    """To who looks on in words, and else as a line of the log, which its engine writes too."""
    if sys.stderr is not None and sys.stderr.isatty():
        say(f"countermand: {sentence}")
        return
    entry = {
        "reason": sentence,
        "event": "supervised",
        "level": "warning",
        "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
    }
    complain(json.dumps(entry, ensure_ascii=False))


def _stop_at_end_of_input() -> None:
    # One that was closed before we began, or whose terminal has gone, has ended.
    with suppress(OSError):
        while sys.stdin is not None and os.read(sys.stdin.fileno(), 4096):
            pass
    os.kill(os.getpid(), signal.SIGTERM)


def _say_ready(role: Role, url: str, settings: Settings, *, as_json: bool) -> None:
    try:
        _print_ready(role, url, settings, as_json=as_json)
    except OSError as error:
        # Its callers wait for the engine, and nobody for these lines.
        give_up_output()
        _say_of_the_engine(f"it is ready, and cannot say so at its output ({error.strerror})")


def _print_ready(role: Role, url: str, settings: Settings, *, as_json: bool) -> None:
    if as_json:
        emit({"url": url})
    elif role.serves_callers:
        print(f"Countermand serves at {url}")
        print(_whom(settings), flush=True)
    else:
        print(f"A {role} of Countermand runs; its health: {url}/health/ready", flush=True)


def _whom(settings: Settings) -> str:
    if settings.actors == "proven":
        return "Callers need a token or an API key."
    return "Nobody is asked who calls: whoever reaches this address may do everything."
