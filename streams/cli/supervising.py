"""Supervising: what the parent process of ``countermand serve`` does."""

from __future__ import annotations

import os
import signal
import sys
import threading

from streams.cli.output import emit, say
from streams.process_lock import acquire
from streams.settings import Settings, environment
from streams.supervisor import MIB, ChildPipes, Limits, Supervisor, listen, url_of

DRAIN_MARGIN = 5.0
"""Seconds for the engine to end by itself when its own time for the drain has run out."""

# -P: a folder named like one of our packages in the working directory is not ours.
CHILD = (sys.executable, "-P", "-m", "api.serve")


def supervise(settings: Settings, *, as_json: bool, end_with_input: bool) -> int:
    """Serve until a signal, or the end of the input, asks to stop; returns the exit code.

    Raises DataDirectoryUnusable when the directory is held, SettingsInvalid when the port is.
    """
    with acquire(settings.data_dir) as lock, listen(settings.host, settings.port) as listener:

        def command(pipes: ChildPipes) -> list[str]:
            handed = (listener.fileno(), lock.fileno(), pipes.ready, pipes.life)
            return [*CHILD, *map(str, handed)]

        supervisor = Supervisor(
            command,
            limits=Limits(memory=settings.worker_memory * MIB, drain=settings.drain + DRAIN_MARGIN),
            on_ready=lambda: _say_ready(url_of(listener), as_json=as_json),
            say=lambda sentence: say(f"countermand: {sentence}"),
            pass_fds=(listener.fileno(), lock.fileno()),
            env={**os.environ, **environment(settings)},
        )
        if end_with_input:
            threading.Thread(target=_stop_at_end_of_input, daemon=True).start()
        return supervisor.run()


def _stop_at_end_of_input() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _say_ready(url: str, *, as_json: bool) -> None:
    if as_json:
        emit({"url": url})
    else:
        print(f"Countermand serves at {url}", flush=True)
