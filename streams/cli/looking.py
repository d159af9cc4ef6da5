"""Looking back: what became of the items of a job, as a file. Changes nothing."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from streams.cli.options import DEFAULT_URL, AsJson, Code, JobId, Record, Statuses, Url
from streams.cli.output import pipe_may_close, say


class ExportFormat(StrEnum):
    """How items are exported."""

    NDJSON = "ndjson"
    CSV = "csv"
    ITEMS = "items"


def export(
    job_id: JobId,
    *,
    status: Statuses = None,
    code: Code = "",
    record: Record = "",
    form: Annotated[
        ExportFormat,
        typer.Option(
            "--format",
            help="ndjson and csv have item, status, error and result; items is what was sent "
            "and nothing else, which submit takes again.",
        ),
    ] = ExportFormat.NDJSON,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="A file, which is there once all is in it.", show_default=False
        ),
    ] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Export the items of a job with what became of them; --json is --format ndjson.

    \b
    Examples:
      countermand export 0192f7a1-... --status failed --format csv -o failed.csv
      countermand export 0192f7a1-... --status unattempted
      countermand export 0192f7a1-... --code timeout --format items | countermand submit notes.add
    """
    from streams.cli.exporting import export as write_out
    from streams.cli.exporting import item_filters, whole_file
    from streams.cli.session import talk

    wanted = ExportFormat.NDJSON if as_json else form
    query = [*item_filters(status, code, record), ("include", "item"), ("format", wanted.value)]
    if output is None:
        with pipe_may_close():
            talk(url, lambda client: write_out(client, job_id, query, wanted, sys.stdout.buffer))
        return
    with whole_file(output) as file:
        talk(url, lambda client: write_out(client, job_id, query, wanted, file))
    say(f"written to {output}")
