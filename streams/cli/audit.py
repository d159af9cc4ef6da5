"""Audit verbs: replay, archive, unseal, verify. They open the database itself, not the server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streams.cli import exits
from streams.cli.options import AsJson, DatabaseUrl, DataDir, JobId
from streams.cli.output import emit, say

app = typer.Typer(help="Prove what happened.", no_args_is_help=True)


ArchiveFile = Annotated[
    Path | None,
    typer.Option(
        "--archive", help="A file of `audit archive` instead of a database.", show_default=False
    ),
]


@app.command()
def replay(
    job_id: JobId,
    *,
    at: Annotated[
        int | None, typer.Option("--at", min=1, help="Up to this version; else up to the last.")
    ] = None,
    data_dir: DataDir = None,
    database: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Compute a job's state from nothing but its stored events; snapshots are ignored.

    \b
    Examples:
      countermand audit replay 0192f7a1-...
      countermand audit replay 0192f7a1-... --at 3 --json
    """
    from streams.cli.auditing import replayed
    from streams.cli.render import console, job_details
    from streams.settings import load

    job = replayed(load(data_dir=data_dir, database=database), job_id, at)
    if as_json:
        emit(job)
    else:
        console().print(job_details(job))


@app.command()
def archive(
    job_id: JobId,
    output: Annotated[
        Path, typer.Argument(metavar="FILE", help="Is there once all is in it.", show_default=False)
    ],
    *,
    data_dir: DataDir = None,
    database: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Write all that is stored of a job into one file, which `audit verify --archive` looks at.

    It has the events with their chain and signed heads, what was sent, and all outcomes.

    \b
    Example:
      countermand audit archive 0192f7a1-... job.ndjson
    """
    from streams.cli.auditing import archived
    from streams.settings import load

    found = archived(load(data_dir=data_dir, database=database), job_id, output)
    if as_json:
        emit({"job_id": found.job_id, "heads": found.heads, "rows": found.rows})
    else:
        say(f"written to {output}: {found.rows['events']:,} events and all that belongs to them")


@app.command()
def unseal(
    archive: Annotated[
        Path,
        typer.Argument(
            metavar="ARCHIVE", help="A file of the directory of archives.", show_default=False
        ),
    ],
    output: Annotated[
        Path, typer.Argument(metavar="FILE", help="Is there once all is in it.", show_default=False)
    ],
    *,
    data_dir: DataDir = None,
    database: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Write an archive with the items in it in the clear, while the job is not shredded.

    Needs the database that it is of, with its payload key.

    \b
    Example:
      countermand audit unseal archives/0192f7a1-.../4be1f0c2a9d37e55.sealed.ndjson job.ndjson
    """
    from streams.cli.auditing import unsealed
    from streams.settings import load

    parts = unsealed(load(data_dir=data_dir, database=database), archive, output)
    if as_json:
        emit({"parts": parts})
    else:
        say(f"written to {output}: {parts:,} parts of items are in the clear now")


@app.command()
def verify(
    job_id: Annotated[
        str, typer.Argument(metavar="JOB", help="Only this job; all when left out.")
    ] = "",
    *,
    archive: ArchiveFile = None,
    data_dir: DataDir = None,
    database: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Verify that no stored event, payload or outcome was changed, and that none is missing.

    Needs the signed heads and the key in the data directory (scaled: that of any
    coordinator); a server may run meanwhile. Exit code 1 when anything is found.

    \b
    Examples:
      countermand audit verify
      countermand audit verify 0192f7a1-... --data-dir /var/lib/countermand --json
      countermand audit verify --archive job.ndjson
    """
    from streams.cli.auditing import document, summary, told, verified, verified_archive
    from streams.settings import load

    settings = load(data_dir=data_dir, database=database)
    if archive is None:
        report = verified(settings, job_id)
    else:
        report, signed = verified_archive(settings, archive)
        if not signed:
            say("the data directory has no audit.key, so that the signatures were left out")
    if as_json:
        emit(document(report))
    else:
        for finding in report.findings:
            print(told(finding))
        say(summary(report))
    if not report.sound:
        raise typer.Exit(exits.FAILED)
