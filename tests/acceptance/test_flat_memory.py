"""Large jobs in little memory: a file of a gigabyte comes in, a hundred thousand spans are checked.

At full size a disk is needed, since /tmp may be memory: all goes into a folder of /var/tmp.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from benchmarks import material, validating, validation
from benchmarks.places import SqlitePlace, kept
from benchmarks.server import running
from tests.acceptance import corpus
from tests.acceptance.embedded import Server, serving
from tests.acceptance.resident import MB, watched
from tests.acceptance.test_importing import IMPORT
from tests.acceptance.test_platform import Platform
from tests.crash.seeds import SEED
from tests.proof.figures import tell

FULL, SAMPLE = 1_000 * MB, 2 * MB
"""Bytes of the file."""
MOST: Final = 300 * MB
"""Bytes that all processes of the server may have at once, whatever the size of the file."""
FEW, MANY = 10_000, 100_000
MOST_RATIO = 1.3
HOURS: Final = 7200.0
PATIENT = aiohttp.ClientTimeout(total=HOURS)


@contextmanager
def _on_disk() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="countermand-", dir="/var/tmp") as folder:
        yield Path(folder)


class Importing:
    """A client with a project of its own."""

    def __init__(self, server: Server, session: aiohttp.ClientSession) -> None:
        self._server = server
        self._session = session
        self._platform = Platform(session)
        self.answered = 0.0
        """Seconds after which the last import was answered: its file was read to its end then."""

    async def begin(self) -> None:
        """Make the project."""
        await self._platform.begin()

    async def all_of(self, path: Path) -> Any:
        """The operation that has imported a file; all that it accepted is there."""
        began = time.monotonic()
        form = aiohttp.FormData({"project_id": str(self._platform.number)})
        form.add_field("auto_detect_labels", "true")
        with path.open("rb") as file:
            form.add_field("file", file, filename=path.name)
            headers = {"Idempotency-Key": path.name}
            async with self._session.post(IMPORT, data=form, headers=headers) as response:
                assert response.status == 202, await response.text()
                operation = await response.json()
        self.answered = time.monotonic() - began
        kind, told = await self._platform.followed(operation["operation_id"])
        assert (kind, told["status"]) == ("operation_completed", "completed"), told
        assert told["succeeded"] == operation["file"]["accepted"]
        return operation

    async def correct(self, operation: Any, path: Path) -> None:
        """Download what was rejected, and write each line as it should have been."""
        async with self._session.get(operation["links"]["rejects"]) as response:
            assert response.status == 200
            with path.open("wb") as file:
                async for line in response.content:
                    file.write(corpus.mended(line.removesuffix(b"\n")) + b"\n")

    def stored(self) -> corpus.Contents:
        """What there is of the corpus, past the engine."""
        return corpus.stored(self._server.file, self._platform.number)


def _written(folder: Path, size: int) -> tuple[Path, corpus.Corpus]:
    path = folder / "corpus.jsonl"
    with path.open("wb") as file:
        return path, corpus.written(file, size, SEED)


async def _imported(folder: Path, size: int) -> None:
    path, wanted = _written(folder, size)
    for name in ("data", "tmp"):
        (folder / name).mkdir()
    terms = {"MB": size // MB, "lines": wanted.lines, "broken": wanted.broken, "seed": SEED}
    with (
        serving(folder / "data", TMPDIR=str(folder / "tmp")) as server,
        watched(server.process.pid) as seen,
    ):
        async with aiohttp.ClientSession(server.url, timeout=PATIENT) as session:
            importing = Importing(server, session)
            await importing.begin()
            began = time.monotonic()
            operation = await importing.all_of(path)
            tell("the file was read and answered in", f"{importing.answered:.0f} s", **terms)
            tell("all of it was there in", f"{time.monotonic() - began:.0f} s", **terms)
            found = operation["file"]
            assert found["accepted"] == wanted.lines - wanted.broken
            assert found["rejected"] == wanted.broken
            assert set(found["codes"]) == corpus.CODES
            assert importing.stored() == wanted.good
            rest = folder / "rest.jsonl"
            await importing.correct(operation, rest)
            found = (await importing.all_of(rest))["file"]
            assert (found["accepted"], found["rejected"]) == (wanted.broken, 0)
            assert importing.stored() == wanted.whole
    tell("texts that are there once each, with all they have", wanted.whole.texts.rows, **terms)
    tell("resident memory of all processes", f"{seen.peak / MB:.0f} MB", **terms)
    assert seen.peak < MOST


async def test_a_small_import_is_whole(tmp_path: Path) -> None:
    await _imported(tmp_path, SAMPLE)


@pytest.mark.proof
@pytest.mark.timeout(HOURS)
async def test_an_import_of_a_gigabyte_is_whole_in_little_memory() -> None:
    with _on_disk() as folder:
        await _imported(folder, FULL)


async def _validated(folder: Path, few: int, many: int) -> None:
    """One server does both, so that what the first leaves behind counts against the second."""
    place = SqlitePlace(folder)
    with place.fresh() as site:
        async with running(site.folder, COUNTERMAND_DATABASE=site.url) as server:
            await validation.ruled(server)
            await validation.validated(server, validating.written(folder, few))
            before = server.taken().peak
            followed = await validation.validated(server, validating.written(folder, many))
            after = server.taken().peak
        assert kept(site.url) == few + many - material.wrong(few) - material.wrong(many)
    tell(f"memory with {few:,} items", f"{before / MB:.0f} MB")
    tell(f"memory with {many:,} more", f"{after / MB:.0f} MB", ratio=f"{after / before:.2f}")
    tell(f"{many:,} items validated and made in", f"{followed.ended:.0f} s")
    assert after <= MOST_RATIO * before


async def test_a_few_annotations_are_validated_in_flat_memory(tmp_path: Path) -> None:
    await _validated(tmp_path, FEW // 10, MANY // 20)


@pytest.mark.proof
@pytest.mark.timeout(HOURS)
async def test_a_hundred_thousand_annotations_are_validated_in_flat_memory() -> None:
    with _on_disk() as folder:
        await _validated(folder, FEW, MANY)
