"""The peers beside us on PostgreSQL: ``python -m benchmarks.peers --help``.

The queues are extras: ``pip install -e .[peers]``, or with hashes ``pip install -r
requirements/peers.txt``. Prints a Markdown report; asserts nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import contest, report
from benchmarks.contestants import BATCHES, OURS, OURS_100, Contestant, script
from benchmarks.measure import Used
from benchmarks.peers import redis, running
from benchmarks.peers.catalogue import ON_REDIS, PROCRASTINATE
from benchmarks.peers.running import Peer
from benchmarks.places import Site, places

WORK = """\
The work is that of the benchmark: validate each item with pydantic and against texts and labels,
insert it into the `annotations` table, record a result for it in PostgreSQL; 1 % of the items are
wrong. A peer is given the file in batches, a task each, by a process of its own; two worker
processes work them, a batch as the script does that commits as often, and texts and labels are
loaded once a process. It is timed from the first batch sent until all results are there. Tasks are
acknowledged once they are done. Redis runs with its own settings, so that tasks of the last
seconds are lost when it dies. Countermand takes the file as a streamed POST, keeps it, works it
with history and before-images for an undo, in one process. The ratio is that to the script that
commits every 100: above 1 is faster. CPU is user + system of all processes of a contestant;
PostgreSQL and Redis are not counted."""


def main() -> None:
    """Measure as asked on the command line."""
    asked = _arguments()
    head = report.head("Task queues beside Countermand", "benchmarks.peers", sys.argv[1:])
    notes = report.Notes()
    with tempfile.TemporaryDirectory(prefix="countermand-peers-") as name, ExitStack() as stack:
        folder = Path(name)
        peers = stack.enter_context(_peers(folder, notes, bulk=asked.bulk))
        contestants = [script("100"), script("500"), *peers, OURS, OURS_100]
        tables: list[str] = []
        for place in stack.enter_context(places(folder, ["postgresql"], notes.say)):
            run = contest.run(place, folder, asked.items, asked.rounds, contestants, report.say)
            tables.append(report.table(place, asyncio.run(run), contestants))
    report.write(asked.report, [head, WORK, *notes.section(), *tables])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--bulk", action="store_true", help="peers load a batch by COPY instead of item by item"
    )
    parser.add_argument("--report", default="", help="file to write; none unless named")
    return parser.parse_args()


@contextmanager
def _peers(folder: Path, notes: report.Notes, *, bulk: bool) -> Iterator[list[Contestant]]:
    """Those that are installed, each with tasks of every size."""
    installed = [peer for peer in (PROCRASTINATE, *ON_REDIS) if _is_here(peer, notes)]
    with ExitStack() as stack:
        on_redis = [peer for peer in installed if peer in ON_REDIS]
        address = ""
        if on_redis and redis.found():
            address = stack.enter_context(redis.running(folder))
        elif on_redis:
            names = ", ".join(peer.name for peer in on_redis)
            notes.say(f"{names} left out: no redis-server; get it: apt-get install redis-server")
            installed = [peer for peer in installed if peer not in on_redis]
        yield [
            _contestant(peer, address, size, bulk=bulk) for peer in installed for size in BATCHES
        ]


def _is_here(peer: Peer, notes: report.Notes) -> bool:
    if peer.missing:
        notes.say(f"{peer.missing}; to get it: pip install -e .[peers]")
    return peer.missing is None


def _contestant(peer: Peer, broker: str, size: int, *, bulk: bool) -> Contestant:
    async def run(site: Site, items: Path) -> Used:
        return await running.run(peer, site, items, size=size, broker=broker, bulk=bulk)

    return Contestant(f"{peer.label}, tasks of {size}", run)


if __name__ == "__main__":
    main()
