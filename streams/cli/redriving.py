"""Redriving: the verbs that list dead letters, and send them again."""

from __future__ import annotations

import dataclasses
import logging
from typing import Annotated

import typer

from streams.cli.options import FLAG, AsJson
from streams.cli.output import emit, plain, say
from streams.cli.scaling import Broker


def letters(*, broker: Broker = None, as_json: AsJson = False) -> None:
    """List dead letters by code and topic, the most first, each with its latest cause.

    Letters stay for as long as their topic keeps them: what was sent again is still listed.

    \b
    Example:
      countermand topics letters --json
    """
    import asyncio

    from streams.redriving import list_all
    from streams.settings import load

    logging.getLogger().addHandler(logging.NullHandler())
    found = asyncio.run(list_all(load(broker=broker).broker_address))
    if as_json:
        groups = [dataclasses.asdict(group) for group in found.groups]
        emit({"groups": groups, "others": found.others})
        return
    for group in found.groups:
        print(plain(f"{group.code}  {group.topic}  {group.letters}"))
        print(plain(f"  {group.reason} ({group.key}, at {group.place})"))
    if found.others:
        say(f"{found.others} more are no letters of ours, or of too many kinds to be told apart")
    if not found.groups:
        say("there are no dead letters")


def redrive(
    *,
    code: Annotated[
        str, typer.Option(help="The code of the letters, as in their header countermand-code.")
    ],
    limit: Annotated[
        int | None, typer.Option(min=1, help="Send so many and no more.", show_default=False)
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", metavar=FLAG, help="Count them, and send nothing.")
    ] = False,
    from_start: Annotated[
        bool,
        typer.Option(
            "--from-start", metavar=FLAG, help="Begin with the oldest letter, not behind the last."
        ),
    ] = False,
    broker: Broker = None,
    as_json: AsJson = False,
) -> None:
    """Send dead letters to where they were, once their cause is mended.

    Each code has its place: a run goes on where the last one for it ended, however it
    ended, and ends at the letters that were there when it began. What was handled
    meanwhile has no effect.

    \b
    Examples:
      countermand topics letters
      countermand topics redrive --code unsupported_version --dry-run
      countermand topics redrive --code unsupported_version --limit 100
    """
    import asyncio

    from streams.bootstrap import installed_operations
    from streams.redriving import Run, redrive_all
    from streams.settings import load

    run = Run(
        code=code,
        systems=tuple(installed_operations().systems),
        limit=limit,
        dry=dry_run,
        from_start=from_start,
    )
    # What Kafka's client logs of each attempt, the error at the end says in a sentence.
    logging.getLogger().addHandler(logging.NullHandler())
    found = asyncio.run(redrive_all(load(broker=broker).broker_address, run))
    if as_json:
        emit({"sent": found.sent, "left": found.left, "more": found.more, "dry_run": dry_run})
        return
    verb = "would be sent" if dry_run else "sent"
    say(f"{found.sent} {verb}{', and there are more' if found.more else ''}")
    if found.left:
        say(
            f"{found.left} left: cut, or not of commands and not of a system installed here; "
            "install it and run this with --from-start"
        )
