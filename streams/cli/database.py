"""Database verbs: path, check, upgrade. They open the database itself, not the server."""

from __future__ import annotations

import typer

from streams.cli.options import AsJson, DatabaseUrl, DataDir
from streams.cli.output import emit, say

app = typer.Typer(help="Look after the database.", no_args_is_help=True)


@app.command()
def path(
    *, data_dir: DataDir = None, database: DatabaseUrl = None, as_json: AsJson = False
) -> None:
    """Print where the database is.

    \b
    Example:
      sqlite3 "$(countermand db path)" .tables
    """
    from streams.cli.storage import place
    from streams.settings import load

    found = place(load(data_dir=data_dir, database=database))
    if as_json:
        emit({"path": found})
    else:
        print(found)


@app.command()
def check(
    *, data_dir: DataDir = None, database: DatabaseUrl = None, as_json: AsJson = False
) -> None:
    """Check that the database is whole and has this release's schema.

    \b
    Example:
      countermand db check --data-dir /var/lib/countermand
    """
    from streams.cli.storage import checked
    from streams.settings import load

    schema = checked(load(data_dir=data_dir, database=database))
    if as_json:
        emit({"schema": schema, "whole": True})
    else:
        say(f"the database is whole and has schema {schema}")


@app.command()
def upgrade(
    *, data_dir: DataDir = None, database: DatabaseUrl = None, as_json: AsJson = False
) -> None:
    """Bring the database to this release's schema; makes it when there is none.

    `serve` does so by itself at its start.

    \b
    Example:
      countermand db upgrade --database postgresql://localhost/countermand
    """
    from streams.cli.storage import upgraded
    from streams.settings import load

    schema = upgraded(load(data_dir=data_dir, database=database))
    if as_json:
        emit({"schema": schema})
    else:
        say(f"the database has schema {schema}")
