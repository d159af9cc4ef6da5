"""Batches: several jobs that come after one another, submitted as one document."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from domain.errors import InvalidCommand
from streams.cli.job_options import read_json
from streams.cli.options import DEFAULT_URL, STANDARD_INPUT, AsJson, Url, Watch
from streams.cli.submit import report


def batch(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A JSON document; - is standard input.")
    ] = STANDARD_INPUT,
    *,
    key: Annotated[
        str, typer.Option(help="Idempotency key: the same key never makes a second batch.")
    ] = "",
    watch: Watch = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Submit a batch: jobs of different kinds that come after one another.

    The document has steps, each with name, operation, items (or what it consumes of another
    step) and after. `show` lists the jobs of a batch; pause, resume, cancel and undo are for
    all of them.

    \b
    Examples:
      countermand batch nightly.json --watch
      countermand show 0192f7a1-...
      countermand undo 0192f7a1-... --branch import
    """
    from streams.cli.session import talk

    document = read_json(file, _read(file))
    job = talk(url, lambda client: client.batch(document, key))
    report(job, url, watch=watch, as_json=as_json)


def _read(name: str) -> str:
    if name == STANDARD_INPUT and sys.stdin is None:
        raise InvalidCommand("standard input is closed; name a file")
    try:
        if name == STANDARD_INPUT:
            return sys.stdin.buffer.read().decode()
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidCommand(f"cannot read {name} ({error})") from None
