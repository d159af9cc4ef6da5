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
At = Annotated[
    int | None,
    typer.Option("--at", min=1, help="JOB as it was at this version.", show_default=False),
]
OtherAt = Annotated[
    int | None,
    typer.Option("--other-at", min=1, help="OTHER as it was at this version.", show_default=False),
]
Generation = Annotated[
    int | None,
    typer.Option(
        "--generation",
        min=0,
        help="JOB as this generation left it; each undo begins one.",
        show_default=False,
    ),
]
OtherGeneration = Annotated[
    int | None,
    typer.Option(
        "--other-generation",
        min=0,
        help="OTHER as this generation left it.",
        show_default=False,
    ),
]
Key = Annotated[
    str,
    typer.Option(
        "--key",
        help="JSON pointer to what an item is called, as /id: pairs by it, not by position.",
        show_default=False,
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--change",
        help="Only items with this one: same, status, result, only_this, only_other. "
        "May be given several times; all but same when left out.",
        show_default=False,
    ),
]
OnlySummary = Annotated[
    bool, typer.Option("--summary", metavar=FLAG, help="Only how many there are.")
]


def diff(  # noqa: PLR0913 - the options of a command
    job_id: JobId,
    other: OtherId,
    *,
    at: At = None,
    other_at: OtherAt = None,
    generation: Generation = None,
    other_generation: OtherGeneration = None,
    key: Key = "",
    change: Changes = None,
    summary: OnlySummary = False,
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
    given = {
        **{"at": at, "other_at": other_at, "key": key or None},
        **{"generation": generation, "other_generation": other_generation},
    }
    runs: Runs = [(name, value) for name, value in given.items() if value is not None]
    wanted: Runs = [("change", one) for one in change or ()]
    if as_json and not summary:
        _export(url, job_id, other, [*runs, *wanted])
    elif as_json:
        emit(_counted(url, job_id, other, runs))
    else:
        _show(url, job_id, other, runs, None if summary else wanted)


Runs = list[tuple[str, str | int]]
"""Parameters that name the runs."""


def _export(url: str, job_id: str, other: str, query: Runs) -> None:
    from streams.cli.exporting import export_diff
    from streams.cli.session import talk

    with pipe_may_close():
        talk(url, lambda client: export_diff(client, job_id, other, query, sys.stdout.buffer))


def _counted(url: str, job_id: str, other: str, runs: Runs) -> dict[str, Any]:
    from streams.cli.session import talk

    found: dict[str, Any] = talk(url, lambda client: client.diff_summary(job_id, other, runs))
    return found


def _show(url: str, job_id: str, other: str, runs: Runs, wanted: Runs | None) -> None:
    """The summary, and the first items, unless ``wanted`` is None."""
    from streams.cli.comparison_tables import difference_table, summary_lines
    from streams.cli.exporting import first_differences
    from streams.cli.render import console
    from streams.cli.session import talk

    # First what may be refused: nothing is printed of a diff that cannot be made.
    found: list[dict[str, Any]] = []
    if wanted is not None:
        query = [*runs, *wanted]
        found = talk(url, lambda client: first_differences(client, job_id, other, query, SHOWN + 1))
    for line in summary_lines(_counted(url, job_id, other, runs)):
        print(line)
    if found:
        console().print(difference_table(found[:SHOWN]))
    if len(found) > SHOWN:
        say("there are more; all of them: --json")
