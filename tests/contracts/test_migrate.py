"""Migrations make exactly the declared schema, once, and refuse what they do not know."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    Table,
    column,
    insert,
    inspect,
    select,
    table,
    text,
)

from domain.errors import DataDirectoryUnusable
from domain.steps import BATCH
from streams.stores import (
    decisions,
    migrate,
    migrations,
    project_figures,
    retention,
    schema,
    schema_reports,
)
from streams.stores.database import Database, sqlite_url
from streams.stores.schemas import OURS
from streams.stores.waits import ends_of
from tests.databases import as_owner
from tests.processor_time import processor_time

_CHECKOUT = Path(__file__).parents[2]
_UPGRADE = (
    "import sys\n"
    "from streams.stores import migrate\n"
    "from streams.stores.database import Database\n"
    "print('ready', flush=True)\n"
    "sys.stdin.readline()\n"
    "with Database(sys.argv[1]) as database:\n"
    "    print(migrate.upgrade(database))\n"
)


# SQLAlchemy cannot read an index of an expression back from SQLite, and Alembic leaves it out;
# the words of the schema, which another test compares, have it.
_EXPRESSIONS = pytest.mark.filterwarnings(
    "ignore:.*expression-based index",
)


@pytest.fixture
def empty(empty_database_url: str) -> Iterator[Database]:
    with Database(empty_database_url) as database:
        yield database


@_EXPRESSIONS
def test_the_migrated_schema_is_the_declared_one(database: Database) -> None:
    with database.engine.connect() as connection:
        # Alembic takes an empty default on SQLite for another one; the words below do not.
        options = {"compare_server_default": not database.is_sqlite}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, [*OURS]) == []


@_EXPRESSIONS
def test_a_difference_would_be_found(database: Database) -> None:
    more = MetaData()
    Table("unheard_of", more, Column("id", Integer, primary_key=True))
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        differences = compare_metadata(context, [*OURS, more])
    assert [difference[0] for difference in differences] == ["add_table"]


def test_what_autogenerate_does_not_compare_is_the_same_too(tmp_path: Path) -> None:
    """Defaults, AUTOINCREMENT, WITHOUT ROWID, partial indexes: SQLite keeps the words."""
    with Database(sqlite_url(tmp_path / "migrated.db")) as migrated:
        migrate.upgrade(migrated)
        found = _words(migrated)
    with Database(sqlite_url(tmp_path / "declared.db")) as declared:
        for metadata in OURS:
            declared.write_now(metadata.create_all)
        wanted = _words(declared)
    assert found == wanted


def _words(database: Database) -> dict[str, list[str]]:
    rows = database.read_now(
        lambda connection: connection.execute(
            text("SELECT name, sql FROM sqlite_master WHERE name <> 'alembic_version'")
        ).all()
    )
    # The order of a table's constraints says nothing, nor that a name is quoted, nor that a
    # column which was added later stands on the line of the one before it.
    return {
        name: sorted(
            part.strip() for part in re.split(r"[,\n]", sql.replace('"', "")) if part.strip()
        )
        for name, sql in rows
        if sql is not None
    }


def test_partial_indexes_reach_postgresql(database: Database) -> None:
    if database.is_sqlite:
        return
    rows = database.read_now(
        lambda connection: connection.execute(
            text("SELECT indexname FROM pg_indexes WHERE indexdef LIKE '% WHERE %'")
        ).all()
    )
    assert {"chunks_open", "job_control_open", "outcomes_unrecorded"} <= {row[0] for row in rows}


def test_an_upgrade_tells_the_revision_and_a_second_one_changes_nothing(empty: Database) -> None:
    assert migrate.current(empty) is None
    assert migrate.upgrade(empty) == migrate.head()
    assert migrate.current(empty) == migrate.head()
    assert migrate.upgrade(empty) == migrate.head()
    migrate.check(empty)


def test_the_known_revisions_are_those_of_the_folder() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    scripts = ScriptDirectory.from_config(config)
    found = [script.revision for script in scripts.walk_revisions()]
    assert tuple(reversed(found)) == migrations.REVISIONS
    assert scripts.get_heads() == [migrate.head()]


def test_a_database_without_tables_is_named(empty: Database) -> None:
    with pytest.raises(DataDirectoryUnusable, match="countermand db upgrade"):
        migrate.check(empty)


def test_a_database_of_a_newer_release_is_refused(database: Database) -> None:
    _say_revision(database, "9999")
    for act in (migrate.check, migrate.upgrade):
        with pytest.raises(DataDirectoryUnusable, match=r"newer version.*upgrade countermand"):
            act(database)
    assert migrate.current(database) == "9999"


def test_a_database_of_an_older_release_is_refused_until_upgraded(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "REVISIONS", (*migrations.REVISIONS, "9999"))
    with pytest.raises(DataDirectoryUnusable, match="needs 9999; run `countermand db upgrade`"):
        migrate.check(database)


def test_an_upgrade_that_fails_leaves_nothing(empty: Database) -> None:
    empty.write_now(lambda connection: connection.execute(text("CREATE TABLE chunks (x int)")))
    with pytest.raises(Exception, match="chunks"):
        migrate.upgrade(empty)
    tables = empty.read_now(lambda connection: inspect(connection).get_table_names())
    assert tables == ["chunks"]


def test_four_processes_at_once(empty_database_url: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _UPGRADE, empty_database_url],
            cwd=_CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    results = [process.communicate(timeout=60) for process in processes]
    assert [out.strip() for out, _ in results] == [migrate.head()] * 4, results
    with Database(empty_database_url) as database:
        migrate.check(database)


def test_an_empty_file_is_upgraded_quickly(tmp_path: Path) -> None:
    with Database(sqlite_url(tmp_path / "first.db")) as first:
        migrate.upgrade(first)  # imports Alembic
    with Database(sqlite_url(tmp_path / "second.db")) as second, processor_time() as taken:
        migrate.upgrade(second)
    assert taken.seconds < 0.3, "seconds of our own; usually about 0.015"


def test_a_start_on_an_upgraded_database_imports_no_alembic(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "countermand.db")
    with Database(url) as database:
        migrate.upgrade(database)
    script = _UPGRADE + "assert 'alembic' not in sys.modules\n"
    subprocess.run(
        [sys.executable, "-c", script, url], cwd=_CHECKOUT, input="\n", text=True, check=True
    )


def test_tables_of_a_plug_in_are_made_once(database: Database) -> None:
    table = Table("of_a_plug_in", MetaData(), Column("id", Integer, primary_key=True))
    migrate.create_missing(database, [table])
    migrate.create_missing(database, [table])
    names = database.read_now(lambda connection: inspect(connection).get_table_names())
    assert "of_a_plug_in" in names


@pytest.mark.slow
def test_the_wheel_holds_the_revisions(tmp_path: Path) -> None:
    source = tmp_path / "source"  # since a build leaves its folders there
    for package in ("domain", "streams", "api"):
        shutil.copytree(_CHECKOUT / package, source / package)
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(_CHECKOUT / name, source)
    (source / "README.md").touch()
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "-w", str(tmp_path), str(source)], check=True, timeout=100)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    folder = Path(migrations.__file__).parent
    wanted = {
        f"streams/stores/migrations/{path.relative_to(folder)}" for path in folder.rglob("*.py")
    }
    assert wanted <= names


def _say_revision(database: Database, revision: str) -> None:
    statement = text(f"UPDATE {migrate.VERSION_TABLE} SET version_num = :revision")
    with Database(as_owner(database.url)) as owned:
        owned.write_now(lambda connection: connection.execute(statement, {"revision": revision}))


def test_jobs_that_ended_before_ends_were_stored_are_known(empty: Database) -> None:
    told = [("a", 1, "completed"), ("b", 1, "running"), ("b", 2, "rolled_back"), ("c", 1, "paused")]
    with empty.engine.begin() as connection:
        _upgrade_to("0008", connection)
        for job_id, version, status in told:
            _tell(connection, job_id, version, "job.told", status)
        versions = {job_id: version for job_id, version, _ in told}
        for job_id, version in versions.items():
            _control(connection, job_id, version)
    migrate.upgrade(empty)
    ends = empty.read_now(lambda found: ends_of(found, ["a", "b", "c"]))
    assert {job_id: end.value for job_id, end in ends.items()} == {
        "a": "completed",
        "b": "rolled_back",
    }


def test_jobs_that_ended_before_rules_of_retention_are_found_by_them(empty: Database) -> None:
    told = [
        ("ended", "a.b", ["job.finished"]),
        ("held", "a.b", ["job.held"]),
        ("released", "a.b", ["job.held", "job.released"]),
        ("shredded", "a.b", ["job.shredded"]),
        ("batch", BATCH, ["job.finished"]),
    ]
    with empty.engine.begin() as connection:
        _upgrade_to("0012", connection)
        for job_id, operation, aliases in told:
            for version, alias in enumerate(aliases, start=1):
                _tell(connection, job_id, version, alias, "completed")
            _control(connection, job_id, len(aliases), operation=operation, ended="completed")
        _tell(connection, "running", 1, "job.submitted", "running")
        _control(connection, "running", 1)
    migrate.upgrade(empty)
    due = {
        act: sorted(
            one.job_id
            for pair in empty.read_now(lambda found, act=act: list(retention.pairs(found, act)))
            for one in empty.read_now(partial(_due, act, pair))
        )
        for act in retention.Act
    }
    assert due == {
        retention.Act.SHRED: ["ended", "released"],
        retention.Act.ARCHIVE: ["batch", "ended", "released", "shredded"],
    }


def test_jobs_of_projects_that_were_there_already_are_reported(empty: Database) -> None:
    with empty.engine.begin() as connection:
        _upgrade_to("0025", connection)
        for job_id, params in (("a", {"project_id": 7}), ("b", {"project_id": "x"}), ("c", {})):
            connection.execute(insert(schema.job_list).values(_listed_job(job_id, params)))
    migrate.upgrade(empty)
    jobs, hours = schema_reports.project_jobs.c, schema_reports.project_hours.c
    told = empty.read_now(
        lambda found: [
            *found.execute(select(jobs.job_id, jobs.project_id, jobs.system, jobs.failed)).all(),
            *found.execute(select(hours.job_id, hours.hour, hours.succeeded)).all(),
        ]
    )
    assert [tuple(row) for row in told] == [("a", 7, "annotations", 1), ("a", 2, 2)]


def test_what_was_written_already_is_counted(empty: Database) -> None:
    who = dict.fromkeys(("tenant", "actor", "job_id"), "x") | {"generation": 0, "chunk": 0}
    rows = [(1, 1, 1), (1, 2, 1), (1, 2, 2), (2, 9, 1), (1, 2, 3)]
    with empty.engine.begin() as connection:
        _upgrade_to("0028", connection)
        old = table("writers", *map(column, (*who, "written_at")))
        connection.execute(insert(old), [{**who, "written_at": 1.0}] * 2)
        for number, (table_id, record_id, version) in enumerate(rows):
            connection.execute(
                insert(schema.history).values(
                    table_id=table_id,
                    record_id=record_id,
                    version=version,
                    writer=2 if number == 4 else 1,
                    deleted=number == 4,
                )
            )
    migrate.upgrade(empty)
    names = ("actor", "table_id", *project_figures.WRITES)
    told = empty.read_now(
        lambda found: found.execute(select(*[schema.writers.c[name] for name in names])).all()
    )
    assert sorted(map(tuple, told)) == [("x", 1, 0, 0, 1), ("x", 1, 2, 1, 0), ("x", 2, 1, 0, 0)]


def test_keys_and_refusals_of_earlier_releases_are_forgotten_or_kept_as_those_of_this(
    empty: Database,
) -> None:
    refusal = orjson.dumps({"code": "wrong_state", "message": "", "pointer": ""}).decode()
    said = {"job.undo.done": None, "job.undo.refused": refusal, "none.submit": refusal}
    with empty.engine.begin() as connection:
        _upgrade_to("0034", connection)
        _control(connection, "job", 1)
        old = table("reservations", *map(column, _RESERVED_BEFORE))
        connection.execute(
            insert(old),
            [
                {**_RESERVED_BEFORE, "key": key, "job_id": job_id, "created_at": at}
                for key, job_id, at in (
                    ("of a job", "job", 1.0),
                    ("job.undo.done", "job", 1.0),
                    ("job.undo.refused", "job", 1.0),
                    ("of no job", "none", 1.0),
                    ("young", "none", 9.0),
                )
            ],
        )
        connection.execute(
            insert(schema.decisions),
            [
                {"command_id": name, "job_id": "job", "version": 1, "problem": problem}
                | {"decided_at": 1.0}
                for name, problem in said.items()
            ],
        )
    migrate.upgrade(empty)
    while empty.write_now(lambda found: decisions.remove_old(found, 5.0, limit=2)):
        pass
    keys, commands = schema.reservations.c, schema.decisions.c
    left = empty.read_now(
        lambda found: found.execute(select(keys.key, keys.kept).order_by(keys.key)).all()
    )
    assert [tuple(row) for row in left] == [
        ("job.undo.done", True),
        ("of a job", True),
        ("young", False),
    ]
    known = empty.read_now(lambda found: found.scalars(select(commands.command_id)).all())
    assert known == ["job.undo.done"]


_RESERVED_BEFORE = {"tenant": "local", "key": "", "body_hash": "", "job_id": "", "created_at": 0.0}


def _listed_job(job_id: str, params: dict[str, Any]) -> dict[str, Any]:
    counts = {"total": 3, "pending": 0, "succeeded": 2, "failed": 1, "skipped": 0}
    counts |= {"rolled_back": 0, "conflict": 0}
    times = {"started_at": "1970-01-01T01:00:00Z", "finished_at": "1970-01-01T02:30:00Z"}
    document = {"params": params, "counts": counts, **times}
    return {
        **dict.fromkeys(("position", "version", "priority"), 1),
        **dict.fromkeys(("tenant", "status", "name", "tags", "created_by"), ""),
        "job_id": job_id,
        "operation": "annotations.create",
        "system": "annotations",
        "created_at": 0.0,
        "document": orjson.dumps(document).decode(),
    }


def _due(act: retention.Act, pair: retention.Pair, connection: Connection) -> list[retention.Due]:
    until = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    return retention.due_jobs(connection, act, pair, until=until, after=None, most=10)


def _upgrade_to(revision: str, connection: Connection) -> None:
    config = Config(attributes={"version_table": migrate.VERSION_TABLE, "connection": connection})
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    command.upgrade(config, revision)


def _tell(connection: Connection, job_id: str, version: int, alias: str, status: str) -> None:
    connection.execute(
        insert(schema.events).values(
            job_id=job_id,
            version=version,
            alias=alias,
            tenant="local",
            actor="tester",
            command_id="",
            state=orjson.dumps({"status": status, "at": "2026-01-01T00:00:00Z"}),
            previous_hash=b"0" * 32,
            hash=b"0" * 32,
        )
    )


def _control(connection: Connection, job_id: str, version: int, **more: str) -> None:
    values = {"operation": "a.b", **more}
    connection.execute(
        text(
            "INSERT INTO job_control (job_id, tenant, epoch, version, open, actor, params, "
            f"{', '.join(values)}) VALUES (:job, 'local', 0, :version, false, 'x', '{{}}', "
            f"{', '.join(f':{name}' for name in values)})"
        ),
        {"job": job_id, "version": version, **values},
    )
