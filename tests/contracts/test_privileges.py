"""A role may run the engine, and neither alter nor remove what is only added to.

Most tests on PostgreSQL sign in with such a role (tests/databases.py): that it is enough to
run the engine is shown there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, exc, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from domain.errors import DataDirectoryUnusable, SettingsInvalid
from streams.stores import privileges
from streams.stores.database import Database
from streams.stores.privileges import ADDED_TO, permit
from tests.acceptance.commands import asked, refused
from tests.databases import ENGINE_ROLE, as_engine
from tests.services.postgres import PostgresServer

pytestmark = pytest.mark.service("postgresql")

ROLES = ("stranger", "made_here", "owner_too")


@pytest.fixture
def owned(postgres_process: PostgresServer, postgres_template: str) -> Iterator[str]:
    """A migrated database, as its owner signs in; the roles of these tests are gone afterwards."""
    with postgres_process.database("privileges", postgres_template) as url:
        yield url
    with postgres_process.connect() as connection:
        for role in ROLES:
            connection.execute(f"DROP ROLE IF EXISTS {role}")


def _do(url: str, statement: str) -> None:
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text(statement))


@pytest.mark.parametrize("table", ADDED_TO)
def test_what_is_only_added_to_is_neither_altered_nor_removed(owned: str, table: str) -> None:
    engine = as_engine(owned)
    column = {"events": "state", "history": "writer", "retention_changes": "reason"}[table]

    for statement in (
        f"UPDATE {table} SET {column} = {column}",
        f"DELETE FROM {table}",
        f"TRUNCATE {table}",
        f"ALTER TABLE {table} DISABLE TRIGGER ALL",
        f"DROP TABLE {table}",
        f"CREATE TRIGGER forge BEFORE INSERT ON {table} EXECUTE FUNCTION now()",
        f"CREATE RULE forge AS ON INSERT TO {table} DO INSTEAD NOTHING",
        "SELECT setval(pg_get_serial_sequence('events', 'id'), 1)",
        f"SET ROLE {make_url(owned).username}",
        "UPDATE alembic_version SET version_num = '0001'",
    ):
        with pytest.raises(exc.ProgrammingError) as refusal:
            _do(engine, statement)
        assert isinstance(refusal.value.orig, psycopg.errors.InsufficientPrivilege), statement
    _do(engine, f"SELECT count(*) FROM {table}")


def test_a_role_is_made_and_signs_in_with_its_password(owned: str, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text('it\'s 100 % "quoted"\n')
    verb = ("db", "permit", "made_here", "--database", owned)

    first = asked(*verb, "--password-file", str(file), "--json")
    assert first.stdout == (
        '{"role":"made_here","made":true,"adds_only_to":["events","history","retention_changes"]}\n'
    ), first.stderr
    assert asked(*verb).stdout == ""
    with psycopg.connect(_address(owned)) as connection:
        (stored,) = connection.execute(
            "SELECT rolpassword FROM pg_authid WHERE rolname = 'made_here'"
        ).fetchone() or ("",)
    assert stored.startswith("SCRAM-SHA-256$"), "what is sent may get into the server's log"

    mine = str(make_url(owned).set(username="made_here"))
    check = ("db", "check", "--database", mine)
    assert '"adds_only":true' in asked(*check, "--json").stdout
    assert "can alter or remove no event" in asked(*check).stderr
    assert "could alter events" in asked("db", "check", "--database", owned).stderr


def _address(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def test_tables_that_came_later_are_granted_the_next_time(owned: str) -> None:
    _do(owned, "CREATE TABLE later (id bigint)")
    with pytest.raises(exc.ProgrammingError):
        _do(as_engine(owned), "INSERT INTO later VALUES (1)")

    with Database(owned) as database:
        permit(database, ENGINE_ROLE)

    _do(as_engine(owned), "INSERT INTO later VALUES (1)")


def test_what_was_granted_otherwise_is_taken_back(owned: str) -> None:
    _do(owned, f"GRANT UPDATE (state) ON events TO {ENGINE_ROLE}")
    with Database(as_engine(owned)) as engine, Database(owned) as database:
        assert engine.read_now(privileges.may_rewrite)
        permit(database, ENGINE_ROLE)
        assert not engine.read_now(privileges.may_rewrite)


@pytest.mark.parametrize(
    ("role", "made_as", "said"),
    [
        ("stranger", "", "there is no role stranger; name --password-file"),
        ("stranger", "SUPERUSER", "is a superuser"),
        ("owner_too", "IN ROLE countermand", "is, or may become, the owner of the tables"),
        ("Stranger", "", "is no name for a role"),
        ("public", "", "is no name for a role"),
        ('x"; DROP TABLE events; --', "", "is no name for a role"),
    ],
)
def test_who_cannot_be_kept_from_the_trail_is_refused(
    owned: str, role: str, made_as: str, said: str
) -> None:
    if made_as:
        _do(owned, f"CREATE ROLE {role} LOGIN {made_as}")
    with Database(owned) as database, pytest.raises(SettingsInvalid, match=said):
        permit(database, role)


def test_who_does_not_own_the_tables_is_told_who_does(owned: str) -> None:
    with (
        Database(as_engine(owned)) as database,
        pytest.raises(SettingsInvalid, match="those of the role countermand; sign in with that"),
    ):
        permit(database, ENGINE_ROLE)


_GIVE_AWAY = """
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT relname FROM pg_class
        WHERE relnamespace = CAST('public' AS regnamespace) AND relkind = 'r'
    LOOP EXECUTE format('ALTER TABLE %I OWNER TO stranger', name); END LOOP;
END $$
"""


def test_an_owner_who_may_make_no_roles_grants_to_one_that_is_there(owned: str) -> None:
    _do(owned, "CREATE ROLE stranger LOGIN")
    _do(owned, "GRANT ALL ON SCHEMA public TO stranger WITH GRANT OPTION")
    _do(owned, _GIVE_AWAY)
    with Database(str(make_url(owned).set(username="stranger"))) as database:
        with pytest.raises(SettingsInvalid, match="have it made by who may make roles"):
            permit(database, "made_here", password="secret")
        _do(owned, "CREATE ROLE made_here LOGIN")
        permit(database, "made_here")
    with Database(str(make_url(owned).set(username="made_here"))) as engine:
        assert not engine.read_now(privileges.may_rewrite)


def test_a_database_without_tables_or_roles_is_told_so(
    postgres_database: str, sqlite_template: Path
) -> None:
    with Database(postgres_database) as database, pytest.raises(DataDirectoryUnusable):
        permit(database, "somebody")
    said = refused(asked("db", "permit", "somebody", "--data-dir", str(sqlite_template.parent)))
    assert "SQLite has no roles" in said
