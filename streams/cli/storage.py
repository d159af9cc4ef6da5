"""Storage: what the verbs that open the database do with it."""

from __future__ import annotations

import os
import re
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, exc
from sqlalchemy.engine import make_url

from domain.errors import DataDirectoryUnusable, SettingsInvalid
from streams import secret_files
from streams.lasting_names import keep_names
from streams.process_lock import acquire, acquire_file
from streams.settings import Settings
from streams.stores import migrate, privileges, sealing
from streams.stores.database import Database
from streams.stores.privileges import Permitted

_SECRETS_BEHIND = re.compile(r"([?&](?:\w*password|\w*secret|scram_\w+_key)=)[^&]*")
"""What PostgreSQL's client takes of secrets behind the ``?`` of an address."""


def place(settings: Settings) -> str:
    """The file of an SQLite database, else the address without what is secret in it."""
    url = make_url(settings.database)
    if url.get_backend_name() == "sqlite" and url.database:
        return url.database
    return _SECRETS_BEHIND.sub(r"\1***", url.render_as_string(hide_password=True))


@contextmanager
def existing(settings: Settings) -> Iterator[Database]:
    """The database, opened; raises DataDirectoryUnusable rather than make an empty one."""
    with opened(settings) as database:
        if database.is_sqlite and not Path(place(settings)).is_file():
            raise DataDirectoryUnusable(
                f"there is no database at {place(settings)}; name the right --data-dir, or make "
                "one: countermand db upgrade"
            )
        yield database


@contextmanager
def opened(settings: Settings) -> Iterator[Database]:
    """The database of the settings; raises SettingsInvalid for an address of no use."""
    key = sealing.installed_key(settings.payload_key_file, settings.data_dir)
    try:
        database = Database(settings.database_address, key=key)
    except exc.ArgumentError as error:
        raise SettingsInvalid(
            "the database address cannot be read; write sqlite:///FILE or "
            "postgresql://USER:PASSWORD@HOST/NAME"
        ) from error
    except ModuleNotFoundError as error:
        raise SettingsInvalid(
            "PostgreSQL needs a driver; install countermand[postgresql]"
        ) from error
    with database:
        yield database


@dataclass(frozen=True, slots=True)
class Checked:
    """A whole database; ``adds_only``: this role can alter no event (None: there are no roles)."""

    schema: str
    adds_only: bool | None


def checked(settings: Settings) -> Checked:
    """What there is to say of a whole database; raises DataDirectoryUnusable for any other."""
    with existing(settings) as database:
        migrate.check(database)
        if database.is_sqlite:
            database.read_now(_whole)
            return Checked(migrate.head(), None)
        return Checked(migrate.head(), not database.read_now(privileges.may_rewrite))


def permitted(settings: Settings, role: str, password_file: Path | None) -> Permitted:
    """A role that may run the engine from now on; raises as :func:`.privileges.permit` does."""
    with existing(settings) as database:
        return privileges.permit(database, role, _password(password_file))


def _password(file: Path | None) -> str | None:
    try:
        return None if file is None else secret_files.read(file)
    except ValueError as error:
        raise SettingsInvalid(f"--password-file: {error}") from None


def copied(settings: Settings, file: Path) -> int:
    """The size of a copy of an SQLite database as it is at one moment; servers may go on.

    Raises SettingsInvalid for PostgreSQL, and rather than replace a file.
    """
    with existing(settings) as database:
        if not database.is_sqlite:
            raise SettingsInvalid(
                "only a file of SQLite is copied here; copy PostgreSQL by its own means: "
                "pg_dump --format=custom"
            )
        try:
            database.read_now(partial(_copy, file))
        except FileExistsError:
            raise SettingsInvalid(
                f"{file} is there already; name another FILE, or move it away"
            ) from None
        except (OSError, sqlite3.Error) as error:
            raise SettingsInvalid(
                f"the copy cannot be written ({error}); make room there, or name another FILE"
            ) from error
    return file.stat().st_size


def _copy(file: Path, connection: Connection) -> None:
    """All of it or nothing: a copy that was broken off has another name.

    Raises FileExistsError for what has the name, or came to have it while the copy was made.
    """
    if file.exists():
        raise FileExistsError(file)
    draft = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with closing(sqlite3.connect(draft)) as target:
            # What is synced below needs no journal.
            target.execute("PRAGMA journal_mode=OFF")
            target.execute("PRAGMA synchronous=OFF")
            # In one step: of several, each begins anew after a commit of another process.
            connection.connection.driver_connection.backup(target)  # type: ignore[union-attr]
        os.fsync(descriptor)
        _name(draft, file)
    finally:
        os.close(descriptor)
        draft.unlink(missing_ok=True)
    keep_names(file.parent)


def _name(draft: Path, file: Path) -> None:
    """As a rename that replaces nothing; raises FileExistsError."""
    try:
        os.link(draft, file)
    except FileExistsError:
        raise
    except OSError:
        # What has no hard links, as a share or a stick: only whoever makes the name replaces it.
        file.open("xb").close()
        draft.replace(file)


def upgraded(settings: Settings) -> str:
    """The schema after what was missing has been made.

    No server may run meanwhile on an SQLite database; those on PostgreSQL go on.
    """
    from streams.bootstrap import installed_operations, migrated

    with opened(settings) as database, ExitStack() as alone:
        if database.is_sqlite:
            alone.enter_context(acquire(settings.data_dir))
        if settings.database_file is not None:
            alone.enter_context(acquire_file(settings.database_file))
        migrated(database, installed_operations())
        return migrate.head()


def _whole(connection: Connection) -> None:
    found = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar()
    if found != "ok":
        raise DataDirectoryUnusable(f"the database is damaged ({found}); restore it from a backup")
