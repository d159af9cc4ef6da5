"""Looking back: export, history and blame. They change nothing."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from streams.cli.options import (
    DEFAULT_URL,
    FLAG,
    AsJson,
    Code,
    JobId,
    Record,
    RecordId,
    Statuses,
    TableName,
    Url,
)
from streams.cli.output import emit, pipe_may_close, say, whole_file


class ExportFormat(StrEnum):
    """How items are exported."""

    NDJSON = "ndjson"
    CSV = "csv"
    ITEMS = "items"


Form = Annotated[
    ExportFormat,
    typer.Option(
        "--format",
        help="ndjson and csv have item, status, error and result; items is what was sent "
        "and nothing else, which submit takes again.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", help="A file, which is there once all is in it.", show_default=False
    ),
]


def export(
    job_id: JobId,
    *,
    status: Statuses = None,
    code: Code = None,
    record: Record = None,
    form: Form = ExportFormat.NDJSON,
    output: Output = None,
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
    from streams.cli.exporting import item_filters
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


def history(
    table: TableName,
    record_id: RecordId,
    *,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Versions a page.")] = 20,
    cursor: Annotated[str, typer.Option(help="Where the page before this one ended.")] = "",
    values: Annotated[
        bool,
        typer.Option("--values", metavar=FLAG, help="With --json: all that each version left."),
    ] = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Show every version of a record, the latest first: who wrote it, when, and what changed.

    \b
    Examples:
      countermand history annotations 17
      countermand history annotations 17 --values --json
    """
    from streams.cli.session import talk

    query: list[tuple[str, str | int]] = [("limit", limit)]
    query += [("cursor", cursor)] if cursor else []
    query += [("include", "values")] if values else []
    page = talk(url, lambda client: client.record(table, record_id, "history", query))
    if as_json:
        emit(page)
        return
    from streams.cli.record_tables import history_table
    from streams.cli.render import console

    console().print(history_table(page["items"]))
    if page["next_cursor"]:
        say(f"there are more: --cursor {page['next_cursor']}")


def blame(
    table: TableName, record_id: RecordId, *, url: Url = DEFAULT_URL, as_json: AsJson = False
) -> None:
    """Show who wrote the present value of each column of a record.

    \b
    Example:
      countermand blame annotations 17
    """
    from streams.cli.session import talk

    record = talk(url, lambda client: client.record(table, record_id, "blame"))
    if as_json:
        emit(record)
        return
    from streams.cli.record_tables import blame_table, written_line
    from streams.cli.render import console

    say(written_line(record))
    if not record["deleted"]:
        console().print(blame_table(record))
