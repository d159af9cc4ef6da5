"""A `serve` and its PostgreSQL database: who is refused changes nothing, and nobody joins it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from domain.errors import DataDirectoryUnusable
from domain.registry import Registry
from streams.bootstrap import embedded, scaled
from streams.settings import Settings
from streams.stores.database import Database
from streams.stores.migrations import REVISIONS
from streams.stores.occupancy import RENEW_SECONDS, Occupancy
from streams.transport.kafka import admin
from tests.databases import damage
from tests.engine.conftest import Desk
from tests.engine.roles import REGISTRY, Roles, migrated_postgres, roles, until
from tests.engine.stock import operations

__all__ = ["migrated_postgres", "roles"]

pytestmark = [pytest.mark.service("postgresql"), pytest.mark.timeout(60)]

PATIENCE = 20.0
EVERY_KIND = pytest.mark.parametrize("kind", [scaled.api, scaled.coordinator, scaled.worker])
Kind = Callable[..., contextlib.AbstractAsyncContextManager[Any]]


async def test_who_is_refused_has_changed_nothing_and_is_told_who_is_there(
    postgres_database: str, tmp_path: Path
) -> None:
    one, other = (
        Settings(data_dir=tmp_path / name, database=postgres_database) for name in ("one", "other")
    )
    async with embedded(one, Registry(operations)) as engine:
        desk = Desk(engine)
        await desk.settle(await desk.submit("stock.create", [{"name": "sealed"}]))
        set_back(engine.database)
        with pytest.raises(DataDirectoryUnusable, match="in use by another `countermand serve`"):
            async with embedded(other, Registry(operations)):
                pass
        assert revision(engine.database) == REVISIONS[-2]
    assert not (other.data_dir / "life").exists()


def set_back(database: Database) -> None:
    """A release has come that has one step more."""
    damage(database, f"UPDATE alembic_version SET version_num = '{REVISIONS[-2]}'")


def revision(database: Database) -> str:
    named = text("SELECT version_num FROM alembic_version")
    return str(database.read_now(lambda connection: connection.scalar(named)))


async def test_who_waits_for_one_that_was_killed_answers_for_whom(
    migrated_postgres: str, tmp_path: Path
) -> None:
    told: list[list[str]] = []

    @contextlib.asynccontextmanager
    async def meanwhile(vitals: Any) -> AsyncIterator[None]:
        told.append((await vitals.health()).reasons)
        yield

    settings = Settings(data_dir=tmp_path, database=migrated_postgres)
    with Database(migrated_postgres) as database:
        await Occupancy(database, "killed", lease=2.5 * RENEW_SECONDS).take()
    async with embedded(settings, Registry(operations), meanwhile=meanwhile):
        assert told == [["it waits: `countermand serve` (killed) had the database a moment ago"]]


@EVERY_KIND
async def test_nobody_joins_a_database_that_somebody_serves(roles: Roles, kind: Kind) -> None:
    async def join() -> None:
        async with kind(roles.settings(), REGISTRY):
            await asyncio.sleep(PATIENCE)

    occupancy = Occupancy(roles.database, "this", renew=0.1)
    await occupancy.take()
    async with occupancy.kept():
        set_back(roles.database)
        with pytest.raises(DataDirectoryUnusable, match=r"by `countermand serve` \(this\)"):
            await join()
    assert not [app for app in roles.apps if app.started]
    assert revision(roles.database) == REVISIONS[-2]


@EVERY_KIND
async def test_nobody_joins_one_that_began_while_they_waited_for_the_broker(
    roles: Roles, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    occupancy = Occupancy(roles.database, "this", renew=0.1)
    keeping = contextlib.AsyncExitStack()

    async def begin(*_given: Any) -> None:
        await occupancy.take()
        await keeping.enter_async_context(occupancy.kept())

    monkeypatch.setattr(admin, "allowed", begin)
    async with keeping:
        with pytest.raises(DataDirectoryUnusable, match=r"by `countermand serve` \(this\)"):
            async with kind(roles.settings(), REGISTRY):
                await asyncio.sleep(PATIENCE)


@EVERY_KIND
async def test_who_joins_waits_for_a_serve_that_was_killed(roles: Roles, kind: Kind) -> None:
    await Occupancy(roles.database, "killed", lease=1.0).take()
    async with kind(roles.settings(), REGISTRY) as started:
        vitals: Any = getattr(started, "vitals", started)
        assert not (await vitals.health()).ready
        await until(partial(_ready, vitals))


async def _ready(vitals: Any) -> bool:
    return bool((await vitals.health()).ready)
