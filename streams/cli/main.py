"""Main: the command ``countermand``, put together from its verbs."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

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
from streams.cli.output import say
from streams.cli.verb import Verb

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
"""

app = typer.Typer(
    name="countermand",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

JOBS = "Jobs"
SERVER = "Server and data"


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
    """Run the command line; errors of ours become their words and an exit code."""
    try:
        app()
    except CountermandError as error:
        for line in (f"countermand: {error.message}", *getattr(error, "__notes__", ())):
            say(line)
        sys.exit(exits.code_of(error))


if __name__ == "__main__":
    main()
