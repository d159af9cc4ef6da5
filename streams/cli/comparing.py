"""Comparing: two runs, item by item. Changes nothing."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from streams.cli.options import DEFAULT_URL, FLAG, AsJson, JobId, Url
from streams.cli.output import emit, pipe_may_close, say

SHOWN = 50

OtherId = Annotated[
    str,
    typer.Argument(metavar="OTHER", help="The other job, or the same one.", show_default=False),
]


def diff(  # noqa: PLR0913 - the options of a command
    job_id: JobId,
    other: OtherId,
    *,
    at: Annotated[
        int | None, typer.Option(min=1, help="JOB as it was at this version.", show_default=False)
    ] = None,
    other_at: Annotated[
        int | None, typer.Option(min=1, help="OTHER as it was at this version.", show_default=False)
    ] = None,
    generation: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="JOB as this generation left it; each undo begins one.",
            show_default=False,
        ),
    ] = None,
    other_generation: Annotated[
        int | None,
        typer.Option(min=0, help="OTHER as this generation left it.", show_default=False),
    ] = None,
    key: Annotated[
        str,
        typer.Option(
            help="JSON pointer to what an item is called, as /id: pairs by it, not by position.",
            show_default=False,
        ),
    ] = "",
    change: Annotated[
        list[str] | None,
        typer.Option(
            help="Only items with this one: same, status, result, only_this, only_other. "
            "May be given several times; all but same when left out.",
            show_default=False,
        ),
    ] = None,
    summary: Annotated[
        bool, typer.Option("--summary", metavar=FLAG, help="Only how many there are.")
    ] = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Compare two runs item by item, by position or key; --json streams all that differ.

    \b
    Examples:
      countermand diff 0192f7a1-... 0192f7b2-... --key /id
      countermand diff 0192f7a1-... 0192f7a1-... --generation 0
      countermand diff 0192f7a1-... 0192f7a1-... --at 7 --change status --json
    """
    from streams.cli.exporting import export_diff, first_differences
    from streams.cli.session import talk

    given = {
        **{"at": at, "other_at": other_at},
        **{"generation": generation, "other_generation": other_generation},
    }
    runs: list[tuple[str, str | int]] = [
        (name, number) for name, number in given.items() if number is not None
    ]
    runs += [("key", key)] if key else []
    query = [*runs, *(("change", one) for one in change or ())]
    if as_json and not summary:
        with pipe_may_close():
            talk(
                url,
                lambda client: export_diff(client, job_id, other, query, sys.stdout.buffer),
            )
        return
    # First what may be refused: nothing is printed of a diff that cannot be made.
    found: list[dict[str, Any]] = []
    if not summary:
        found = talk(url, lambda client: first_differences(client, job_id, other, query, SHOWN + 1))
    counted = talk(url, lambda client: client.diff_summary(job_id, other, runs))
    if as_json:
        emit(counted)
        return
    from streams.cli.comparison_tables import difference_table, summary_lines
    from streams.cli.render import console

    for line in summary_lines(counted):
        print(line)
    if found:
        console().print(difference_table(found[:SHOWN]))
    if len(found) > SHOWN:
        say("there are more; all of them: --json")
