"""Compensations: what an undo has taken back outside of the database, and what not."""

from __future__ import annotations

from typing import Annotated

import typer

from streams.cli.options import DEFAULT_URL, AsJson, JobId, Url
from streams.cli.output import emit, say


def compensations(
    job_id: JobId,
    *,
    stage: Annotated[
        list[str] | None,
        typer.Option(
            help="Only those that are trying, done, failed or in conflict; may be repeated.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Items a page.")] = 20,
    cursor: Annotated[str, typer.Option(help="Where the page before this one ended.")] = "",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Show which effects outside an undo has taken back, item by item, and which it could not.

    \b
    Example:
      countermand compensations 0192f7a1-... --stage failed
    """
    from streams.cli.session import talk

    query: list[tuple[str, str | int]] = [("limit", limit)]
    query += [("stage", one) for one in stage or ()]
    query += [("cursor", cursor)] if cursor else []
    page = talk(url, lambda client: client.compensations(job_id, query))
    if as_json:
        emit(page)
        return
    from streams.cli.preview_table import compensation_table
    from streams.cli.render import console

    console().print(compensation_table(page["items"]))
    if page["next_cursor"]:
        say(f"there are more: --cursor {page['next_cursor']}")
