"""Contest: the same work by all contestants, alternating, on one kind of database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import material
from benchmarks.contestants import OURS, REFERENCE, Contestant
from benchmarks.measure import Used, median, percentile
from benchmarks.places import Place, kept
from benchmarks.server import running

FIRST_JOBS = 20

Say = Callable[[str], None]
Written = Callable[[Path, int], Path]
"""Makes the file of so many items."""


@dataclass
class Contest:
    """What each contestant took, a round at a time, by name."""

    items: int
    used: dict[str, list[Used]] = field(default_factory=dict)

    def add(self, who: Contestant, used: Used) -> None:
        """One more round of a contestant."""
        self.used.setdefault(who.name, []).append(used)

    def seconds(self, who: Contestant) -> float:
        """Median of a contestant's rounds."""
        return median(used.seconds for used in self.used[who.name])

    def ratio(self, who: Contestant, other: Contestant = REFERENCE) -> float:
        """How fast beside another: the median of the ratios of rounds run side by side."""
        pairs = zip(self.used[other.name], self.used[who.name], strict=True)
        return median(reference.seconds / used.seconds for reference, used in pairs)

    def cpu(self, who: Contestant) -> float:
        """CPU of all its processes, in microseconds an item."""
        return median(used.cpu for used in self.used[who.name]) / self.items * 1e6

    def peak(self, who: Contestant) -> float:
        """Peak resident memory of all its processes, in MiB."""
        return max(used.peak for used in self.used[who.name]) / (1 << 20)

    def moved(self, who: Contestant) -> float:
        """Median of the seconds until its first progress was seen."""
        return median(used.moved for used in self.used[who.name] if used.moved is not None)


async def run(
    place: Place,
    folder: Path,
    items: int,
    rounds: int,
    contestants: Sequence[Contestant],
    say: Say,
    *,
    written: Written = material.written,
) -> Contest:
    """All contestants in turn, ``rounds`` times; each has a fresh copy of the same database."""
    path = written(folder, items)
    contest = Contest(items)
    for number in range(1, rounds + 1):
        for who in contestants:
            with place.fresh() as site:
                contest.add(who, await who.run(site, path))
                _require(kept(site.url), items, who)
        say(f"{place.name}: round {number} of {rounds}, {_standing(contest, contestants)}")
    return contest


def _standing(contest: Contest, contestants: Sequence[Contestant]) -> str:
    ours = OURS if OURS in contestants else contestants[-1]
    beside = REFERENCE if REFERENCE in contestants else contestants[1]
    return f"{contest.ratio(ours, beside):.2f} of {beside.name}"


async def latency(place: Place, jobs: int) -> tuple[float, float]:
    """Median and 99th percentile, in seconds, of a job of one item: POST to its end on SSE."""
    with place.fresh() as site:
        async with running(site.folder, COUNTERMAND_DATABASE=site.url) as server:
            body = {"operation": "annotations.create_projects", "items": [{"name": "one"}]}
            times = [(await server.submit(body)).ended for _ in range(FIRST_JOBS + jobs)]
    return median(times[FIRST_JOBS:]), percentile(times[FIRST_JOBS:], 0.99)


async def alone(place: Place, folder: Path, items: int, who: Contestant = OURS) -> Used:
    """What one contestant takes for one job of that size."""
    path = material.written(folder, items)
    with place.fresh() as site:
        used = await who.run(site, path)
        _require(kept(site.url), items, who)
    return used


def _require(succeeded: int, items: int, who: Contestant) -> None:
    expected = items - material.wrong(items)
    if succeeded != expected:
        raise RuntimeError(f"{who.name}: {succeeded} of {items} items are there, not {expected}")
