"""Timing: when a job starts, and by when it should have ended."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from streams.cli.job_options import moment_of
from streams.cli.options import DEFAULT_URL, FLAG, AsJson, JobId, Key, Reason, Url
from streams.cli.submit import report


def schedule(  # noqa: PLR0913 - the options of a command
    job_id: JobId,
    *,
    start_at: Annotated[
        str, typer.Option(metavar="MOMENT", help="Nothing of it runs before.", show_default=False)
    ] = "",
    now: Annotated[
        bool, typer.Option("--now", metavar=FLAG, help="Start it now, whatever was said.")
    ] = False,
    deadline: Annotated[
        str,
        typer.Option(metavar="MOMENT", help="It should have ended by then.", show_default=False),
    ] = "",
    no_deadline: Annotated[
        bool, typer.Option("--no-deadline", metavar=FLAG, help="It may take as long as it takes.")
    ] = False,
    reason: Reason = "",
    key: Key = "",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Say when a job starts that has not started, and by when it should have ended.

    A moment is written as 2026-12-24T18:00, by this machine's clock unless it says its zone.

    \b
    Examples:
      countermand schedule 0192f7a1-... --start-at 2026-12-24T18:00
      countermand schedule 0192f7a1-... --now --reason "the shop has closed early"
      countermand schedule 0192f7a1-... --deadline 2026-12-25T06:00Z
    """
    from streams.cli.session import talk

    lifted = {"start_at": now, "deadline": no_deadline}
    moments = {"start_at": start_at, "deadline": deadline}
    said: dict[str, Any] = {
        n: moment_of(f"--{n.replace('_', '-')}", text) for n, text in moments.items() if text
    }
    lift = [name for name, lift in lifted.items() if lift]
    said |= {"lift": lift} if lift else {}
    job = talk(url, lambda client: client.command(job_id, "adjust", reason, said, key=key))
    report(job, url, watch=False, as_json=as_json)
