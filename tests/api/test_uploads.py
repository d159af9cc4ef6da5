"""Uploads: a file is taken up to its size and while it moves, some at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any

import aiohttp
import orjson
import pytest

from api.admission import Uploads
from api.limits import Limits
from api.problems import RequestRefused
from api.systems.annotations.importing import IMPORT
from tests.api.conftest import site_of
from tests.api.engine import MemoryEngine

KEY = {"Idempotency-Key": "monday"}
FORM = {**KEY, "Content-Type": "multipart/form-data; boundary=x"}
PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
FIELD = b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n'


async def answered(client: aiohttp.ClientSession, data: Any) -> tuple[int, Any]:
    async with client.post(IMPORT, data=data, headers=FORM) as response:
        return response.status, orjson.loads(await response.read())


async def moving(*blocks: bytes) -> AsyncIterator[bytes]:
    """A body whose length is not said before."""
    for block in blocks:
        yield block


async def test_a_file_is_taken_up_to_its_size(engine: MemoryEngine) -> None:
    async with site_of(engine, Limits(upload=1000, small_body=100)) as site:
        for count, status, code in ((1000, 422, "invalid"), (1001, 413, "body_too_large")):
            data = moving(PART, b"x" * count, b"\r\n--x--\r\n")
            said, problem = await answered(site.client, data)
            assert (said, problem["code"]) == (status, code)
        said, problem = await answered(site.client, b"x" * 1101)
        assert (said, problem["code"]) == (413, "body_too_large")
        data = moving(FIELD % b"name", b"x" * 101, b"\r\n--x--\r\n")
        said, problem = await answered(site.client, data)
        assert (said, problem["code"]) == (413, "body_too_large")


async def test_so_many_are_taken_at_once(engine: MemoryEngine) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def waiting() -> AsyncIterator[bytes]:
        yield PART
        begun.set()
        await go_on.wait()
        yield b"x\r\n--x--\r\n"

    whole = PART + b"x\r\n--x--\r\n"
    async with site_of(engine, Limits(uploads=1)) as site:
        first = asyncio.create_task(answered(site.client, waiting()))
        async with asyncio.timeout(10):
            await begun.wait()
            while (found := await answered(site.client, whole))[0] != 503:
                assert found[0] == 422  # the first has not come in yet
        assert found[1]["code"] == "too_many_uploads"
        go_on.set()
        assert (await first)[0] == 422
        assert (await answered(site.client, whole))[0] == 422


async def test_a_file_that_stands_still_is_not_waited_for(engine: MemoryEngine) -> None:
    never = asyncio.Event()

    async def standing() -> AsyncIterator[bytes]:
        yield PART + b"x"
        await never.wait()

    async with site_of(engine, Limits(body_idle=0.05)) as site:
        said, problem = await answered(site.client, standing())
    assert (said, problem["code"]) == (408, "request_timeout")


async def test_a_file_that_drips_is_not_waited_for(engine: MemoryEngine) -> None:
    async def dripping() -> AsyncIterator[bytes]:
        yield PART
        while True:
            yield b"x"
            await asyncio.sleep(0.02)  # the pace of who drips, well within what may stand still

    async with site_of(engine, Limits(body_grace=0.0, linger=0.05)) as site, asyncio.timeout(10):
        said, problem = await answered(site.client, dripping())
    assert (said, problem["code"]) == (408, "request_timeout")
    assert "send it again, with 5000 a second at least" in problem["detail"]


def test_one_tenant_leaves_a_place_to_others() -> None:
    uploads = Uploads(Limits(uploads=3))
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(uploads.admitted("acme"))
        with pytest.raises(RequestRefused) as caught, uploads.admitted("acme"):
            pass
        assert (caught.value.problem.status, caught.value.problem.code) == (429, "quota_exceeded")
        stack.enter_context(uploads.admitted("other"))
        with pytest.raises(RequestRefused) as caught, uploads.admitted("third"):
            pass
        assert (caught.value.problem.status, caught.value.problem.code) == (503, "too_many_uploads")
    with uploads.admitted("acme"), uploads.admitted("acme"):
        pass


async def test_a_form_has_so_many_fields_each_of_its_own(engine: MemoryEngine) -> None:
    async with site_of(engine) as site:
        for names in ([b"a", b"a"], [b"f%d" % number for number in range(41)], [b""]):
            data = b"".join(FIELD % name + b"1\r\n" for name in names) + b"--x--\r\n"
            said, problem = await answered(site.client, data)
            assert (said, problem["code"]) == (400, "malformed_body")
        data = FIELD % b"name" + b"\xff\r\n--x--\r\n"
        assert (await answered(site.client, data))[0] == 400


async def test_a_form_to_a_route_that_takes_none(engine: MemoryEngine) -> None:
    data = FIELD % b"a" + b"1\r\n--x--\r\n"
    async with site_of(engine) as site:
        for method, path, status in (
            ("POST", "/api/v1/jobs", 415),
            ("PATCH", IMPORT, 405),
            ("POST", "/api/v1/nothing", 404),
        ):
            async with site.client.request(method, path, data=data, headers=FORM) as response:
                assert response.status == status
