"""An engine that is left leaves nothing behind: no connection of it outlives its database."""

from __future__ import annotations

import threading
from pathlib import Path

from sqlalchemy.engine import make_url

from domain.registry import Registry
from streams.bootstrap import embedded
from streams.settings import Settings
from tests.engine.conftest import Desk
from tests.engine.stock import operations
from tests.services.postgres import PostgresServer

HELD_SECONDS = 0.3
_WAITING = "SELECT 1 FROM pg_locks WHERE NOT granted"


async def test_what_still_reads_is_waited_for(
    migrated_postgres: str, postgres_process: PostgresServer, tmp_path: Path
) -> None:
    name = str(make_url(migrated_postgres).database)
    settings = Settings(data_dir=tmp_path, database=migrated_postgres)
    with postgres_process.connect(name) as holding, postgres_process.connect(name) as looking:
        holding.execute("BEGIN")
        # Who signs changes of the rules looks at them as soon as the engine has started.
        holding.execute("LOCK TABLE retention_changes")
        async with embedded(settings, Registry(operations)) as engine:
            await Desk(engine).when(_WAITING)
            release = threading.Timer(HELD_SECONDS, holding.rollback)
            release.start()
        assert looking.execute(_WAITING).fetchone() is None
        release.join()
