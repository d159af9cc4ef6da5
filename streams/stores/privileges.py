"""Privileges: what a role of PostgreSQL needs to run the engine, and what it never needs.

Called by ``countermand db permit`` and ``db check``. The engine only adds to its trail. A role that
owns no table and may only add there cannot alter or remove an event, whatever becomes of the
process that signs in with it; the owner of the tables is for migrations alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Row, bindparam, exc, text

from domain.errors import SettingsInvalid
from streams.stores import migrate
from streams.stores.database import Database
from streams.stores.schema import events, history
from streams.stores.schema_keeping import retention_changes

ADDED_TO: Final = (events.name, history.name, retention_changes.name)
"""Tables whose rows nothing of the engine alters or removes, retention and shredding included."""

_PLAIN = re.compile(r"(?!pg_|public$|none$)[a-z_][a-z0-9_]{0,62}")
_ROLE = text("SELECT rolsuper FROM pg_roles WHERE rolname = :role")
_OWNER = text(
    "SELECT pg_get_userbyid(relowner) AS name, pg_get_userbyid(relowner) = current_user AS is_us "
    "FROM pg_class WHERE oid = to_regclass('events')"
)
_IS_OWNER_TOO = text("SELECT pg_has_role(:role, :owner, 'MEMBER')")
_OURS = text(
    "SELECT relname FROM pg_class WHERE relnamespace = CAST(current_schema() AS regnamespace) "
    "AND relowner = CAST(current_user AS regrole) AND relkind IN :kinds ORDER BY relname"
).bindparams(bindparam("kinds", expanding=True))
_MAY_REWRITE = text(
    "SELECT bool_or(has_any_column_privilege(name, 'UPDATE') "
    "OR has_table_privilege(name, 'DELETE, TRUNCATE, TRIGGER')) "
    "FROM unnest(CAST(:names AS text[])) AS name"
)
_TABLES = ("r", "p")
_SEQUENCES = ("S",)


@dataclass(frozen=True, slots=True)
class Permitted:
    """A role that may run the engine; ``made`` when it was not there before."""

    role: str
    made: bool


def may_rewrite(connection: Connection) -> bool:
    """Whether the role of a connection to PostgreSQL could alter or remove what is only added to.

    Triggers count: whose trigger runs can have each new row be another one.
    """
    return bool(connection.scalar(_MAY_REWRITE, {"names": list(ADDED_TO)}))


def permit(database: Database, role: str, password: str | None = None) -> Permitted:
    """Let a role run the engine, and nothing more; all or nothing, and no harm if repeated.

    With a password the role is made, or given that one. Raises SettingsInvalid where there are no
    roles, for a role that cannot be kept from the trail, and for who may not grant, and as
    ``migrate.check`` does.
    """
    if database.is_sqlite:
        raise SettingsInvalid(
            "SQLite has no roles: whoever can write to its file can write to all of it; name a "
            "PostgreSQL database with --database"
        )
    if not _PLAIN.fullmatch(role):
        raise SettingsInvalid(
            f"{role!r} is no name for a role; use up to 63 of a-z, 0-9 and _, beginning with a "
            "letter, and not with pg_"
        )
    migrate.check(database)
    return database.write_now(lambda connection: _permit(connection, role, password))


def _permit(connection: Connection, role: str, password: str | None) -> Permitted:
    owner = _owner(connection)
    found = connection.execute(_ROLE, {"role": role}).one_or_none()
    if found is None and password is None:
        raise SettingsInvalid(
            f"there is no role {role}; name --password-file to have it made, or make it first"
        )
    if found is not None:
        _refuse_mighty(connection, role, owner, found)
    if password is not None:
        _sign_in(connection, role, password, made=found is None)
    for statement in _grants(connection, role):
        connection.exec_driver_sql(statement)
    return Permitted(role, made=found is None)


def _owner(connection: Connection) -> str:
    owner = connection.execute(_OWNER).one()
    if not owner.is_us:
        raise SettingsInvalid(
            f"the tables are those of the role {owner.name}; sign in with that one to grant rights"
        )
    return str(owner.name)


def _refuse_mighty(connection: Connection, role: str, owner: str, found: Row[tuple[bool]]) -> None:
    why = "is a superuser" if found.rolsuper else None
    if connection.scalar(_IS_OWNER_TOO, {"role": role, "owner": owner}):
        why = why or f"is, or may become, the owner of the tables ({owner})"
    if why:
        raise SettingsInvalid(f"the role {role} {why}, whom no right is needed; name another one")


def _sign_in(connection: Connection, role: str, password: str, *, made: bool) -> None:
    # Hashed here: the statement may get into the server's log.
    server = connection.connection.driver_connection.pgconn  # type: ignore[union-attr]
    digest = server.encrypt_password(password.encode(), role.encode()).decode()
    verb = "CREATE" if made else "ALTER"
    try:
        connection.exec_driver_sql(f"{verb} ROLE \"{role}\" LOGIN PASSWORD '{digest}'")
    except exc.ProgrammingError as error:
        raise SettingsInvalid(
            f"the role {role} cannot be given a password ({error.orig}); have it made by who may "
            "make roles, and leave out --password-file"
        ) from None


def _grants(connection: Connection, role: str) -> Sequence[str]:
    tables, sequences = _named(connection, _TABLES), _named(connection, _SEQUENCES)
    added_to, version = ", ".join(ADDED_TO), migrate.VERSION_TABLE
    who = f'"{role}"'
    return [
        f"GRANT USAGE ON SCHEMA {_schema(connection)} TO {who}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {who}",
        f"REVOKE ALL ON {added_to}, {version} FROM {who}",
        f"GRANT SELECT ON {version} TO {who}",
        f"GRANT SELECT, INSERT ON {added_to} TO {who}",
        f"GRANT SELECT, USAGE ON {sequences} TO {who}",
    ]


def _named(connection: Connection, kinds: Sequence[str]) -> str:
    """All of ours of these kinds in the schema, those of plug-ins among them, as SQL."""
    quote = connection.dialect.identifier_preparer.quote_identifier
    return ", ".join(quote(name) for name in connection.scalars(_OURS, {"kinds": tuple(kinds)}))


def _schema(connection: Connection) -> str:
    quote = connection.dialect.identifier_preparer.quote_identifier
    return quote(connection.scalars(text("SELECT current_schema()")).one())
