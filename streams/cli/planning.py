"""Plans: what a dry run has found, and the job that does it for good."""

from __future__ import annotations

from typing import Annotated

import typer

from streams.cli.options import DEFAULT_URL, AsJson, JobId, Url, Watch
from streams.cli.output import emit, plain, say
from streams.cli.render import counts_line
from streams.cli.submit import report


def plan(job_id: JobId, *, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show what a finished dry run has found: its digest, and which records have changed since.

    \b
    Examples:
      countermand submit shop.reprice new.ndjson --dry-run --watch
      countermand plan 0192f7a1-...
      countermand items 0192f7a1-... --status planned     with each change, as JSON: --json
    """
    from streams.cli.session import talk

    found = talk(url, lambda client: client.plan(job_id))
    if as_json:
        emit(found)
        return
    print(found["digest"])
    say(plain(f"{found['operation']}: {counts_line(found['counts'])}"))
    if found["validated_only"]:
        say("the items were only validated: what the operation does cannot be rolled back")
    for record in found["changed"]:
        now = "gone" if record["version"] is None else f"at version {record['version']}"
        say(f"{record['table']}/{record['record']} is {now}, planned at {record['planned']}")
    if found["applied_by"]:
        say(f"applied by job {found['applied_by']}")
    elif found["changed"]:
        say("to see it as it is now, make a new dry run")
    else:
        say(f"to do it: countermand apply {job_id} --digest {found['digest']}")


def apply(
    job_id: JobId,
    *,
    digest: Annotated[
        str, typer.Option(help="Refuse unless the plan is the one of this digest.")
    ] = "",
    key: Annotated[
        str, typer.Option(help="Idempotency key: the same key never makes a second job.")
    ] = "",
    watch: Watch = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Do for good what a dry run has planned, as a new job; refused if a record has changed since.

    \b
    Examples:
      countermand apply 0192f7a1-... --watch
      countermand apply 0192f7a1-... --digest 4be1...     as `countermand plan` shows it
    """
    from streams.cli.session import talk

    job = talk(url, lambda client: client.apply(job_id, digest, key))
    report(job, url, watch=watch, as_json=as_json)
