"""Serve: the server, as a supervising parent and an engine in a child process."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from streams.cli.options import AsJson, DatabaseUrl, DataDir
from streams.cli.output import emit, say

DRAIN_MARGIN = 5.0
"""Seconds for the engine to end by itself when its own time for the drain has run out."""

# -P: a folder named like one of our packages in the working directory is not ours.
CHILD = (sys.executable, "-P", "-m", "api.serve")


def serve(
    *,
    data_dir: DataDir = None,
    host: Annotated[
        str | None, typer.Option(help="Loopback address to listen on.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="0 takes a free one.", show_default="8080"),
    ] = None,
    database: DatabaseUrl = None,
    worker_memory: Annotated[
        int | None,
        typer.Option(help="MiB above which the engine is started anew.", show_default="1024"),
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(help="debug, info, warning or error.", show_default="info")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Serve the API, and work the jobs, until SIGTERM or Ctrl-C.

    Prints its address when it is ready. The engine runs in a child process: when that dies,
    it is started again and the jobs go on. Ctrl-C lets work in flight end first; a second
    one does not wait. All settings can also be given as COUNTERMAND_... variables.

    \b
    Examples:
      countermand serve
      countermand serve --data-dir /var/lib/countermand --port 9000
      countermand serve --port 0 --json      prints {"url": ...} on one line
    """
    from streams.process_lock import acquire
    from streams.settings import environment, load
    from streams.supervisor import MIB, ChildPipes, Limits, Supervisor, listen, url_of

    settings = load(
        data_dir=data_dir,
        host=host,
        port=port,
        database=database,
        worker_memory=worker_memory,
        log_level=log_level,
    )
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
        code = supervisor.run()
    raise typer.Exit(code)


def _say_ready(url: str, *, as_json: bool) -> None:
    if as_json:
        emit({"url": url})
    else:
        print(f"Countermand serves at {url}", flush=True)
