"""The report's part on the scaled stack: throughput, small jobs, and small beside large."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import contest, material, report
from benchmarks.contestants import OURS, Contestant, scaled, script
from benchmarks.measure import median, percentile
from benchmarks.places import Place
from benchmarks.scaled import running_stack
from benchmarks.server import Server
from tests.services.kafka import KafkaCluster, running_kafka

TITLE = "PostgreSQL and Kafka, several processes"
BATCHES = 200
BATCH_ITEMS = 10
BESIDE_ITEMS = 100
BESIDE_JOBS = 20


@dataclass(frozen=True, slots=True)
class Small:
    """Seconds from the POST of each job to its end on its live stream."""

    ones: Sequence[float]
    """Of one item, one job after the other."""
    batches: Sequence[float]
    """Of a few items each, sent at once."""


@dataclass(frozen=True, slots=True)
class Beside:
    """Seconds that small jobs take alone and behind a large one, and that one with and without."""

    alone: Sequence[float]
    behind: Sequence[float]
    large_alone: float
    large_beside: float

    @property
    def times(self) -> float:
        """How many times their time alone small jobs take at the median."""
        return median(self.behind) / median(self.alone)

    @property
    def kept(self) -> float:
        """What the large job keeps of its speed alone."""
        return self.large_alone / self.large_beside


async def section(place: Place, folder: Path, asked: argparse.Namespace) -> str:
    """All figures of the scaled stack, beside scripts on the same PostgreSQL."""
    with running_kafka() as kafka:
        ours = scaled(kafka)
        contestants = [script("100"), script("500"), script("bulk"), OURS, *ours]
        taken = await contest.run(place, folder, asked.items, asked.rounds, contestants, report.say)
        lines = [
            _progress(taken, ours),
            _told(await small(place, kafka, asked.jobs)),
        ]
        if asked.large:
            lines.append(_told_beside(await beside(place, folder, kafka, asked.large), asked.large))
    table = report.table(place, taken, contestants).replace(f"## {place.name}", f"## {TITLE}", 1)
    return "\n\n".join([table, "\n".join(lines)])


def _progress(taken: contest.Contest, ours: Sequence[Contestant]) -> str:
    automatic, packed = ours
    return (
        f"- First progress: {taken.moved(automatic) * 1000:.0f} ms after the 202. "
        f"{taken.ratio(automatic, script('500')):.2f} of the script that commits every 500. Chunks "
        f"of 100 asked for: {taken.ratio(packed, automatic):.2f} of the speed of automatic."
    )


async def small(place: Place, kafka: KafkaCluster, jobs: int) -> Small:
    """One job after the other, and many at once."""
    with place.fresh() as site:
        async with running_stack(site.folder, site.url, kafka) as server:
            ones = [(await server.submit(_projects(1))).ended for _ in range(20 + jobs)][20:]
            batches = await asyncio.gather(
                *(server.submit(_projects(BATCH_ITEMS), key=f"{each}") for each in range(BATCHES))
            )
    return Small(ones, [batch.ended for batch in batches])


def _told(found: Small) -> str:
    ones, ended = found.ones, found.batches
    return (
        f"- A job of one item, POST to its end on SSE: p50 {median(ones) * 1000:.1f} ms, "
        f"p99 {percentile(ones, 0.99) * 1000:.1f} ms ({len(ones)} jobs).\n"
        f"- {BATCHES} jobs of {BATCH_ITEMS} items sent at once: p50 {median(ended):.2f} s, "
        f"p99 {percentile(ended, 0.99):.2f} s."
    )


async def beside(place: Place, folder: Path, kafka: KafkaCluster, large: int) -> Beside:
    """Small jobs alone and behind a large one, and the large one alone and beside them.

    What is alone is measured before and after what is not: minutes later a machine may be quicker
    or slower than it was.
    """
    path = material.written(folder, large)
    before = await _large_alone(place, kafka, path, large)
    with place.fresh() as site:
        async with running_stack(site.folder, site.url, kafka) as server:
            await server.submit(_projects(1))
            unhindered = await _small_alone(server)
            running = asyncio.ensure_future(annotated(server, path, large))
            behind = await _until(server, running)
            together = await running
            unhindered += await _small_alone(server)
    after = await _large_alone(place, kafka, path, large)
    return Beside(unhindered, behind, large_alone=(before + after) / 2, large_beside=together)


async def _large_alone(place: Place, kafka: KafkaCluster, path: Path, large: int) -> float:
    with place.fresh() as site:
        async with running_stack(site.folder, site.url, kafka) as server:
            await server.submit(_projects(1))
            return await annotated(server, path, large)


async def _small_alone(server: Server) -> list[float]:
    return [(await server.submit(_projects(BESIDE_ITEMS))).ended for _ in range(BESIDE_JOBS)]


def _told_beside(found: Beside, large: int) -> str:
    return (
        f"- {BESIDE_ITEMS} items behind a job of {large:,}: p50 {median(found.behind) * 1000:.0f} "
        f"ms ({len(found.behind)} jobs), {found.times:.1f} times their time alone "
        f"({median(found.alone) * 1000:.0f} ms). The large job meanwhile: {found.kept:.2f} of its "
        f"speed alone ({large / found.large_alone:,.0f} items/s)."
    )


async def _until(server: Server, running: asyncio.Future[float]) -> list[float]:
    """Small jobs, a second apart, for as long as the large one runs."""
    times: list[float] = []
    await asyncio.sleep(2.0)
    while not running.done():
        times.append((await server.submit(_projects(BESIDE_ITEMS))).ended)
        await asyncio.sleep(1.0)
    return times or [float("nan")]


async def annotated(server: Server, path: Path, items: int) -> float:
    """Seconds from the 202 to the end of a job of a file of so many items."""
    params = json.dumps({"project_id": material.PROJECT})
    followed = await server.stream("annotations.create", path, params=params)
    followed.require(items - material.wrong(items))
    return followed.ended - followed.accepted


def _projects(items: int) -> dict[str, Any]:
    return {
        "operation": "annotations.create_projects",
        "items": [{"name": f"project {number}"} for number in range(items)],
    }
