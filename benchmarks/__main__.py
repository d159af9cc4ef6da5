"""The benchmark: ``make bench``, or ``python -m benchmarks --help``.

Prints a Markdown report and writes it to docs/benchmark.md; asserts nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from benchmarks import contest, over_kafka, report, slow
from benchmarks.contestants import (
    OURS,
    OURS_100,
    SCRIPTS,
    Contestant,
    embedded_queues,
    script,
)
from benchmarks.places import Place, places
from tests.services.catalogue import SERVICES

REPORT = Path("docs/benchmark.md")
DATABASES = ("sqlite", "postgresql")
STACKS = (*DATABASES, "kafka")
WORK = """\
The work: validate each item with pydantic and against texts and labels, insert it into the
`annotations` table of our migrations with its indexes, record a result for it; 1 % of the items
are wrong. Scripts load texts and labels once and read a file; Countermand takes the file as a
streamed POST, keeps it, works it in chunks with history and before-images for an undo, and is timed
to the terminal state on its live stream. Huey, a task queue without a server, is given the file in
batches, a task each; its consumer, one process with Huey's own settings, works a batch as the
script does that commits as often, and is timed until all results are there; its queue is an SQLite
file of its own. Each commit of a script waits for the disk. Of those of embedded Countermand the
ones with events do, and so whatever anybody is told of; those of chunks before them need not
(ADR 0008). The ratio is that to the script that commits every 100: above 1 is faster. CPU is user
+ system of all processes of a contestant, SQLite included, a database server not."""


def main() -> None:
    """Measure as asked on the command line."""
    asked = _arguments()
    head = report.head("Benchmark", "benchmarks", sys.argv[1:])
    notes = report.Notes()
    with tempfile.TemporaryDirectory(prefix="countermand-bench-") as name:
        wanted = asked.database or STACKS
        needed = {"postgresql" if each == "kafka" else each for each in wanted}
        with places(Path(name), needed, notes.say) as found:
            sections = [
                asyncio.run(_measured(place, Path(name), asked, notes))
                for place in found
                if place.key in wanted
            ]
            sections += _over_kafka(found, Path(name), asked, notes)
        if asked.slow_items:
            sections.append(asyncio.run(slow.section(Path(name), asked.slow_items)))
    report.write(asked.report, [head, WORK, *notes.section(), *sections])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--database",
        action="append",
        choices=STACKS,
        help="kafka: several processes over Kafka and PostgreSQL; may be given more than once",
    )
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=200, help="jobs of one item, for the latency")
    parser.add_argument("--large", type=int, default=1_000_000, help="items; 0 leaves it out")
    parser.add_argument("--slow-items", type=int, default=1000, help="0 leaves it out")
    parser.add_argument("--report", default=str(REPORT), help="file to write; empty for none")
    return parser.parse_args()


def _over_kafka(
    found: list[Place], folder: Path, asked: argparse.Namespace, notes: report.Notes
) -> list[str]:
    """The scaled stack, where it is wanted and what it needs is here."""
    if "kafka" not in (asked.database or STACKS):
        return []
    missing = SERVICES["kafka"].missing
    postgres = [place for place in found if not place.embedded]
    if missing or not postgres:
        notes.say(missing or "the scaled stack is left out: it needs PostgreSQL")
        return []
    return [asyncio.run(over_kafka.section(postgres[0], folder, asked))]


def _contestants(place: Place, notes: report.Notes) -> list[Contestant]:
    queues = embedded_queues(notes.say) if place.embedded else []
    return [*map(script, SCRIPTS), *queues, OURS, OURS_100]


async def _measured(
    place: Place, folder: Path, asked: argparse.Namespace, notes: report.Notes
) -> str:
    contestants = _contestants(place, notes)
    taken = await contest.run(place, folder, asked.items, asked.rounds, contestants, report.say)
    p50, p99 = await contest.latency(place, asked.jobs)
    lines = [
        f"- First progress: {taken.moved(OURS) * 1000:.0f} ms after the 202.",
        f"- A job of one item, POST to its end on SSE: p50 {p50 * 1000:.1f} ms, "
        f"p99 {p99 * 1000:.1f} ms ({asked.jobs} jobs).",
        f"- Chunks of 100 asked for: {taken.ratio(OURS_100, OURS):.2f} of the speed of automatic.",
    ]
    if asked.large and place.embedded:
        small = (await contest.alone(place, folder, asked.items)).peak / (1 << 20)
        large = (await contest.alone(place, folder, asked.large)).peak / (1 << 20)
        lines.append(
            f"- Memory of all processes for {asked.large:,} items: {large:.0f} MiB, "
            f"{large / small:.2f} of that for {asked.items:,} ({small:.0f} MiB)."
        )
    return "\n\n".join([report.table(place, taken, contestants), "\n".join(lines)])


if __name__ == "__main__":
    main()
