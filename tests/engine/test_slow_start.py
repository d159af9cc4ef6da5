"""A start that takes long says what it does, and its process counts as one that has started."""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from domain.registry import Registry
from streams.bootstrap import embedded
from streams.settings import Settings
from streams.vitals import Vitals
from tests.engine.conftest import Desk
from tests.engine.stock import operations
from tests.services.postgres import PostgresServer

SLOWLY = """
    CREATE FUNCTION slowly() RETURNS event_trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep(0.02); END $$;
    CREATE EVENT TRIGGER slowly ON ddl_command_start EXECUTE FUNCTION slowly();
"""


class Meanwhile:
    """What whoever asks is told while a process does not take any work yet."""

    def __init__(self) -> None:
        self.told: list[list[str]] = []
        self.is_over = False

    @contextlib.asynccontextmanager
    async def __call__(self, vitals: Vitals) -> AsyncIterator[None]:
        self.told.append((await vitals.health()).reasons)
        yield
        self.is_over = True


@pytest.mark.service("postgresql")
async def test_a_migration_that_takes_long_is_answered_for(
    postgres_database: str,
    postgres_process: PostgresServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with postgres_process.connect(str(make_url(postgres_database).database)) as connection:
        connection.execute(SLOWLY)
    monkeypatch.setattr(importlib.import_module("streams.bootstrap.embedded"), "LONG_SECONDS", 0.1)
    settings, meanwhile = Settings(data_dir=tmp_path, database=postgres_database), Meanwhile()
    async with embedded(settings, Registry(operations), meanwhile=meanwhile) as engine:
        assert meanwhile.told == [["it brings the database to the schema of this release"]]
        assert meanwhile.is_over
        job_id = await Desk(engine).submit("stock.create", [{"name": "x"}])
        await Desk(engine).settle(job_id)


async def test_signed_heads_that_take_long_are_answered_for(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is one for every job that ever was."""
    started = importlib.import_module("streams.bootstrap.embedded")
    opened = started.audit.open_heads

    def slowly(*asked: Any) -> Any:
        time.sleep(3.0)
        return opened(*asked)

    # Longer than any other step takes.
    monkeypatch.setattr(started, "LONG_SECONDS", 2.0)
    monkeypatch.setattr(started.audit, "open_heads", slowly)
    meanwhile = Meanwhile()
    async with embedded(settings, Registry(operations), meanwhile=meanwhile):
        assert meanwhile.told[-1] == ["it compares the signed heads with the trail"]
        assert meanwhile.is_over


async def test_nobody_is_answered_before_a_start_that_takes_no_time(settings: Settings) -> None:
    meanwhile = Meanwhile()
    async with embedded(settings, Registry(operations), meanwhile=meanwhile):
        assert meanwhile.told == []
