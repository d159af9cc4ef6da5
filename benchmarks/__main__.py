"""The benchmark: ``make bench``, or ``python -m benchmarks --help``.

Prints a Markdown table and writes it to docs/benchmark.md; asserts nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import contest, slow
from benchmarks.contest import OURS, OURS_100, SCRIPTS, Contest
from benchmarks.measure import median
from benchmarks.places import Place, places

REPORT = Path("docs/benchmark.md")


def main() -> None:
    """Measure as asked on the command line."""
    asked = _arguments()
    with tempfile.TemporaryDirectory(prefix="countermand-bench-") as name:
        with places(Path(name), asked.database) as found:
            sections = [asyncio.run(_measured(place, Path(name), asked)) for place in found]
        sections.append(asyncio.run(slow.section(Path(name), asked.slow_items)))
    report = "\n\n".join([_head(), *sections]) + "\n"
    print(report)
    if asked.report:
        Path(asked.report).write_text(report)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=200, help="jobs of one item, for the latency")
    parser.add_argument("--large", type=int, default=1_000_000, help="items; 0 leaves it out")
    parser.add_argument("--slow-items", type=int, default=1000)
    parser.add_argument("--database", choices=("sqlite", "postgresql", "all"), default="all")
    parser.add_argument("--report", default=str(REPORT), help="file to write; empty for none")
    return parser.parse_args()


async def _measured(place: Place, folder: Path, asked: argparse.Namespace) -> str:
    taken = await contest.run(place, folder, asked.items, asked.rounds, _say)
    p50, p99 = await contest.latency(place, asked.jobs)
    lines = [
        f"## {place.name}",
        f"{place.version}. {asked.items:,} items, median of {asked.rounds} rounds in turn.",
        _table(taken),
        f"- First progress: {median(taken.moved) * 1000:.0f} ms after the 202.",
        f"- A job of one item, POST to its end on SSE: p50 {p50 * 1000:.1f} ms, "
        f"p99 {p99 * 1000:.1f} ms ({asked.jobs} jobs).",
        f"- Chunks of 100 asked for: {taken.ratio(OURS_100, OURS):.2f} of the speed of automatic.",
    ]
    if asked.large and place.name == "SQLite":
        small = await contest.memory(place, folder, asked.items)
        large = await contest.memory(place, folder, asked.large)
        lines.append(
            f"- Memory of all processes for {asked.large:,} items: {large:.0f} MiB, "
            f"{large / small:.2f} of that for {asked.items:,} ({small:.0f} MiB)."
        )
    return "\n\n".join(lines[:3]) + "\n\n" + "\n".join(lines[3:])


def _table(taken: Contest) -> str:
    rows = [
        "| | seconds | items/s | ratio | CPU us an item | peak MiB |",
        "|---|---|---|---|---|---|",
    ]
    for name in (*SCRIPTS.values(), OURS, OURS_100):
        seconds = taken.seconds(name)
        rows.append(
            f"| {name} | {seconds:.2f} | {taken.items / seconds:,.0f} | {taken.ratio(name):.2f} "
            f"| {taken.cpu(name):.1f} | {taken.peak(name):.0f} |"
        )
    return "\n".join(rows)


def _head() -> str:
    return f"""# Benchmark

Made by `python -m benchmarks {" ".join(sys.argv[1:])}` on {datetime.now(UTC):%Y-%m-%d}:
{_processor()}, {os.cpu_count()} cores, {platform.system()},
Python {platform.python_version()}. One run, contestants in turn.

The work: validate each item with pydantic and against texts and labels, insert it into the
`annotations` table of our migrations with its indexes, record a result for it; 1 % of the items
are wrong. Scripts load texts and labels once and read a file; Countermand takes the file as a
streamed POST, keeps it, works it in chunks with history and before-images for an undo, and is timed
to the terminal state on its live stream. The ratio is that to the script that commits every 100:
above 1 is faster. CPU is user + system of all our processes, SQLite included, a database server
not."""


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
