"""Work that waits: a plug-in whose items take 200 ms, and the API meanwhile."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from benchmarks.measure import median, percentile
from benchmarks.server import Server, running

SECONDS = 0.2
PLUGIN = '''
import asyncio
from pydantic import BaseModel
from domain.operation import operation
from domain.outcomes import Done

class Number(BaseModel):
    number: int

@operation("waits.call", item=Number, slow=True)
async def call(ctx, item):
    """Wait, as for the answer of a model."""
    await asyncio.sleep(0.2)
    return Done(item.number)
'''


async def section(folder: Path, items: int) -> str:
    """The report's part on slow work."""
    site = folder / "slow"
    packages = _install(folder / "packages")
    site.mkdir()
    async with running(site, PYTHONPATH=str(packages)) as server:
        body = {"operation": "waits.call", "items": [{"number": n} for n in range(items)]}
        done = asyncio.ensure_future(server.submit(body))
        answers = await _ask(server, done)
        seconds = (await done).ended
    times = items * SECONDS / seconds
    p50, p99 = median(answers) * 1000, percentile(answers, 0.99) * 1000
    return f"""## Work that waits

{items:,} items of {SECONDS * 1000:.0f} ms, declared slow, in one process, each result stored as it
comes: {seconds:.2f} s, {times:.0f} times as fast as one after the other. Meanwhile the API answered
a list of jobs in {p50:.1f} ms (p50) and {p99:.1f} ms (p99, {len(answers)} requests)."""


async def _ask(server: Server, until: asyncio.Future[object]) -> list[float]:
    times: list[float] = []
    while not until.done():
        began = time.perf_counter()
        async with server.session.get("/api/v1/jobs") as response:
            await response.read()
        times.append(time.perf_counter() - began)
        await asyncio.sleep(0.01)
    return times


def _install(packages: Path) -> Path:
    """A distribution with an entry point, as pip would have left it."""
    info = packages / "waits-1.dist-info"
    info.mkdir(parents=True)
    (packages / "waits.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: waits\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[countermand.operations]\nwaits = waits:call\n")
    return packages
