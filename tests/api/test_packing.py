"""Answers in gzip and zstd, and bodies that come so and are not let grow at will."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import aiohttp
import orjson
import pytest
import zstandard

from api.limits import Limits
from api.packing import wanted
from tests.api.conftest import Site, site_of
from tests.api.engine import MemoryEngine
from tests.api.test_routes import submitted

JOBS = "/api/v1/jobs"
JSON = {"Content-Type": "application/json"}
PACK = {"gzip": gzip.compress, "zstd": zstandard.ZstdCompressor().compress}
UNPACK = {"gzip": gzip.decompress, "zstd": zstandard.ZstdDecompressor().decompress}
PIECEWISE = {
    "gzip": lambda: zlib.decompressobj(zlib.MAX_WBITS | 16),
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj(),
}
TINY = Limits(unpacked_free=10_000, unpacked_ratio=20)


async def sent(
    site: Site, path: str, body: bytes, coding: str, kind: str = "application/json"
) -> tuple[int, Any]:
    headers = {"Content-Type": kind, "Content-Encoding": coding}
    # aiohttp would pack what says that it is packed once more.
    async with site.client.post(
        path, data=aiohttp.BytesPayload(body), headers=headers, skip_auto_headers=()
    ) as response:
        return response.status, orjson.loads(await response.read())


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip", "gzip"),
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=1.0, zstd;q=0.5", "gzip"),
        ("GZIP", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=0.5, identity", None),
        ("br", None),
        ("gzip;q=x", None),
        ("", None),
        ("*", None),
    ],
)
def test_the_coding_is_the_one_that_is_rather_wanted(accept: str, coding: str | None) -> None:
    assert wanted(accept) == coding


@pytest.mark.parametrize("coding", PACK)
async def test_a_large_answer_is_packed_and_its_tag_is_weak(site: Site, coding: str) -> None:
    raw = aiohttp.ClientSession(site.url, auto_decompress=False)
    async with raw, raw.get("/problems", headers={"Accept-Encoding": coding}) as response:
        body = await response.read()
        headers = response.headers
    async with (
        raw.__class__(site.url) as plain,
        plain.get("/problems", headers={"Accept-Encoding": "identity"}) as response,
    ):
        whole = await response.read()
        assert "Content-Encoding" not in response.headers
        assert headers["ETag"] == "W/" + response.headers["ETag"]
    assert (headers["Content-Encoding"], headers["Vary"]) == (coding, "Accept-Encoding")
    assert UNPACK[coding](body) == whole
    assert len(body) < len(whole) / 2


async def test_a_small_answer_and_a_live_stream_are_sent_as_they_are(site: Site) -> None:
    headers = {"Accept-Encoding": "gzip, zstd"}
    async with site.client.get("/health/live", headers=headers) as response:
        assert "Content-Encoding" not in response.headers
    body = {"operation": "test.double", "items": [{"n": n} for n in range(200)]}
    async with site.client.post(JOBS, json=body) as response:
        path = (await response.json())["links"]["events"]
    headers["Accept"] = "text/event-stream"
    async with site.client.get(path, headers=headers) as response:
        assert "Content-Encoding" not in response.headers
        assert (await response.content.readany()).startswith(b"retry:")


@pytest.mark.parametrize("coding", PACK)
@pytest.mark.parametrize("form", ["ndjson", "csv"])
async def test_a_stream_is_packed_piece_by_piece(site: Site, coding: str, form: str) -> None:
    """What has come can be unpacked before the rest is there, and the end says that it is one."""
    job_id = await submitted(site, 4_000)
    site.engine.work(job_id)
    path = f"{JOBS}/{job_id}/items?format={form}"
    raw = aiohttp.ClientSession(site.url, auto_decompress=False)
    async with raw, raw.get(path, headers={"Accept-Encoding": "identity"}) as response:
        assert "Content-Encoding" not in response.headers
        plain = await response.read()
    async with (
        aiohttp.ClientSession(site.url, auto_decompress=False) as raw,
        raw.get(path, headers={"Accept-Encoding": coding}) as response,
    ):
        assert response.headers["Content-Encoding"] == coding
        assert response.headers["Vary"] == "Accept-Encoding"
        packed = await response.read()
    unpacker, half = PIECEWISE[coding](), len(packed) // 2
    begun = unpacker.decompress(packed[:half])
    assert len(begun) > 60_000
    assert begun + unpacker.decompress(packed[half:]) == plain
    assert unpacker.eof
    assert len(packed) < len(plain) / 4


@pytest.mark.parametrize("coding", PACK)
async def test_a_stream_that_breaks_off_is_not_whole_when_it_is_unpacked(
    engine: MemoryEngine, coding: str
) -> None:
    async with site_of(engine) as site:
        job_id = await submitted(site, 4_000)
        engine.work(job_id)
        engine.breaks_at = 3_000
        raw = aiohttp.ClientSession(site.url, auto_decompress=False)
        path = f"{JOBS}/{job_id}/items?format=ndjson"
        came = bytearray()

        async def read(content: aiohttp.StreamReader) -> None:
            async for piece in content.iter_any():
                came.extend(piece)

        async with raw, raw.get(path, headers={"Accept-Encoding": coding}) as response:
            with pytest.raises(aiohttp.ClientPayloadError):
                await read(response.content)
    unpacker = PIECEWISE[coding]()
    assert unpacker.decompress(came).startswith(b'{"position":0')
    assert not unpacker.eof


@pytest.mark.parametrize("coding", PACK)
async def test_a_packed_body_is_taken(site: Site, coding: str) -> None:
    items = [{"n": n} for n in range(500)]
    body = orjson.dumps({"operation": "test.double", "items": items})
    status, job = await sent(site, JOBS, PACK[coding](body), coding)
    assert (status, job["counts"]["total"]) == (202, 500)
    lines = b"".join(orjson.dumps(item) + b"\n" for item in items)
    # In two members, as parallel packers write them.
    packed = PACK[coding](lines[:2000]) + PACK[coding](lines[2000:])
    path = f"{JOBS}?operation=test.double"
    status, job = await sent(site, path, packed, coding, "application/x-ndjson")
    assert (status, job["counts"]["total"]) == (202, 500)


@pytest.mark.parametrize("coding", PACK)
@pytest.mark.parametrize("damage", ["cut", "other", "after"])
async def test_a_body_that_is_not_packed_so_is_refused(
    site: Site, coding: str, damage: str
) -> None:
    whole = PACK[coding](orjson.dumps({"operation": "test.double", "items": [{"n": 1}] * 50}))
    body = {"cut": whole[:-5], "other": b"{}" * 20, "after": whole + b"{} and more"}[damage]
    status, problem = await sent(site, JOBS, body, coding)
    assert (status, problem["code"]) == (400, "malformed_body")


@pytest.mark.parametrize("coding", PACK)
@pytest.mark.parametrize("kind", ["application/json", "application/x-ndjson"])
async def test_a_bomb_is_refused_before_it_is_large(
    engine: MemoryEngine, coding: str, kind: str
) -> None:
    """200 MB of zeros or spaces; as JSON they are more than is taken, as NDJSON too many times."""
    bomb = PACK[coding](b" " * 200_000_000)
    async with site_of(engine) as site:
        path = f"{JOBS}?operation=test.double" if "nd" in kind else JOBS
        status, problem = await sent(site, path, bomb, coding, kind)
    assert (status, problem["code"]) == (413, "body_too_large")
    assert engine.taken == 0 or engine.uploads_failed


@pytest.mark.parametrize("coding", PACK)
async def test_the_ratio_counts_beyond_what_is_free(engine: MemoryEngine, coding: str) -> None:
    async with site_of(engine, TINY) as site:
        path = f"{JOBS}?operation=test.double"
        small = PACK[coding](b'{"n":1}\n' * 1000)
        status, _ = await sent(site, path, small, coding, "application/x-ndjson")
        assert status == 202
        status, problem = await sent(
            site, path, PACK[coding](b'{"n":1}\n' * 100_000), coding, "application/x-ndjson"
        )
        assert (status, problem["code"]) == (413, "body_too_large")
