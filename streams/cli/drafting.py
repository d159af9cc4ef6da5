"""Drafting: the verbs of a job whose items are still being put together."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from domain.errors import InvalidCommand
from streams.cli.job_options import read_json
from streams.cli.options import (
    DEFAULT_URL,
    STANDARD_INPUT,
    AsJson,
    Edits,
    JobId,
    Key,
    Reason,
    Url,
    Watch,
)
from streams.cli.submit import report


def append(
    job_id: JobId,
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="NDJSON, or JSON with a list; - is standard input."),
    ] = STANDARD_INPUT,
    *,
    part: Annotated[
        int,
        typer.Option(min=0, help="Its number; `submit --draft` sends 0.", show_default=False),
    ],
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Add the items of a file to a draft, as one of its parts.

    The same part, sent again, does no harm; other items under its number are refused.

    \b
    Example:
      countermand append 0192f7a1-... more.ndjson --part 1
    """
    from streams.cli.session import talk
    from streams.cli.submitting import appended

    job = talk(url, lambda client: appended(client, job_id, part, file))
    report(job, url, watch=False, as_json=as_json)


def edit(
    job_id: JobId,
    *,
    edit: Edits = None,
    drop: Annotated[
        list[int] | None,
        typer.Option(min=0, help="Position of an item that is not to be worked; repeated."),
    ] = None,
    reason: Reason = "",
    key: Key = "",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Edit items of a draft, before it is sealed; the old bodies are kept.

    \b
    Example:
      countermand edit 0192f7a1-... --edit '17={"id": 9, "price": 4}' --drop 3
    """
    from streams.cli.session import talk

    said = {"edits": [edited(one) for one in edit or ()], "drop": drop}
    more = {name: value for name, value in said.items() if value}
    job = talk(url, lambda client: client.command(job_id, "edit", reason, more, key=key))
    report(job, url, watch=False, as_json=as_json)


def seal(
    job_id: JobId,
    *,
    items: Annotated[
        int | None,
        typer.Option(min=0, help="Refuse when so many have not arrived.", show_default=False),
    ] = None,
    key: Key = "",
    watch: Watch = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Close a draft: its items are all there, and it starts.

    \b
    Examples:
      countermand seal 0192f7a1-... --watch
      countermand seal 0192f7a1-... --items 12000
    """
    from streams.cli.session import talk

    job = talk(url, lambda client: client.seal(job_id, items, key=key))
    report(job, url, watch=watch, as_json=as_json)


def edited(text: str) -> dict[str, Any]:
    """An item with its new body, as ``--edit`` gives both."""
    position, equals, body = text.partition("=")
    if not equals or not position.isdecimal():
        raise InvalidCommand(f"--edit {text}: write it as POSITION=JSON")
    return {"item": int(position), "body": read_json("--edit", body)}
