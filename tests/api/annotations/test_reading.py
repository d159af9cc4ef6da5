"""How far the file of an import is read: seen by its number before there is a job."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from domain.commands import JobSpec
from domain.permissions import EVERY_PERMISSION
from streams.callers import Caller
from streams.clock import TimeOrderedIds
from streams.systems.annotations.file_reading import Wanted
from streams.systems.annotations.files import About, Begun
from tests.api.annotations.place import BOSS, Place, by
from tests.api.annotations.test_importing import ADA, BAD, download, ended, lines, send
from tests.api.annotations.test_operation_stream import Heard, frames
from tests.api.annotations.test_socket import talking
from tests.api.shop import SSE

OPERATIONS = "/api/v1/batch/operations"
WHO = Caller("acme", "boss", EVERY_PERMISSION)
DOCUMENTS = 6000
LETTERS = lines(*[ADA] * (DOCUMENTS - 1), BAD)
SIZE = len(LETTERS)


class Held(io.FileIO):
    """A file of which no more than half is read before that is let go."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.let_go = threading.Event()
        self._half = path.stat().st_size // 2

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() >= self._half:
            assert self.let_go.wait(30), "nobody has let it go"
        return super().read(-1 if size is None else size) or b""


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    """A file of many texts, the last of which is none."""
    path = tmp_path / "letters.jsonl"
    path.write_bytes(LETTERS)
    return path


@asynccontextmanager
async def reading(place: Place, path: Path) -> AsyncIterator[tuple[Begun, Held]]:
    """A file that is read in the background as far as its half."""
    engine = place.shop.engine
    files = engine.annotations.files

    async def submit(kind: str, job_id: str, blocks: Any) -> Any:
        spec = JobSpec(operation=kind, params={"project_id": place.number})
        return await engine.gateway.submit(WHO, spec, blocks, key=None, job_id=job_id)

    with Held(path) as file:
        async with AsyncExitStack() as held:
            about = About(place.number, TimeOrderedIds().new(), title="monday's")
            wanted = Wanted(name="letters.jsonl", encoding="utf-8", new_labels=True)
            begun = await held.enter_async_context(files.begun(WHO, about, file, wanted))
            files.take_later(begun, submit, held.pop_all())
        try:
            yield begun, file
        finally:
            file.let_go.set()
            await files.close()


async def _status(place: Place, number: int, ready: Callable[[Any], bool]) -> Any:
    """The operation, once it is as wanted."""
    async with asyncio.timeout(30):
        path = f"{OPERATIONS}/{number}/status"
        while not ready(shown := await place.ask("GET", path)):  # noqa: ASYNC110 - it is asked so
            await asyncio.sleep(0.02)
    return shown


async def test_it_is_seen_how_far_a_file_is_read_and_then_how_far_its_job_is(
    place: Place, letters: Path
) -> None:
    async with asyncio.timeout(60), reading(place, letters) as (begun, file):
        number = begun.number.operation_id
        shown = await _status(place, number, lambda told: bool(told["reading"]["bytes_read"]))
        assert (shown["status"], shown["current_step"]) == ("pending", "reading")
        assert (shown["name"], shown["type"]) == ("monday's", "texts.import")
        told = shown["reading"]
        assert 0 < told["bytes_read"] < told["bytes_total"] == SIZE
        assert 0 < shown["progress_percentage"] < 100
        assert (told["file"], told["rejected"], told["error"]) == ("letters.jsonl", 0, None)
        page = await place.ask("GET", OPERATIONS, params={"status": "pending"})
        assert [each["reading"]["bytes_total"] for each in page["items"]] == [told["bytes_total"]]
        history = await place.ask("GET", f"{OPERATIONS}/{number}/history")
        assert history["items"] == []
        url = f"{OPERATIONS}/{number}/events"
        async with (
            talking(place, by("viewer")) as words,
            place.shop.client.get(url, headers={**BOSS, **SSE}) as response,
        ):
            await words.say("subscribe", operation_id=number)
            await words.expect("system_status", event="subscribed")
            first = await words.expect("progress_update", current_step="reading")
            stream = frames(response)
            name, data = await anext(stream)
            assert (name, data["current_step"]) == ("progress_update", "reading")
            assert data.keys() == first.keys()
            file.let_go.set()
            streamed = [(name, data), *[each async for each in stream]]
            said = [("progress_update", first)]
            while said[-1][0] == "progress_update":
                said.append(await words.hear())
        for heard in (streamed, said):
            _check_course(heard)
    operation = {"operation_id": number}
    assert (await download(place, operation))[0] == lines(BAD)
    assert (await place.get("texts"))["total"] == DOCUMENTS


def _check_course(heard: list[Heard]) -> None:
    """First it is read, then it is worked, and in the end all is there."""
    steps = list(dict.fromkeys(data["current_step"] for _, data in heard))
    assert steps in (
        ["reading", "waiting", "processing", "done"],
        ["reading", "processing", "done"],
    )
    assert heard[-1][0] == "operation_completed"
    last = heard[-1][1]
    assert (last["succeeded"], last["progress_percentage"], last["reading"]) == (
        *(DOCUMENTS - 1, 100.0),
        None,
    )


async def test_a_file_that_is_read_can_be_cancelled(place: Place, letters: Path) -> None:
    async with asyncio.timeout(60), reading(place, letters) as (begun, file):
        path = f"{OPERATIONS}/{begun.number.operation_id}"
        await place.ask("DELETE", f"{path}/cancel", status=403, who=by("annotator"))
        told = await place.ask("DELETE", f"{path}/cancel", {"reason": "wrong"}, status=202)
        assert (told["status"], told["reading"]["error"]["code"]) == ("cancelled", "cancelled")
        file.let_go.set()
        again = await place.ask("DELETE", f"{path}/cancel", status=409)
        assert again["code"] == "wrong_state"
        async with place.shop.client.get(f"{path}/events", headers={**BOSS, **SSE}) as response:
            ((name, data),) = [each async for each in frames(response)]
    assert (name, data["status"], data["event"]) == (
        "operation_failed",
        "cancelled",
        "file.given_up",
    )
    shown = await place.ask("GET", f"{path}/status")
    assert "boss has cancelled it: wrong" in shown["reason"]
    assert await place.shop.jobs() == set()
    page = await place.ask("GET", OPERATIONS, params={"status": "cancelled"})
    assert page["total"] == 1


@pytest.mark.parametrize("tag", ['"1"', '"0123456789abcdef"'])
async def test_a_file_that_is_read_has_no_version_to_insist_on(
    place: Place, letters: Path, tag: str
) -> None:
    async with asyncio.timeout(60), reading(place, letters) as (begun, _):
        path = f"{OPERATIONS}/{begun.number.operation_id}/cancel"
        refused = await place.ask("DELETE", path, status=412, headers={"If-Match": tag})
        assert refused["code"] == "version_mismatch"
        await place.ask("DELETE", path, status=202, headers={"If-Match": "*"})


async def test_whoever_dies_while_reading_is_found_out(place: Place, letters: Path) -> None:
    async with reading(place, letters) as (begun, file):
        shown = await _status(
            place, begun.number.operation_id, lambda told: told["reading"]["bytes_read"] > 0
        )
        stopping = asyncio.ensure_future(place.shop.engine.annotations.files.close())
        file.let_go.set()
        await stopping
    path = f"{OPERATIONS}/{begun.number.operation_id}/status"
    shown = await place.ask("GET", path)
    assert (shown["status"], shown["reading"]["error"]["code"]) == ("failed", "server_stopped")


async def test_an_import_in_the_background_is_answered_before_it_is_read(place: Place) -> None:
    data = lines(*[ADA] * 50, BAD)
    operation = await send(place, data, auto_detect_labels=True, in_background=True, name="later")
    assert (operation["status"], operation["current_step"]) == ("pending", "reading")
    assert (operation["file"], operation["reading"]["bytes_total"]) == (None, len(data))
    done = await ended(place, operation)
    assert (done["status"], done["succeeded"], done["reading"]) == ("completed", 50, None)
    assert (await place.ask("GET", operation["links"]["import"]))["file"]["rejected"] == 1
    assert (await download(place, operation))[0] == lines(BAD)
    refused = await send(place, b"", status=422, in_background=True)
    assert refused["code"] == "file_refused"


@pytest.mark.parametrize(("data", "code"), [(lines(BAD), "file_refused"), (lines(ADA), "repeated")])
async def test_why_nothing_came_of_it_is_told_by_its_operation(
    place: Place, data: bytes, code: str
) -> None:
    key = {"Idempotency-Key": "one"}
    if code == "repeated":
        await ended(place, await send(place, data, auto_detect_labels=True, headers=key))
    more = {"auto_detect_labels": True, "in_background": True}
    operation = await send(place, data, headers=key, **more)
    done = await ended(place, operation)
    assert (done["status"], done["reading"]["error"]["code"]) == ("failed", code)
    assert done["reason"] == done["reading"]["error"]["message"]
    page = await place.ask("GET", OPERATIONS, params={"status": "failed"})
    assert [each["operation_id"] for each in page["items"]] == [operation["operation_id"]]
