"""Database verbs: path, check, backup, upgrade, permit. They open it themselves, not the server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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

    Of PostgreSQL it says as well whether the role that signs in could alter or remove events.
    Of an SQLite file it cannot say whether a copy was put in its place beside the log of another
    one, which adds what came after the copy: remove FILE-wal and FILE-shm before.

    \b
    Example:
      countermand db check --data-dir /var/lib/countermand
    """
    from streams.cli.storage import checked
    from streams.settings import load

    found = checked(load(data_dir=data_dir, database=database))
    if as_json:
        told = {} if found.adds_only is None else {"adds_only": found.adds_only}
        emit({"schema": found.schema, "whole": True, **told})
        return
    say(f"the database is whole and has schema {found.schema}")
    if found.adds_only:
        say("the role that signed in can alter or remove no event")
    elif found.adds_only is False:
        say("the role that signed in could alter events; countermand db permit makes one for that")


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The copy.", show_default=False)],
    *,
    data_dir: DataDir = None,
    database: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Copy an SQLite database as it is at one moment; the server may be at work meanwhile.

    FILE must not be there yet. It has no keys and no heads: keep `audit.key`, `payload.key`,
    `heads` and `heads.retention` of the data directory as well. PostgreSQL has its own `pg_dump`.

    \b
    Example:
      countermand db backup /backup/monday.db --data-dir /var/lib/countermand
    """
    from streams.cli.storage import copied
    from streams.settings import load

    size = copied(load(data_dir=data_dir, database=database), file)
    if as_json:
        emit({"file": str(file), "size": size})
    else:
        say(f"{file} is a copy of the database ({size} bytes)")


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


@app.command()
def permit(
    role: Annotated[str, typer.Argument(metavar="ROLE", help="The role.", show_default=False)],
    *,
    password_file: Annotated[
        Path | None,
        typer.Option(
            help="A file with a password: makes the role, or gives it that one.",
            show_default=False,
        ),
    ] = None,
    data_dir: DataDir = None,
    database: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Let a role of PostgreSQL run the engine, and alter or remove no event.

    Sign in as the owner of the tables, who ran the upgrade; run it again after each one. Then
    have `serve`, `api`, `coordinator` and `worker` sign in as this role.

    \b
    Example:
      countermand db permit countermand_engine --password-file engine.password \\
        --database postgresql://countermand@localhost/countermand
    """
    from streams.cli.storage import permitted
    from streams.settings import load
    from streams.stores.privileges import ADDED_TO

    done = permitted(load(data_dir=data_dir, database=database), role, password_file)
    if as_json:
        emit({"role": done.role, "made": done.made, "adds_only_to": list(ADDED_TO)})
    else:
        made = "was made, and " if done.made else ""
        say(f"{role} {made}may run the engine, and only add to {', '.join(ADDED_TO)}")
