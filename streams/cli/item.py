"""Item: one item of a job, with all that has become of it."""

from __future__ import annotations

from typing import Annotated

import typer

from streams.cli.options import DEFAULT_URL, AsJson, JobId, Url
from streams.cli.output import emit


def item(
    job_id: JobId,
    position: Annotated[int, typer.Argument(metavar="POSITION", min=0, help="0 is the first.")],
    *,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Show one item of a job with all its attempts, undos included.

    \b
    Example:
      countermand item 0192f7a1-... 250
    """
    from streams.cli.session import talk

    found = talk(url, lambda client: client.item(job_id, position))
    if as_json:
        emit(found)
        return
    from streams.cli.attempt_table import attempt_table
    from streams.cli.render import console

    console().print(attempt_table(found))
