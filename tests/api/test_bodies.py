"""JSON is read strictly, and what is accepted can travel on."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import orjson
import pytest

from api.bodies import LARGE, encode, parse
from api.limits import Limits
from api.problems import RequestRefused
from domain.errors import InvalidCommand
from streams.uploading import FLUSH_BYTES
from tests.api.conftest import Site, site_of
from tests.api.engine import MemoryEngine
from tests.api.test_routes import submitted


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "Expecting value"),
        (b"{", "line 1"),
        (b'{"a":1,"a":2}', "'a' stands twice"),
        (b'{"x":[{"deep":1,"deep":1}]}', "'deep' stands twice"),
        (b"[NaN]", "NaN is no JSON"),
        (b"[-Infinity]", "-Infinity is no JSON"),
        (b"[1e999]", "too large for a double"),
        (b"[" + b"9" * 5000 + b"]", "limit"),
        (b'"\xff"', "byte 1 is not UTF-8"),
        (b"\xef\xbb\xbf{}", "Expecting value"),
        (b"[" * 100_000, "nested too deeply"),
        (b"{} {}", "Extra data"),
        (b"'a'", "Expecting value"),
    ],
)
def test_malformed_json_is_refused_with_its_place(body: bytes, says: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        parse(body)
    assert refused.value.problem.status == 400
    assert refused.value.problem.code == "malformed_body"
    assert says in refused.value.problem.detail


def test_the_refusal_of_a_long_key_is_short() -> None:
    key = "k" * 10_000
    with pytest.raises(RequestRefused) as refused:
        parse(f'{{"{key}":1,"{key}":2}}'.encode())
    assert len(refused.value.problem.detail) < 300


@pytest.mark.parametrize("value", [None, 1, -1.5, 'ä\n"\\[{', [], {}, {"a": [1, {"b": None}]}])
def test_json_comes_through_unchanged(value: object) -> None:
    assert parse(encode(value, 64)) == value


@pytest.mark.parametrize(("value", "says"), [(2**64, "64-bit"), ("\ud800", "surrogates")])
def test_what_cannot_travel_on_is_refused_with_a_pointer(value: object, says: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        encode({"a": value}, 64, "/items/7")
    assert refused.value.problem.pointer == "/items/7"
    assert says in refused.value.problem.detail


def nested(levels: int) -> object:
    value: object = 1
    for level in range(levels):
        value = [value] if level % 2 else {"k": value}
    return value


@pytest.mark.parametrize("levels", [65, 200, 900])
def test_too_many_levels_are_refused(levels: int) -> None:
    with pytest.raises(RequestRefused):
        encode(nested(levels), 64)


def test_as_many_levels_as_allowed_are_fine() -> None:
    encode(nested(64), 64)


def test_brackets_in_strings_and_side_by_side_are_no_levels() -> None:
    encode({"text": '[[[{{{"\\' * 100, "list": [[], {}] * 100}, 64)


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """The threads in which large bodies were read."""
    found: list[threading.Thread] = []
    plain = json.JSONDecoder.decode

    def decode(self: json.JSONDecoder, text: str, *more: Any) -> Any:
        if len(text) >= LARGE:
            found.append(threading.current_thread())
        return plain(self, text, *more)

    monkeypatch.setattr(json.JSONDecoder, "decode", decode)
    return found


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("retry", {"items": list(range(20_000))}),
        ("undo", {"items": list(range(20_000))}),
        ("edit", {"items": {str(number): {"n": number} for number in range(5_000)}}),
        ("adjust", {"reason": "x" * LARGE}),
    ],
)
async def test_while_a_large_body_is_read_others_are_answered(
    site: Site, readers: list[threading.Thread], verb: str, body: Any
) -> None:
    job_id = await submitted(site)
    headers = {"Content-Type": "application/json"}
    path = f"/api/v1/jobs/{job_id}/{verb}"
    async with site.client.post(path, data=orjson.dumps(body), headers=headers) as response:
        await response.read()
    assert len(readers) == 1
    assert threading.main_thread() not in readers


MARK = b"\xef\xbb\xbf"
LINES = b'{"n": 1}\n{"n": 2}\n'


@pytest.mark.parametrize(
    ("blocks", "items"),
    [
        ([MARK + LINES], [b'{"n": 1}', b'{"n": 2}']),
        ([MARK, LINES], [b'{"n": 1}', b'{"n": 2}']),
        ([MARK[:1], MARK[1:2], MARK[2:] + LINES], [b'{"n": 1}', b'{"n": 2}']),
        ([LINES + MARK + LINES], [b'{"n": 1}', b'{"n": 2}', MARK + b'{"n": 1}', b'{"n": 2}']),
        ([MARK[:2]], [MARK[:2]]),
    ],
)
async def test_a_byte_order_mark_before_the_first_line_is_of_no_item(
    site: Site, blocks: list[bytes], items: list[bytes]
) -> None:
    async def body() -> AsyncIterator[bytes]:
        for block in blocks:
            yield block
            await asyncio.sleep(0.05)  # until it has come by itself

    headers = {"Content-Type": "application/x-ndjson"}
    path = "/api/v1/jobs?operation=test.double"
    async with site.client.post(path, data=body(), headers=headers) as response:
        assert response.status == 202
        job_id = (await response.json())["job_id"]
    assert site.engine.lines_of[job_id] == items


JSON_TYPE, LINES_TYPE = "application/json", "application/x-ndjson"


async def _answer(
    site: Site, body: Any, content_type: str, path: str = "/api/v1/jobs"
) -> tuple[int, str | None]:
    """Status and code."""
    path += "?operation=test.double" if content_type == LINES_TYPE else ""
    headers = {"Content-Type": content_type}
    async with site.client.post(path, data=body, headers=headers) as response:
        return response.status, (await response.json(content_type=None)).get("code")


def _job(size: int, content_type: str) -> bytes:
    """A job that is so many bytes long."""
    if content_type == LINES_TYPE:
        return b'{"n": 1}'.ljust(size - 1) + b"\n"
    return orjson.dumps({"operation": "test.double", "items": [{"n": 1}]}).ljust(size)


@pytest.mark.parametrize(
    ("content_type", "most"), [(JSON_TYPE, 40_000), (LINES_TYPE, FLUSH_BYTES * 4 // 3 + 20_000)]
)
async def test_bodies_under_way_hold_so_much_and_no_more(
    engine: MemoryEngine, content_type: str, most: int
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    whole = _job(25_000, content_type)

    async def standing() -> AsyncIterator[bytes]:
        yield whole[:-1]
        begun.set()
        await go_on.wait()
        yield whole[-1:]

    async with site_of(engine, Limits(bodies=most, small_body=1_000)) as site:
        first = asyncio.create_task(_answer(site, standing(), content_type))
        async with asyncio.timeout(10):
            await begun.wait()
            while (found := await _answer(site, whole, content_type))[0] != 429:
                assert found[0] == 202  # the first has not come in yet
        assert found[1] == "quota_exceeded"
        assert (await _answer(site, _job(1_000, content_type), content_type))[0] == 202
        go_on.set()
        assert (await first)[0] == 202
        assert (await _answer(site, whole, content_type))[0] == 202


async def test_lines_that_were_let_in_are_not_refused_for_those_that_others_send(
    engine: MemoryEngine,
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def standing() -> AsyncIterator[bytes]:
        yield _job(2_000, LINES_TYPE)
        begun.set()
        await go_on.wait()
        for _ in range(100):
            yield _job(20_000, LINES_TYPE)

    async with site_of(engine, Limits(bodies=4 * FLUSH_BYTES // 3, small_body=1_000)) as site:
        first = asyncio.create_task(_answer(site, standing(), LINES_TYPE))
        async with asyncio.timeout(10):
            await begun.wait()
            while (await _answer(site, _job(9_000, LINES_TYPE), LINES_TYPE))[0] != 429:
                pass  # the first has not come in yet
        go_on.set()
        assert (await first)[0] == 202


@pytest.mark.parametrize("verb", ["submit", "append"])
async def test_a_document_that_waits_to_be_stored_is_held_still(
    engine: MemoryEngine, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    inside, go_on, own = asyncio.Event(), asyncio.Event(), getattr(engine, verb)

    async def slow(*wanted: Any, **more: Any) -> Any:
        inside.set()
        await go_on.wait()
        return await own(*wanted, **more)

    monkeypatch.setattr(engine, verb, slow)
    async with site_of(engine, Limits(bodies=40_000, small_body=1_000)) as site:
        path, whole = "/api/v1/jobs", _job(25_000, JSON_TYPE)
        if verb == "append":
            draft = {"operation": "test.double", "draft": True}
            async with site.client.post(path, json=draft) as response:
                path += f"/{(await response.json())['job_id']}/items?part=0"
            whole = b'[{"n": 1}]'.ljust(25_000)
        post = partial(_answer, site, whole, JSON_TYPE, path)
        first = asyncio.create_task(post())
        async with asyncio.timeout(10):
            await inside.wait()
        assert await post() == (429, "quota_exceeded")
        go_on.set()
        assert (await first)[0] == 202


async def test_of_lines_that_are_stored_as_they_come_few_are_held(engine: MemoryEngine) -> None:
    async def long() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield _job(1_000_000, LINES_TYPE)

    async with site_of(engine, Limits(bodies=4_000_000)) as site:
        assert (await _answer(site, long(), LINES_TYPE))[0] == 202


async def test_what_is_refused_while_it_comes_is_held_no_longer(
    engine: MemoryEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []

    async def refusing(_caller: Any, _spec: Any, lines: AsyncIterator[bytes], **_more: Any) -> None:
        kept.append(lines)
        async for _ in lines:
            raise InvalidCommand("no more of it")

    monkeypatch.setattr(engine, "submit", refusing)
    async with site_of(engine, Limits(bodies=40_000, small_body=1_000)) as site:
        for _ in range(3):
            found = await _answer(site, _job(25_000, LINES_TYPE), LINES_TYPE)
            assert found == (422, "invalid")
    assert len(kept) == 3
