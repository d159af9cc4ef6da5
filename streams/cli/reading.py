"""Reading verbs: jobs, show, items, events, errors, operations. They change nothing."""

from __future__ import annotations

import sys
from enum import StrEnum
from itertools import islice
from typing import Annotated, Any

import typer

from domain.errors import InvalidCommand
from streams.cli.options import DEFAULT_URL, FLAG, AsJson, Code, JobId, Record, Statuses, Url
from streams.cli.output import emit, pipe_may_close, say

PAGE = 20
TABLE_ITEMS = 50


class ItemFormat(StrEnum):
    """How items are written out."""

    TABLE = "table"
    NDJSON = "ndjson"
    CSV = "csv"


def jobs(  # noqa: PLR0913 - the options of a command
    *,
    status: Annotated[
        list[str] | None,
        typer.Option(help="Only jobs in this status; may be given several times."),
    ] = None,
    operation: Annotated[str, typer.Option(help="Only jobs of this kind.")] = "",
    tag: Annotated[str, typer.Option(help="Only jobs with this tag.")] = "",
    search: Annotated[str, typer.Option("--search", "-q", help="Text within the name.")] = "",
    after: Annotated[str, typer.Option(help="Created at or after this time (ISO 8601).")] = "",
    before: Annotated[str, typer.Option(help="Created before this time (ISO 8601).")] = "",
    sort: Annotated[str, typer.Option(help="As created_at, or -created_at for newest first.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=500, help="Jobs a page.")] = PAGE,
    cursor: Annotated[str, typer.Option(help="Where the page before this one ended.")] = "",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """List jobs, a page at a time.

    \b
    Examples:
      countermand jobs --status running
      countermand jobs --tag nightly --after 2025-06-01T00:00:00Z --json
    """
    from streams.cli.session import talk

    chosen = {
        **{"operation": operation, "tag": tag, "q": search},
        **{"created_after": after, "created_before": before, "sort": sort, "cursor": cursor},
    }
    query: list[tuple[str, str | int]] = [("limit", limit)]
    query += [("status", one) for one in status or ()]
    query += [(name, value) for name, value in chosen.items() if value]
    page = talk(url, lambda client: client.get("/api/v1/jobs", query))
    if as_json:
        emit(page)
        return
    from streams.cli.render import console, job_table

    page_of_text = console()
    page_of_text.print(job_table(page["items"], page_of_text.width))
    if page["next_cursor"]:
        say(f"there are more: --cursor {page['next_cursor']}")


def show(
    job_id: JobId,
    *,
    at: Annotated[
        int | None, typer.Option("--at", min=1, help="As it was at this version.")
    ] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Show one job as it is, or as it was at any version of its past.

    \b
    Examples:
      countermand show 0192f7a1-...
      countermand show 0192f7a1-... --at 3 --json
    """
    from streams.cli.session import talk

    job = talk(url, lambda client: client.job(job_id, at=at))
    if as_json:
        emit(job)
        return
    from streams.cli.render import console, job_details

    console().print(job_details(job))
    if job.get("steps"):
        from streams.cli.step_table import step_table

        console().print(step_table(job["steps"]))


def items(  # noqa: PLR0913 - the options of a command
    job_id: JobId,
    *,
    status: Statuses = None,
    code: Code = None,
    record: Record = None,
    called: Annotated[
        str | None,
        typer.Option("--key", help="Only items that are called so, by the job's option key."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many; a table stops at 50.")
    ] = None,
    form: Annotated[
        ItemFormat, typer.Option("--format", help="ndjson and csv stream, however many.")
    ] = ItemFormat.TABLE,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """List the items of a job with their results; --json is --format ndjson.

    \b
    Examples:
      countermand items 0192f7a1-... --status failed --code timeout
      countermand items 0192f7a1-... --record annotations/17
      countermand items 0192f7a1-... --key ISBN-978-3
      countermand items 0192f7a1-... --format csv > ledger.csv
    """
    from streams.cli.exporting import export, first_items, item_filters
    from streams.cli.session import talk

    query = item_filters(status, code, record, called)
    wanted = ItemFormat.NDJSON if as_json else form
    if wanted is not ItemFormat.TABLE:
        query += [("limit", limit)] if limit else []
        with pipe_may_close():
            talk(url, lambda client: export(client, job_id, query, wanted, sys.stdout.buffer))
        return
    from streams.cli.render import console, item_table

    most = limit or TABLE_ITEMS
    found = talk(url, lambda client: first_items(client, job_id, query, most + 1))
    console().print(item_table(found[:most]))
    if len(found) > most:
        say("there are more; all of them: --format ndjson or --format csv")


def events(
    job_id: JobId,
    *,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow", "-f", metavar=FLAG, help="Go on as events come, to the job's end."
        ),
    ] = False,
    after: Annotated[int, typer.Option(min=0, help="Only those behind this version.")] = 0,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """List what happened to a job: its stored events, oldest first.

    \b
    Examples:
      countermand events 0192f7a1-...
      countermand events 0192f7a1-... --follow --json
    """
    from streams.cli.exporting import print_events
    from streams.cli.session import talk

    with pipe_may_close():
        talk(
            url,
            lambda client: print_events(client, job_id, after, follow=follow, as_json=as_json),
        )


def errors(job_id: JobId, *, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show why items failed: groups that look alike, the largest first.

    \b
    Example:
      countermand errors 0192f7a1-...
    """
    from streams.cli.session import talk

    groups = talk(url, lambda client: client.errors(job_id))
    if as_json:
        emit({"items": groups})
        return
    from streams.cli.render import console, error_table

    if groups:
        console().print(error_table(groups))
        say(f"each of them: countermand items {job_id} --status failed")
    else:
        say("no item has failed")


def operations(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND", help="One operation, with the JSON Schemas of item and params."
        ),
    ] = "",
    *,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """List what the server can do.

    \b
    Examples:
      countermand operations
      countermand operations annotations.create
    """
    from streams.cli.session import talk

    found: list[dict[str, Any]] = talk(url, lambda client: client.get("/api/v1/operations"))[
        "items"
    ]
    if kind:
        found = list(islice((one for one in found if one["kind"] == kind), 1))
        if not found:
            raise InvalidCommand(
                f"there is no operation {kind!r}; `countermand operations` lists them"
            )
    if as_json or kind:
        emit(found[0] if kind else {"items": found})
        return
    from streams.cli.render import console, operation_table

    console().print(operation_table(found))
