"""The engine seals what it is sent, and does not start when it could not read it again."""

from __future__ import annotations

from errno import EACCES
from pathlib import Path

import pytest
from sqlalchemy import select

from domain.errors import DataDirectoryUnusable
from domain.events import JobStatus
from domain.registry import Registry
from streams.bootstrap import embedded
from streams.settings import Settings
from streams.stores import sealing
from streams.stores.schema import payload_keys
from tests.engine.conftest import Desk
from tests.engine.stock import operations


def _settings(folder: Path, database_url: str, key: Path | None = None) -> Settings:
    return Settings(data_dir=folder, database=database_url, payload_key_file=key)


async def _one_job(settings: Settings) -> set[str]:
    async with embedded(settings, Registry(operations)) as engine:
        desk = Desk(engine)
        job_id = await desk.submit("stock.create", [{"name": f"n{n}"} for n in range(9)])
        job = await desk.settle(job_id)
        assert job.status is JobStatus.COMPLETED
        lines = [view.line async for view in engine.queries.items("local", job_id)]
        assert len(lines) == 9
        assert all(lines)
        statement = select(payload_keys.c.algorithm)
        return set(await engine.database.read(lambda c: c.scalars(statement).all()))


async def test_items_are_sealed_with_a_key_of_the_data_directory(
    database_url: str, tmp_path: Path
) -> None:
    assert await _one_job(_settings(tmp_path, database_url)) == {sealing.AES_GCM}
    assert (tmp_path / sealing.FILE_NAME).stat().st_mode & 0o777 == 0o600


async def test_the_key_may_stand_elsewhere(database_url: str, tmp_path: Path) -> None:
    key = tmp_path / "elsewhere"
    key.write_text("5f" * 32)
    data = tmp_path / "data"
    assert await _one_job(_settings(data, database_url, key)) == {sealing.AES_GCM}
    assert not (data / sealing.FILE_NAME).exists()


def test_a_directory_that_may_not_be_looked_into_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As that of a container which is mounted without its owner; whoever is root may do all."""

    def refuse(path: Path) -> bool:
        raise PermissionError(EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", refuse)
    with pytest.raises(DataDirectoryUnusable, match=r"cannot be read \(Permission denied\); give"):
        sealing.installed_key(None, tmp_path)


async def test_it_does_not_start_with_another_key(database_url: str, tmp_path: Path) -> None:
    await _one_job(_settings(tmp_path, database_url))
    (tmp_path / sealing.FILE_NAME).unlink()
    with pytest.raises(DataDirectoryUnusable, match="restore the right payload"):
        await _one_job(_settings(tmp_path, database_url))
