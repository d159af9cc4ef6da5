"""The engine seals what it is sent, and does not start when it could not read it again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from errno import EACCES
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select

from domain.commands import UploadedItems
from domain.errors import DataDirectoryUnusable, InvalidCommand
from domain.events import JobStatus
from domain.registry import Registry
from streams import uploading
from streams.bootstrap import embedded
from streams.settings import Settings
from streams.stores import payloads, sealing
from streams.stores.database import Database
from streams.stores.schema import payload_keys
from streams.stores.schema import payloads as parts
from streams.stores.sealing import InstallationKey
from streams.uploading import Upload, received, store_rest
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


BEGUN, A_DAY_LATER = 0.0, 1.0


async def _long(database: Database, blocks: int, cleaned_after: int) -> AsyncIterator[bytes]:
    """Items of which the clean-up thinks, after some blocks, that nobody wants them any more."""
    for number in range(blocks):
        yield b'{"name":"secret"}\n' * payloads.PART_ITEMS
        if number + 1 == cleaned_after:
            await database.write(lambda c: payloads.remove_unclaimed(c, A_DAY_LATER))


@pytest.fixture
def upload(monkeypatch: pytest.MonkeyPatch) -> Upload:
    """One of which each part is stored as soon as it is there."""
    monkeypatch.setattr(uploading, "FLUSH_BYTES", 1)
    return Upload("long", "local", BEGUN)


def _stored(connection: Connection) -> int | None:
    return connection.scalar(select(func.count()).select_from(parts))


async def test_what_still_comes_of_an_upload_that_was_cleaned_away_is_refused(
    database_url: str, upload: Upload
) -> None:
    """Stored without the key that was removed, it would lie in the clear, and for ever."""
    with Database(database_url, key=InstallationKey(bytes(32))) as database:
        with pytest.raises(InvalidCommand, match=r"cleaned away .* in parts of a draft") as refusal:
            await received(database, upload, _long(database, blocks=4, cleaned_after=2))
        assert refusal.value.pointer == "/items"
        assert await database.read(_stored) == 0


async def test_an_upload_that_is_cleaned_away_before_its_end_is_refused(
    database_url: str, upload: Upload
) -> None:
    with Database(database_url, key=InstallationKey(bytes(32))) as database:
        _, rest = await received(database, upload, _long(database, blocks=3, cleaned_after=3))
        with pytest.raises(InvalidCommand, match="cleaned away"):
            await database.write(lambda c: store_rest(c, *rest))
        assert await database.read(_stored) == 0


async def test_an_upload_of_which_no_row_is_left_is_neither_measured_nor_completed(
    database_url: str,
) -> None:
    """PostgreSQL lets the clean-up come between the key that is read and the parts it sealed."""
    gone = UploadedItems(upload_id="gone", items=1, size=1, sha256="0" * 64)
    with Database(database_url) as database:
        with pytest.raises(InvalidCommand, match="cleaned away"):
            await database.write(lambda c: payloads.note_size(c, "gone", 1, 1))
        with pytest.raises(InvalidCommand, match="cleaned away"):
            await database.write(lambda c: payloads.complete_upload(c, gone))
