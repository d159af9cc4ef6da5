"""Contestants: everybody who does the work, each as a function of a site and a file of items."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import material
from benchmarks.measure import Used
from benchmarks.peers import running as peers
from benchmarks.peers.catalogue import HUEY
from benchmarks.places import Site
from benchmarks.scaled import running_stack
from benchmarks.server import Server, running
from tests.services.kafka import KafkaCluster

BATCHES = (100, 500)
SCRIPTS = {
    "1": "script, a commit an item",
    "100": "script, a commit every 100",
    "500": "script, a commit every 500",
    "bulk": "raw bulk load, one transaction",
}


@dataclass(frozen=True, slots=True)
class Contestant:
    """One who does the work; ``run`` gets a place of its own and the items."""

    name: str
    run: Callable[[Site, Path], Awaitable[Used]]


async def script_of(module: str, arguments: Sequence[str], site: Site, items: Path) -> Used:
    """Run a script in a process of its own; it prints what it has used."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments, site.url, str(items)),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the script {module} {' '.join(arguments)} failed")
    return Used(**json.loads(out))


def script(way: str) -> Contestant:
    """One of the scripts."""
    return Contestant(SCRIPTS[way], partial(script_of, "benchmarks.scripts", (way,)))


REFERENCE = script("100")


def embedded_queues(say: Callable[[str], None]) -> list[Contestant]:
    """The task queue people use without a server, if it is installed."""
    if HUEY.missing:
        say(f"{HUEY.missing}; to get it: pip install -e .[bench]")
        return []
    return [Contestant(f"{HUEY.label}, tasks of {size}", partial(_huey, size)) for size in BATCHES]


async def _huey(size: int, site: Site, items: Path) -> Used:
    broker = str(site.folder / "huey.db")
    return await peers.run(HUEY, site, items, size=size, broker=broker)


async def _ours(site: Site, items: Path, **options: int) -> Used:
    async with running(site.folder, COUNTERMAND_DATABASE=site.url) as server:
        return await _worked(server, items, **options)


async def _scaled(kafka: KafkaCluster, site: Site, items: Path, **options: int) -> Used:
    async with running_stack(site.folder, site.url, kafka) as server:
        return await _worked(server, items, **options)


async def _worked(server: Server, items: Path, **options: int) -> Used:
    await warm(server)
    before = server.taken()
    # The scripts check texts and labels; what more there is to check is measured apart.
    params = json.dumps({"project_id": material.PROJECT, "validate_before_create": False})
    followed = await server.stream("annotations.create", items, params=params, **options)
    used = server.taken() - before
    moved = followed.moved - followed.accepted
    return Used(followed.ended, used.cpu, used.peak, moved)


SCALED = "Countermand on Kafka, two workers"


def scaled(kafka: KafkaCluster) -> list[Contestant]:
    """Ours over Kafka, with two workers."""
    return [
        Contestant(SCALED, partial(_scaled, kafka)),
        Contestant(f"{SCALED}, chunks of 100", partial(_scaled, kafka, chunk_size=100)),
    ]


OURS = Contestant("Countermand, chunks automatic", _ours)
OURS_100 = Contestant("Countermand, chunks of 100 asked for", partial(_ours, chunk_size=100))


async def warm(server: Server) -> None:
    """A server that has just started has compiled nothing yet; scripts load before they count."""
    body = {"operation": "annotations.create_projects", "items": [{"name": "warm"}]}
    await server.submit(body)
