"""Demo: the whole story on a server of its own, for whoever wants to see it work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streams.cli import exits
from streams.cli.options import FLAG, AsJson
from streams.cli.output import emit, say

SEED = 20_250_101


def demo(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE",
            help="Texts to annotate instead of Python's help topics: text files, or a JSON "
            "object of texts.",
            show_default=False,
        ),
    ] = None,
    *,
    seed: Annotated[int, typer.Option(help="Draws the mistakes and the later changes.")] = SEED,
    keep: Annotated[
        bool, typer.Option("--keep", metavar=FLAG, help="Keep the data directory.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """See it work: annotate real texts in bulk, fail, retry, change, undo, and prove it.

    Starts a server of its own on a free port with a temporary data directory.
    Finds the words of Python in the help topics that every Python ships, submits
    them as one job with wrong ones among them, and checks every claim on the way;
    ends with 0 only if all held.

    \b
    Examples:
      countermand demo
      countermand demo README.md notes.txt
      countermand demo --keep --json
    """
    from streams.cli.demo_run import run

    outcome = run(files or [], seed=seed, keep=keep, as_json=as_json)
    if as_json:
        emit(outcome.document())
    if outcome.kept is not None:
        say(f"the data directory is kept: {outcome.kept}")
    if not outcome.held:
        raise typer.Exit(exits.FAILED)
