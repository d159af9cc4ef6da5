"""Health: asks a process of ours whether it takes work; for container platforms and for people."""

from __future__ import annotations

from typing import Annotated

import typer

from streams.cli.options import DEFAULT_URL, AsJson, Url


def health(
    *,
    url: Url = DEFAULT_URL,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=60.0, help="Seconds to wait for the answer.")
    ] = 5.0,
    as_json: AsJson = False,
) -> None:
    """Ask a server, a coordinator or a worker whether it takes work, and if not, why.

    Exit codes: 0 it does, 1 it does not, 3 nobody answers.

    \b
    Examples:
      countermand health
      countermand health --url http://127.0.0.1:8081 --json
    """
    from streams.cli.asking import readiness
    from streams.cli.exits import DONE, FAILED
    from streams.cli.output import emit, plain

    reason = readiness(url, timeout)
    if as_json:
        emit({"ready": not reason, "reason": reason})
    else:
        print(f"not ready: {plain(reason)}" if reason else "ready", flush=True)
    raise typer.Exit(FAILED if reason else DONE)
