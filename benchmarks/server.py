"""The real server: ``countermand serve`` as a process, and a client that follows its jobs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp
import orjson

from benchmarks import measure
from benchmarks.measure import Taken

COMMAND = (sys.executable, "-P", "-m", "streams.cli.main")
CHECKOUT = Path(__file__).resolve().parent.parent
START_SECONDS = 60.0
STOP_SECONDS = 30.0
BLOCK_BYTES = 1 << 16
TERMINAL = frozenset({"completed", "completed_with_errors", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Followed:
    """A job from the POST to its terminal state; times in seconds since the POST began.

    ``moved`` is when the first event arrived that counts an item as settled.
    """

    job_id: str
    accepted: float
    moved: float
    ended: float
    counts: Mapping[str, int]

    def require(self, succeeded: int) -> Self:
        """Itself, if so many items have succeeded; else RuntimeError: what fails is soon over."""
        if self.counts["succeeded"] != succeeded:
            raise RuntimeError(
                f"job {self.job_id}: {self.counts['succeeded']} of its items have succeeded, not "
                f"{succeeded}: {dict(self.counts)}; `countermand errors {self.job_id}` says why"
            )
        return self


class Server:
    """A running server, of one process or several, and a connection to it."""

    def __init__(self, pids: Sequence[int], session: aiohttp.ClientSession) -> None:
        self._pids = pids
        self.session = session

    def taken(self) -> Taken:
        """What supervisors, the engine's processes and all below them have used."""
        return measure.take(pid for parent in self._pids for pid in measure.family(parent))

    async def stream(self, operation: str, items: Path, **options: Any) -> Followed:
        """Submit a file of items as streamed NDJSON, and follow the job to its end."""
        query = {"operation": operation, **{key: str(value) for key, value in options.items()}}
        return await self._followed(
            params=query,
            data=_blocks(items),
            headers={"Content-Type": "application/x-ndjson"},
        )

    async def submit(self, body: Mapping[str, Any], *, key: str = "") -> Followed:
        """Submit a small job as JSON, and follow it to its end; all of its items must succeed.

        With a key, a server that has not decided yet is asked again, which counts as time.
        """
        headers = {"Idempotency-Key": key} if key else {}
        followed = await self._followed(json=body, headers=headers)
        return followed.require(len(body["items"]))

    async def _followed(self, **post: Any) -> Followed:
        began = time.perf_counter()
        while True:
            async with self.session.post("/api/v1/jobs", **post) as response:
                answer = orjson.loads(await response.read())
                if response.status == 202:
                    break
                if response.status != 503 or "Idempotency-Key" not in post.get("headers", {}):
                    raise RuntimeError(f"the server refused: {answer}")
                await asyncio.sleep(float(response.headers["Retry-After"]))
        accepted = time.perf_counter() - began
        moved = ended = None
        # To the end of the stream, as a browser does, so that the connection is used again.
        async for event in self._events(answer["links"]["events"]):
            counts = event["counts"]
            if moved is None and counts["pending"] < counts["total"]:
                moved = time.perf_counter() - began
            if ended is None and event["status"] in TERMINAL:
                ended = time.perf_counter() - began
        if ended is None:
            raise RuntimeError("the stream of events ended before the job")
        return Followed(answer["job_id"], accepted, moved or ended, ended, counts)

    async def _events(self, path: str) -> AsyncIterator[dict[str, Any]]:
        headers = {"Accept": "text/event-stream"}
        async with self.session.get(path, headers=headers) as response:
            async for line in response.content:
                if line.startswith(b"data:"):
                    yield orjson.loads(line[5:])


async def _blocks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            yield block


@asynccontextmanager
async def running(folder: Path, **environment: str) -> AsyncIterator[Server]:
    """A server on that data directory; it is given settings by ``COUNTERMAND_...`` variables."""
    arguments = ("serve", "--data-dir", str(folder))
    async with (
        process(arguments, folder / "server.log", environment) as (pid, url),
        session_of(url) as session,
    ):
        yield Server([pid], session)


@asynccontextmanager
async def process(
    arguments: Sequence[str], log: Path, environment: Mapping[str, str]
) -> AsyncIterator[tuple[int, str]]:
    """A process of ours on a free port: its id and its address."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("COUNTERMAND_")}
    paths = os.pathsep.join(filter(None, [environment.get("PYTHONPATH", ""), str(CHECKOUT)]))
    with log.open("wb") as output:
        started = await asyncio.create_subprocess_exec(
            *(*COMMAND, *arguments, "--json", "--port", "0"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=output,
            env=own | {**environment, "PYTHONPATH": paths},
        )
    try:
        yield started.pid, await _url(started, log)
    finally:
        await _end(started)


@asynccontextmanager
async def session_of(url: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that waits as long as a large job takes."""
    timeout = aiohttp.ClientTimeout(total=None, sock_read=120)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(url, timeout=timeout, connector=connector) as session:
        yield session


async def _url(started: asyncio.subprocess.Process, log: Path) -> str:
    assert started.stdout is not None
    async with asyncio.timeout(START_SECONDS):
        line = await started.stdout.readline()
    if not line:
        raise RuntimeError(f"the server did not start; it said:\n{_said(log)}")
    return str(json.loads(line)["url"])


def _said(log: Path) -> str:
    return log.read_text(errors="replace").strip()


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
