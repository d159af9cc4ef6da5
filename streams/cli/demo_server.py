"""Demo server: `countermand serve` as a process of its own, on a free port."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from streams.cli.exits import Unreachable

START_SECONDS = 60.0
STOP_SECONDS = 30.0

COMMAND = (sys.executable, "-P", "-m", "streams.cli.main")


@dataclass(slots=True)
class Server:
    """A running server; ``exit_code`` is there once it has ended."""

    url: str
    data_dir: Path
    exit_code: int | None = None

    @property
    def database(self) -> Path:
        """Its SQLite file."""
        return self.data_dir / "countermand.db"


@asynccontextmanager
async def running(data_dir: Path) -> AsyncIterator[Server]:
    """A server on that directory; ended with SIGTERM on the way out, so that it drains."""
    with (data_dir / "server.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(*COMMAND, "serve", "--json", "--port", "0", "--data-dir", str(data_dir)),
            # However the demo ends, this pipe ends with it, and then so does the server.
            "--end-with-input",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env=environment(),
            # A Ctrl-C is for the demo, which then ends its server.
            start_new_session=True,
        )
    try:
        server = Server(await _url(process, data_dir), data_dir)
        yield server
        server.exit_code = await _ended(process)
    finally:
        if process.returncode is None:
            await _ended(process)


def environment() -> dict[str, str]:
    """Ours, without settings of another server."""
    kept: Sequence[str] = [name for name in os.environ if not name.startswith("COUNTERMAND_")]
    return {name: os.environ[name] for name in kept}


async def _url(process: asyncio.subprocess.Process, data_dir: Path) -> str:
    assert process.stdout is not None  # noqa: S101 - it is a pipe, see above
    async with asyncio.timeout(START_SECONDS):
        line = await process.stdout.readline()
    if not line:
        said = (data_dir / "server.log").read_text(errors="replace").strip()
        raise Unreachable(f"the server did not start; it said:\n{said}")
    url: str = json.loads(line)["url"]
    return url


async def _ended(process: asyncio.subprocess.Process) -> int:
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            return await process.wait()
    except TimeoutError:
        process.kill()
        return await process.wait()
