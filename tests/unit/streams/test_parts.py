"""What an installation is put together of, by the database that it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from domain import planning
from domain.registry import Registry
from streams.agents import Binding, one_at_a_time, two_at_a_time
from streams.bootstrap import parts
from streams.settings import Settings
from streams.stores.database import Database, sqlite_url
from tests.engine.stock import operations

POSTGRESQL = "postgresql://nobody@127.0.0.1:1/none"


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_chunks_are_long_where_short_work_is_done_beside_them(
    dialect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nowhere else: with one writer, whoever comes waits for the chunk to end."""
    found: list[Binding[Any]] = []
    monkeypatch.setattr(parts, "bind", lambda _app, binding, *_: found.append(binding))
    is_sqlite = dialect == "sqlite"
    url = sqlite_url(tmp_path / "none.db") if is_sqlite else POSTGRESQL
    with Database(url) as database:
        base = parts.Base.of(Settings(data_dir=tmp_path), Registry(operations), database, None)
        parts.bind_worker(
            None,
            cast("Any", None),
            cast("Any", None),
            base,
            cast("Any", _Lane()),
            systems=["stock"],
            intake=cast("Any", _Intake()),
        )
        aims = base.jobs.begin("job").pace.target_ms
    (binding,) = found
    if is_sqlite:
        assert (binding.reader, aims) == (one_at_a_time, planning.TARGET_MS)
    else:
        assert (binding.reader, aims) == (two_at_a_time, planning.LONG_MS)


class _Lane:
    def moved(self) -> None: ...

    def handled(self, topic: str, partition: int) -> None: ...


class _Intake:
    async def through(self) -> None: ...
