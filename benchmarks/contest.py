"""Contest: the same work by scripts and by us, alternating, on one kind of database."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import material
from benchmarks.measure import Used, median, percentile
from benchmarks.places import Place, Site, kept
from benchmarks.server import Followed, Server, running

SCRIPTS = {
    "1": "script, a commit an item",
    "100": "script, a commit every 100",
    "500": "script, a commit every 500",
    "bulk": "raw bulk load, one transaction",
}
OURS = "Countermand, chunks automatic"
OURS_100 = "Countermand, chunks of 100 asked for"
REFERENCE = SCRIPTS["100"]
FIRST_JOBS = 20

Say = Callable[[str], None]


@dataclass
class Contest:
    """What each contestant took, a round at a time; ``moved`` are seconds from the 202."""

    items: int
    used: dict[str, list[Used]] = field(default_factory=dict)
    moved: list[float] = field(default_factory=list)

    def add(self, name: str, used: Used) -> None:
        """One more round of a contestant."""
        self.used.setdefault(name, []).append(used)

    def seconds(self, name: str) -> float:
        """Median of a contestant's rounds."""
        return median(used.seconds for used in self.used[name])

    def ratio(self, name: str, other: str = REFERENCE) -> float:
        """How fast beside another: the median of the ratios of rounds run side by side."""
        pairs = zip(self.used[other], self.used[name], strict=True)
        return median(reference.seconds / used.seconds for reference, used in pairs)

    def cpu(self, name: str) -> float:
        """CPU of all our processes, in microseconds an item."""
        return median(used.cpu for used in self.used[name]) / self.items * 1e6

    def peak(self, name: str) -> float:
        """Peak resident memory of all our processes, in MiB."""
        return max(used.peak for used in self.used[name]) / (1 << 20)


async def run(place: Place, folder: Path, items: int, rounds: int, say: Say) -> Contest:
    """All contestants in turn, ``rounds`` times; each has a fresh copy of the same database."""
    path = folder / f"{items}.ndjson"
    material.write_items(path, items)
    contest = Contest(items)
    for number in range(1, rounds + 1):
        for way, name in SCRIPTS.items():
            with place.fresh() as site:
                contest.add(name, await _script(way, site, path))
                _require(kept(site.url), items, name)
        for name, options in ((OURS, {}), (OURS_100, {"chunk_size": 100})):
            with place.fresh() as site:
                used, followed = await _ours(site, path, options)
                contest.add(name, used)
                _require(followed.counts["succeeded"], items, name)
                if name == OURS:
                    contest.moved.append(followed.moved - followed.accepted)
        say(f"{place.name}: round {number} of {rounds}, {contest.ratio(OURS):.2f} of {REFERENCE}")
    return contest


async def latency(place: Place, jobs: int) -> tuple[float, float]:
    """Median and 99th percentile, in seconds, of a job of one item: POST to its end on SSE."""
    with place.fresh() as site:
        async with running(site.folder, COUNTERMAND_DATABASE=site.url) as server:
            body = {"operation": "annotations.create_projects", "items": [{"name": "one"}]}
            times = [(await server.submit(body)).ended for _ in range(FIRST_JOBS + jobs)]
    return median(times[FIRST_JOBS:]), percentile(times[FIRST_JOBS:], 0.99)


async def memory(place: Place, folder: Path, items: int) -> float:
    """Peak resident memory, in MiB, of a server that works one job of that size."""
    path = folder / f"{items}.ndjson"
    if not path.exists():
        material.write_items(path, items)
    with place.fresh() as site:
        used, _ = await _ours(site, path, {})
    return used.peak / (1 << 20)


async def _script(way: str, site: Site, items: Path) -> Used:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.scripts",
        way,
        site.url,
        str(items),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the script {way} failed")
    return Used(**json.loads(out))


async def _ours(site: Site, items: Path, options: dict[str, int]) -> tuple[Used, Followed]:
    async with running(site.folder, COUNTERMAND_DATABASE=site.url) as server:
        await _warm(server)
        before = server.taken()
        params = json.dumps({"project_id": material.PROJECT})
        followed = await server.stream("annotations.create", items, params=params, **options)
        used = server.taken() - before
        return Used(followed.ended, used.cpu, used.peak), followed


async def _warm(server: Server) -> None:
    """A server that has just started has compiled nothing yet; scripts load before they count."""
    body = {"operation": "annotations.create_projects", "items": [{"name": "warm"}]}
    await server.submit(body)


def _require(succeeded: int, items: int, name: str) -> None:
    expected = items - material.wrong(items)
    if succeeded != expected:
        raise RuntimeError(f"{name}: {succeeded} of {items} items are there, not {expected}")
