"""Serve: the server, as a supervising parent and an engine in a child process."""

from __future__ import annotations

from typing import Annotated

import typer

from streams import defaults
from streams.cli.options import FLAG, AsJson, DatabaseUrl, DataDir


def serve(
    *,
    data_dir: DataDir = None,
    host: Annotated[
        str | None, typer.Option(help="Loopback address to listen on.", show_default=defaults.HOST)
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="0 takes a free one.", show_default=str(defaults.PORT)),
    ] = None,
    database: DatabaseUrl = None,
    worker_memory: Annotated[
        int | None,
        typer.Option(
            help="MiB above which the engine is started anew.",
            show_default=str(defaults.WORKER_MEMORY),
        ),
    ] = None,
    log_level: Annotated[
        str | None,
        typer.Option(help="debug, info, warning or error.", show_default=defaults.LOG_LEVEL),
    ] = None,
    end_with_input: Annotated[
        bool,
        typer.Option(
            "--end-with-input",
            metavar=FLAG,
            help="Stop when standard input ends: for a program that starts a server and must "
            "not leave it behind.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Serve the API, and work the jobs, until SIGTERM or Ctrl-C.

    Prints its address when it is ready. The engine runs in a child process: when
    that dies, it is started again and the jobs go on. Ctrl-C lets work in flight
    end first; a second one does not wait. All settings can also be given as
    COUNTERMAND_... variables.

    \b
    Examples:
      countermand serve
      countermand serve --data-dir /var/lib/countermand --port 9000
      countermand serve --port 0 --json      prints {"url": ...} on one line
    """
    from streams.cli.supervising import supervise
    from streams.settings import load

    settings = load(
        data_dir=data_dir,
        host=host,
        port=port,
        database=database,
        worker_memory=worker_memory,
        log_level=log_level,
    )
    raise typer.Exit(supervise(settings, as_json=as_json, end_with_input=end_with_input))
