"""Whether an API looks at the signed heads in its data directory: while somebody signs there."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from streams.bootstrap import Engine, scaled
from streams.process_lock import SIGNS, acquire, attempt
from streams.queries import Queries
from streams.stores import audit
from streams.stores.audit import live_heads, verify_trail
from streams.stores.database import Database
from tests.audit.trail import Trail
from tests.databases import sqlite_database
from tests.engine.roles import REGISTRY, Roles, migrated_postgres, roles, until

__all__ = ["migrated_postgres", "roles", "sqlite_database"]


def test_heads_that_a_former_server_left_are_of_the_past(
    sqlite_database: Database, tmp_path: Path
) -> None:
    trail = Trail(sqlite_database, tmp_path)
    trail.submit("job-of-then", 5)
    trail.signing = False
    trail.submit("job", 5)
    verified = partial(verify_trail, sqlite_database, job_id="job", wait=lambda _seconds: None)

    assert live_heads(tmp_path) is None
    assert verified(live_heads(tmp_path)).sound, "nobody there could have signed it"

    lock = attempt(tmp_path)
    assert lock is not None
    with lock:
        assert live_heads(tmp_path) is None, "it has not signed yet what there was before it"
        lock.note(SIGNS)
        assert not verified(live_heads(tmp_path)).sound, "who signs there has left it out"
    with acquire(tmp_path):
        assert live_heads(tmp_path) is None, "a `serve` has a database of its own"


@pytest.mark.service("postgresql")
async def test_those_of_a_coordinator_are_looked_at_while_it_lives(
    roles: Roles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def known(_queries: Queries, _tenant: str, _job_id: str) -> None:
        """As if the job were there."""

    async def signed(engine: Engine, expected: bool) -> bool:
        _, looked = await engine.trail.verify("acme", "job")
        return looked is expected

    monkeypatch.setattr(Queries, "job", known)
    folder = roles.settings().data_dir
    audit.open_heads(folder, roles.database)

    async with scaled.api(roles.settings(), REGISTRY) as engine:
        assert await signed(engine, False), "a former server has left them"
        async with scaled.coordinator(roles.settings(), REGISTRY):
            await until(partial(signed, engine, True))
        assert await signed(engine, False)
