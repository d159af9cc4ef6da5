"""Imports that are cut short: what is told of them, whatever their reader has left behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from api.submissions import streamed
from api.systems.annotations.updates import LOOK_SECONDS
from domain.commands import JobSpec
from domain.errors import (
    BrokerUnavailable,
    CountermandError,
    DecisionPending,
    QuotaExceeded,
    StoreUnavailable,
    Unavailable,
)
from streams.clock import TimeOrderedIds
from streams.stores import job_files
from streams.stores.decisions import Decision
from streams.systems.annotations import numbers, readings
from streams.systems.annotations.file_reading import FileReader, Wanted
from streams.systems.annotations.files import REJECTS, About, Begun, Submit
from streams.systems.annotations.numbers import Numbered
from streams.systems.annotations.readings import LOST_SECONDS, Reading
from tests.api.annotations.place import BOSS, Place, by
from tests.api.annotations.test_importing import ADA, BAD, ROSA, download, ended, lines, send
from tests.api.annotations.test_operation_stream import frames
from tests.api.annotations.test_reading import OPERATIONS, WHO
from tests.api.annotations.test_socket import Words, talking
from tests.api.shop import SSE

KEY = {"Idempotency-Key": "monday"}


def said(silent: float) -> Reading:
    """A file that is read to its end by somebody who has said nothing for so many seconds."""
    seen = datetime.now(UTC) - timedelta(seconds=silent)
    began = seen - timedelta(minutes=1)
    return Reading(
        name="x.jsonl", bytes_total=9, bytes_read=9, whole=True, began_at=began, seen_at=seen
    )


async def left(place: Place, job_id: str, reading: Reading) -> Numbered:
    """What somebody leaves who dies before they note that the job is there."""

    def write(connection: Connection) -> Numbered:
        project = place.number
        readings.begin(
            connection, tenant="acme", project_id=project, job_id=job_id, reading=reading
        )
        return numbers.give(connection, WHO, project, "texts.import", job_id, 1.0)

    return await place.shop.engine.database.write(write)


async def submitted(place: Place, job_id: str) -> Decision:
    """The job that was sent before somebody has died."""
    spec = JobSpec(operation="texts.import", params={"project_id": place.number})
    items = streamed([b'{"content": "late"}\n'])
    return await place.shop.engine.gateway.submit(WHO, spec, items, key=None, job_id=job_id)


async def listed(place: Place, status: str) -> list[int]:
    """The operations in a status, as soon as there are any: the list may lag behind."""
    async with asyncio.timeout(20):
        query = {"status": status}
        while not (page := await place.ask("GET", OPERATIONS, params=query))["items"]:  # noqa: ASYNC110 - it is asked so
            await asyncio.sleep(0.02)
    assert {each["status"] for each in page["items"]} == {status}
    return [each["operation_id"] for each in page["items"]]


async def heard(words: Words, kind: str) -> dict[str, Any]:
    """What is told by the next message of a kind."""
    found, told = await words.hear()
    while found != kind:
        found, told = await words.hear()
    return told


async def test_who_dies_behind_the_decision_leaves_a_job(place: Place) -> None:
    data = lines(ADA, ROSA)
    sent = await send(place, data, auto_detect_labels=True, headers=KEY)
    await ended(place, sent)
    found = await left(place, sent["job_id"], said(2 * LOST_SECONDS))
    number, link = found.operation_id, sent["links"]["sse"]
    shown = await place.ask("GET", sent["links"]["status"])
    assert (shown["status"], shown["reading"], shown["reason"]) == ("completed", None, "")
    assert await listed(place, "completed") == [number]
    assert (await place.ask("GET", sent["links"]["history"]))["items"]
    async with place.shop.client.get(link, headers={**BOSS, **SSE}) as response:
        assert [name async for name, _ in frames(response)][-1] == "operation_completed"
    again = await send(place, data, auto_detect_labels=True, headers=KEY)
    assert (again["operation_id"], again["status"]) == (number, "completed")
    async with talking(place, BOSS) as words:
        await words.say("subscribe", operation_id=number)
        await words.expect("system_status", event="subscribed")
        await words.expect("operation_completed", operation_id=number)
        await place.ask("POST", f"/api/v1/jobs/{sent['job_id']}/undo", {}, status=202)
        await words.expect("progress_update", operation_id=number)
        told = await heard(words, "operation_failed")
        assert told["status"] == "rolled_back"


async def test_who_follows_a_lost_reader_is_told_of_the_job_that_comes_after_all(
    place: Place,
) -> None:
    found = await left(place, TimeOrderedIds().new(), said(2 * LOST_SECONDS))
    async with talking(place, by("viewer")) as words:
        await words.say("subscribe", operation_id=found.operation_id)
        await words.expect("system_status", event="subscribed")
        told = await words.expect("operation_failed", status="failed")
        assert told["reading"]["error"]["code"] == "reader_lost"
        await submitted(place, found.job_id)
        told = await heard(words, "operation_completed")
        assert (told["operation_id"], told["succeeded"]) == (found.operation_id, 1)


async def test_who_is_lost_is_listed_as_what_is_shown(place: Place) -> None:
    lost = await left(place, TimeOrderedIds().new(), said(2 * LOST_SECONDS))
    going = await left(place, TimeOrderedIds().new(), before := said(2 * LOST_SECONDS))

    def note(connection: Connection) -> bool:
        return readings.note(connection, job_id=going.job_id, before=before, after=said(0.0))

    assert await place.shop.engine.database.write(note)
    for found, status in ((lost, "failed"), (going, "pending")):
        path = f"{OPERATIONS}/{found.operation_id}/status"
        assert (await place.ask("GET", path))["status"] == status
        assert await listed(place, status) == [found.operation_id]


AWAY = StoreUnavailable("the database is away")


def away(*_: Any) -> None:
    raise AWAY


@pytest.mark.parametrize("longer", [False, True])
async def test_an_end_that_could_not_be_noted_takes_nothing_away(
    place: Place, monkeypatch: pytest.MonkeyPatch, longer: bool
) -> None:
    real, tried = readings.end, threading.Semaphore(0)
    answers = iter([away, away if longer else real])

    def end(connection: Connection, job_id: str) -> None:
        tried.release()
        next(answers)(connection, job_id)

    monkeypatch.setattr(readings, "end", end)
    data = lines(ADA, BAD)
    operation = await send(place, data, auto_detect_labels=True, in_background=True)
    for _ in range(2):  # who reads the file, and who gives it up
        assert await asyncio.to_thread(tried.acquire, timeout=10)
    done = await ended(place, operation)
    assert (done["status"], done["reading"], done["succeeded"]) == ("completed", None, 1)
    assert (await download(place, operation))[0] == lines(BAD)


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    """A file of a text, and of one that is none."""
    path = tmp_path / "letters.jsonl"
    path.write_bytes(lines({"content": "late"}, BAD))
    return path


@asynccontextmanager
async def begun(place: Place, path: Path) -> AsyncIterator[tuple[Begun, AsyncExitStack]]:
    """An import that is ready to be read, and what it holds."""
    wanted = Wanted(name="letters.jsonl", encoding="utf-8")
    about = About(place.number, TimeOrderedIds().new())
    async with AsyncExitStack() as held:
        files = place.shop.engine.annotations.files
        file = held.enter_context(path.open("rb"))
        yield await held.enter_async_context(files.begun(WHO, about, file, wanted)), held


async def test_a_request_that_hears_no_answer_keeps_the_number_of_its_job(
    place: Place, letters: Path
) -> None:
    async def submit(_: str, job_id: str, blocks: AsyncIterator[bytes]) -> Decision:
        assert [block async for block in blocks]
        await submitted(place, job_id)
        raise AWAY

    async with begun(place, letters) as (found, _):
        with pytest.raises(StoreUnavailable):
            await place.shop.engine.annotations.files.take(found, submit)
    await check_is_job(place, found.number)


def unanswered(error: CountermandError) -> Submit:
    """Has all that is read, and then an error instead of an answer."""

    async def submit(*args: Any) -> Decision:
        assert [block async for block in args[-1]]
        raise error

    return submit


@pytest.mark.parametrize(
    "error",
    [
        BrokerUnavailable("no broker answers"),
        AWAY,
        # The end of its reading cannot be noted either.
        DecisionPending("it is not decided yet"),
    ],
    ids=lambda error: error.code,
)
async def test_a_request_that_hears_no_answer_leaves_all_to_the_job_that_comes(
    place: Place, letters: Path, monkeypatch: pytest.MonkeyPatch, error: Unavailable
) -> None:
    async with begun(place, letters) as (found, _):
        with monkeypatch.context() as patched:
            patched.setattr(readings, "end", away)
            with pytest.raises(Unavailable):
                await place.shop.engine.annotations.files.take(found, unanswered(error))
    assert await listed(place, "pending") == [found.number.operation_id]
    await submitted(place, found.job_id)
    await check_is_job(place, found.number)


async def seen(place: Place, job_id: str) -> Reading:
    """The reading of a job as its row has it."""
    reading = await place.shop.engine.database.read(lambda c: readings.find(c, "acme", job_id))
    assert reading is not None
    return reading


async def test_who_makes_a_job_of_a_file_says_so_until_it_is_there(
    place: Place, letters: Path
) -> None:
    async def submit(_: str, job_id: str, blocks: AsyncIterator[bytes]) -> Decision:
        assert [block async for block in blocks]
        read = await seen(place, job_id)
        assert read.whole
        async with asyncio.timeout(20):
            while (now := await seen(place, job_id)).seen_at == read.seen_at:  # noqa: ASYNC110 - it is asked so
                await asyncio.sleep(0.05)
        assert now == read.model_copy(update={"seen_at": now.seen_at})
        return await submitted(place, job_id)

    async with begun(place, letters) as (found, _):
        await place.shop.engine.annotations.files.take(found, submit)
    await check_is_job(place, found.number)


async def test_words_that_were_written_unheard_cancel_nothing(place: Place, letters: Path) -> None:
    async def submit(_: str, job_id: str, blocks: AsyncIterator[bytes]) -> Decision:
        unheard = (await seen(place, job_id)).model_copy(update={"accepted": 1})
        assert await place.shop.engine.database.write(
            lambda c: readings.go_on(c, job_id=job_id, after=unheard)
        )
        assert [block async for block in blocks]
        return await submitted(place, job_id)

    async with begun(place, letters) as (found, _):
        await place.shop.engine.annotations.files.take(found, submit)
    await check_is_job(place, found.number)


async def test_a_request_that_is_refused_when_all_was_read_leaves_nothing(
    place: Place, letters: Path
) -> None:
    refusal = QuotaExceeded("the tenant has as much as it may")
    async with begun(place, letters) as (found, _):
        with pytest.raises(QuotaExceeded):
            await place.shop.engine.annotations.files.take(found, unanswered(refusal))
    await place.ask("GET", f"{OPERATIONS}/{found.number.operation_id}/status", status=404)
    kept = await place.shop.engine.database.read(
        lambda c: job_files.find(c, "acme", found.job_id, REJECTS)
    )
    assert kept is None


async def test_a_reader_that_hears_no_answer_leaves_all_to_the_job_that_comes(
    place: Place, letters: Path
) -> None:
    ended = asyncio.Event()
    async with begun(place, letters) as (found, held):
        held.callback(ended.set)
        files = place.shop.engine.annotations.files
        files.take_later(found, unanswered(AWAY), held.pop_all())
        await asyncio.wait_for(ended.wait(), 20)
    assert await listed(place, "pending") == [found.number.operation_id]
    await submitted(place, found.job_id)
    await check_is_job(place, found.number)


async def check_is_job(place: Place, found: Numbered) -> None:
    """An operation is a job, with its rejects."""
    operation = {"operation_id": found.operation_id}
    shown = await place.ask("GET", f"{OPERATIONS}/{found.operation_id}/status")
    assert (shown["reading"], shown["status"] != "failed") == (None, True)
    assert (await download(place, operation))[0] == lines(BAD)


@pytest.fixture
def let_go(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Until it is set no file is read."""
    real, event = FileReader.block, threading.Event()

    def block(reader: FileReader) -> bytes:
        assert event.wait(30), "nobody has let it go"
        return real(reader)

    monkeypatch.setattr(FileReader, "block", block)
    yield event
    event.set()


async def test_a_server_that_is_stopped_says_so_of_what_it_reads(
    place: Place, let_go: threading.Event
) -> None:
    operation = await send(place, lines(ADA), auto_detect_labels=True, in_background=True)
    await place.shop.close()
    let_go.set()
    await place.shop.open()
    shown = await place.ask("GET", operation["links"]["status"])
    assert (shown["status"], shown["reading"]["error"]["code"]) == ("failed", "server_stopped")


async def test_who_follows_a_file_that_is_refused_keeps_the_connection(
    place: Place, let_go: threading.Event
) -> None:
    sending = asyncio.ensure_future(send(place, lines(BAD), format="jsonl", status=422))
    (number,) = await listed(place, "pending")
    url = f"{OPERATIONS}/{number}/events"
    async with (
        talking(place, by("viewer")) as words,
        place.shop.client.get(url, headers={**BOSS, **SSE}) as response,
    ):
        await words.say("subscribe", operation_id=number)
        await words.expect("system_status", event="subscribed")
        await words.expect("progress_update", current_step="reading")
        let_go.set()
        assert (await sending)["code"] == "file_refused"
        await words.expect("system_status", event="unsubscribed", operation_id=number)
        await words.say("system_status")
        await words.expect("system_status", event="status")
        assert {name async for name, _ in frames(response)} == {"progress_update"}


async def test_a_job_that_is_not_decided_yet_is_waited_for(
    place: Place,
) -> None:
    found = await left(place, TimeOrderedIds().new(), said(0.0))
    async with talking(place, by("viewer")) as words:
        await words.say("subscribe", operation_id=found.operation_id)
        await words.expect("system_status", event="subscribed")
        await words.expect("progress_update", current_step="reading")
        await place.shop.engine.database.write(lambda c: readings.end(c, found.job_id))
        await asyncio.sleep(2 * LOOK_SECONDS)
        await submitted(place, found.job_id)
        told = await heard(words, "operation_completed")
        assert told["succeeded"] == 1
