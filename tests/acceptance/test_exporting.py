"""Exports whose processes are killed: over what is read, and over the file that is made of it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from typing import Any
from urllib.request import urlopen

import aiohttp
from sqlalchemy import create_engine, text
from sqlalchemy.pool import StaticPool

from tests.acceptance.stack import Stack
from tests.acceptance.test_importing import imported
from tests.acceptance.test_platform import Platform

WITHIN = 120.0
COUNT = 300
SIZE = 40_000
"""Characters of a text; all of them together are so much that a file takes a while to be made."""


def _texts() -> list[dict[str, Any]]:
    return [
        {"content": f"{number} " * (SIZE // len(f"{number} ")), "key": f"text-{number}"}
        for number in range(COUNT)
    ]


async def test_a_file_is_whole_although_who_reads_and_who_writes_it_is_killed(
    stack: Stack,
) -> None:
    texts = _texts()
    async with asyncio.timeout(WITHIN):
        async with aiohttp.ClientSession(stack.url) as session:
            platform = Platform(session)
            await platform.begin()
            data = "".join(json.dumps(one) + "\n" for one in texts).encode()
            operation = await imported(session, platform.number, data, "long texts")
            await platform.followed(operation["operation_id"])
            export = await _submitted(platform)
            stack.kill_engine()
        await asyncio.to_thread(stack.wait_ready)
        async with aiohttp.ClientSession(stack.url) as session:
            export = await _half_written(stack, Platform(session), platform.number, export)
        await asyncio.to_thread(stack.wait_ready)
        async with aiohttp.ClientSession(stack.url) as session:
            platform = Platform(session)
            told = await platform.ask("GET", export["links"]["export"])
            assert told["export"]["file"] is None, "nothing that is half done is offered"
            several = await asyncio.gather(*(_fetched(session, export) for _ in range(2)))
            assert several[0] == several[1]
            lines = [json.loads(line) for line in several[0].splitlines()]
            # Of an import on several workers nobody knows which chunk is the first.
            found = [(line["key"], line["content"]) for line in lines if "key" in line]
            assert sorted(found) == sorted((one["key"], one["content"]) for one in texts)
            assert len(lines) == COUNT + 1
            told = await platform.ask("GET", export["links"]["export"])
            assert told["export"]["file"]["size"] == len(several[0])
            assert told["export"]["file"]["sha256"] == hashlib.sha256(several[0]).hexdigest()
            parts = "SELECT position FROM job_parts WHERE job_id = :job"
            assert stack.rows(parts, job=export["job_id"]) == []


async def _submitted(platform: Platform) -> Any:
    body = {"project_id": platform.number, "format": "jsonl", "chunk_size": 20}
    return await platform.ask("POST", "/api/v1/batch/export", body, 202)


async def _fetched(session: aiohttp.ClientSession, export: Any) -> bytes:
    async with session.get(export["links"]["download"]) as response:
        assert response.status == 200, await response.text()
        return await response.read()


async def _half_written(stack: Stack, platform: Platform, number: int, export: Any) -> Any:
    """An export whose file is half written, and whose writer is dead."""
    platform.number = number
    kind, told = await platform.followed(export["operation_id"])
    assert (kind, told["succeeded"]) == ("operation_completed", COUNT + 1)
    # By a client that does not ask again by itself when a connection is lost.
    asking = asyncio.to_thread(urlopen, stack.url + export["links"]["download"], timeout=WITHIN)
    killing = asyncio.to_thread(_kill_over, stack, export["job_id"])
    asked, killed = await asyncio.gather(asking, killing, return_exceptions=True)
    assert killed is None
    assert isinstance(asked, OSError)
    return export


def _kill_over(stack: Stack, job_id: str) -> None:
    """Kill who writes the file, when some of it is stored and the rest has to wait for us."""
    pieces = text("SELECT count(*) FROM job_file_pieces WHERE job_id = :job")
    hold = text("UPDATE job_files SET name = name WHERE job_id = :job AND size IS NULL")
    mine, until = {"job": job_id}, time.monotonic() + WITHIN
    engine = create_engine(stack.database, poolclass=StaticPool)
    with engine.connect() as connection:
        while not connection.scalar(pieces, mine):
            connection.rollback()
            assert time.monotonic() < until, "nobody begins the file"
        connection.rollback()
        assert connection.execute(hold, mine).rowcount == 1, "the file was made too soon"
        stack.kill_edge()
    engine.dispose()
