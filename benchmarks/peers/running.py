"""Runs a peer: its workers in the way its users start them, and the sender beside them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from benchmarks.measure import Used
from benchmarks.peers import batch
from benchmarks.places import Site

CHECKOUT = Path(__file__).resolve().parents[2]
STOP_SECONDS = 15.0
LOG_TAIL = 3000


@dataclass(frozen=True, slots=True)
class Peer:
    """A task queue and where its tasks wait.

    ``module`` is the one of ours that knows it, ``packages`` are what it needs, itself first.
    """

    name: str
    broker: str
    module: str
    packages: tuple[str, ...]
    worker: tuple[str, ...]
    """Arguments for the interpreter that start one command of workers."""
    processes: int = 1
    """How many of these commands."""
    prepare: tuple[str, ...] = ()
    """Arguments for the interpreter that make what the queue keeps in our database."""

    @property
    def label(self) -> str:
        """Its name in a table, with its release; it must be installed."""
        return f"{self.name} {version(self.packages[0])} on {self.broker}"

    @property
    def missing(self) -> str | None:
        """A sentence that says what is not installed and how to get it; None when it is."""
        absent = [package for package in self.packages if find_spec(package) is None]
        if not absent:
            return None
        return f"{self.name} is left out: {absent[0]} is not installed"


async def run(
    peer: Peer, site: Site, items: Path, *, size: int, broker: str, bulk: bool = False
) -> Used:
    """What its workers and the sender took for the items of that file."""
    environment = {**os.environ, batch.DATABASE: site.url, batch.BROKER: broker}
    environment |= {batch.BULK: "1"} if bulk else {}
    log = site.folder / "peer.log"
    if peer.prepare:
        await _output(peer.prepare, environment, log)
    async with AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(_worker(peer, environment, log))
            for _ in range(peer.processes)
        ]
        sender = ("-m", "benchmarks.peers.sender", peer.module, str(items), str(size))
        out = await _output((*sender, *(str(worker.pid) for worker in workers)), environment, log)
    return Used(**json.loads(out))


@asynccontextmanager
async def _worker(
    peer: Peer, environment: Mapping[str, str], log: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    with log.open("ab") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *peer.worker,
            cwd=CHECKOUT,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            # Its children end with it, whatever their parent makes of a signal.
            start_new_session=True,
        )
    try:
        yield process
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    await process.wait()


async def _output(arguments: tuple[str, ...], environment: Mapping[str, str], log: Path) -> bytes:
    with log.open("ab") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            cwd=CHECKOUT,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=file,
        )
    try:
        out, _ = await process.communicate()
    except BaseException:
        process.kill()
        raise
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed; the log ends with:\n{_tail(log)}")
    return out


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-LOG_TAIL:]
