"""Main: the command ``countermand``, put together from its verbs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from typing import Annotated

import typer
from typer.main import get_command

from domain.errors import CountermandError
from streams.cli import (
    audit,
    batching,
    comparing,
    compensating,
    database,
    demo,
    describing,
    drafting,
    exits,
    health,
    item,
    keys,
    looking,
    operating,
    planning,
    reading,
    retention,
    scaling,
    selecting,
    serving,
    steering,
    submit,
    timing,
    tokens,
    topics,
    webhooks,
)
from streams.cli.options import FLAG
from streams.cli.output import give_up_output, is_unwritten, say
from streams.cli.verb import Verb
from streams.standard_streams import end_in_silence

HELP = """Bulk operations on records that can be watched live, audited and undone.

\b
  countermand demo     see it work on texts that Python brings along
  countermand serve    start a server; the other verbs speak to it

\b
Exit codes:
  0  done
  1  a followed job failed, was cancelled, or has errors or conflicts; a check did not hold
  2  something must be changed first: options, input, the job's status
  3  no server answers, or not now
  4  standard output could not be written; what was asked for may be done all the same
  141  whoever read the output went away before its end, likewise
"""

app = typer.Typer(
    name="countermand",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

JOBS = "Jobs"
SERVER = "Server and data"
STANDARD_OUTPUT, STANDARD_ERROR = 1, 2


def _version(wanted: bool) -> None:
    if wanted:
        print(f"countermand {version('countermand')}")
        raise typer.Exit


@app.callback(help=HELP)
def _options(
    *,
    _shown: Annotated[
        bool,
        typer.Option(
            "--version", metavar=FLAG, help="Show the version.", is_eager=True, callback=_version
        ),
    ] = False,
) -> None: ...


app.command(rich_help_panel=JOBS)(submit.submit)
app.command(rich_help_panel=JOBS)(selecting.select)
app.command(rich_help_panel=JOBS)(batching.batch)
app.command(rich_help_panel=JOBS)(submit.watch)
for verb in (
    *(reading.jobs, reading.show, reading.items, reading.errors, reading.events),
    *(steering.pause, steering.resume, steering.cancel, steering.retry, steering.undo),
    *(drafting.edit, drafting.append, drafting.seal),
    *(steering.approve, steering.reject),
    *(steering.hold, steering.release, steering.shred, steering.archive),
    *(steering.limit, steering.priority, timing.schedule),
    item.item,
    *(looking.export, comparing.diff, looking.history, looking.blame),
    *(planning.plan, planning.apply),
    compensating.compensations,
    reading.operations,
):
    app.command(rich_help_panel=JOBS)(verb)
app.command(rich_help_panel=SERVER)(demo.demo)
app.command(rich_help_panel=SERVER)(serving.serve)
for part in (scaling.api, scaling.coordinator, scaling.worker):
    app.command(rich_help_panel=SERVER)(part)
app.command(rich_help_panel=SERVER)(describing.asyncapi)
app.command(rich_help_panel=SERVER)(describing.openapi)
app.command(rich_help_panel=SERVER)(health.health)
for look in (operating.workers, operating.weights, operating.limits):
    app.command(rich_help_panel=SERVER)(look)
app.command(rich_help_panel=SERVER)(tokens.token)
GROUPS = {
    "key": keys.app,
    "webhook": webhooks.app,
    "retention": retention.app,
    "audit": audit.app,
    "topics": topics.app,
    "db": database.app,
}
for name, group in GROUPS.items():
    app.add_typer(group, name=name, rich_help_panel=SERVER)
for group in (app, *GROUPS.values()):
    for command in group.registered_commands:
        command.cls = Verb


def main() -> None:
    """Run the command line; errors of ours, and of its output, become words and an exit code."""
    end_in_silence()
    try:
        _run()
    except CountermandError as error:
        for line in (f"countermand: {error.message}", *getattr(error, "__notes__", ())):
            say(line)
        sys.exit(exits.code_of(error))
    except OSError as error:
        if not is_unwritten(error):
            raise
        sys.exit(_unwritten(error))


def _run() -> None:
    """Run it, and write what it has to say; raises OSError where that cannot be."""
    _have_streams()
    try:
        _whole()()
    except SystemExit as ended:
        # What typer and rich make of a pipe whose reader has gone is 1: "the job failed".
        if isinstance(ended.__context__, BrokenPipeError):
            raise ended.__context__ from None
        sys.stdout.flush()
        raise


@cache
def _whole() -> Callable[[], object]:
    """The command with all its verbs; a process that runs several builds it for the first one."""
    return get_command(app)


def _have_streams() -> None:
    """Have standard streams lead nowhere that were closed before we began, as by ``>&-``.

    A file or a socket of ours would get the number of such a one, and what is said to it.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= STANDARD_ERROR:
        os.set_inheritable(number, True)
    os.close(number)
    if sys.stdout is None:
        sys.stdout = os.fdopen(STANDARD_OUTPUT, "w", encoding="utf-8")


def _unwritten(error: OSError) -> int:
    """The exit code when standard output takes nothing more."""
    give_up_output()
    if isinstance(error, BrokenPipeError):
        return exits.UNREAD
    say(f"countermand: cannot write to standard output ({error.strerror})")
    return exits.UNWRITTEN


if __name__ == "__main__":
    main()
