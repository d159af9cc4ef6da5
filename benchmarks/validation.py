"""Validation in sets beside loops with the same rules: ``python -m benchmarks.validation``."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import contest, material, report
from benchmarks.contestants import Contestant, script_of, warm
from benchmarks.measure import Used
from benchmarks.places import Place, Site, places
from benchmarks.server import Followed, Server, running
from benchmarks.validating import RULES, written

WORK = """\
The work: items whose spans are words of their texts, 1 % of them wrong and 4 % cut short, validated
by all five layers and inserted, the issues of each kept beside its result. The rules: form, text,
label, span and selected text; blank, untrimmed, cut and long spans, low confidence; duplicates and
words with other labels, in the batch and in the store; and two rules of the project, a pattern and
a range. One script has a function for each rule, which asks the database for what it needs (ten
queries an item); one asks for the text, the label, a duplicate and another label (four queries an
item); one has loaded texts, labels and annotations. All keep the same of an item. The ratio is that
to the latter."""

RULES_APART = "script, a query a rule and item, a commit an item"
QUERIES = "script, four queries an item, a commit an item"
QUERIES_100 = "script, four queries an item, a commit every 100"
LOADED = "script, texts and labels loaded once, a commit every 100"
OURS = "Countermand, all layers, chunks automatic"
OURS_100 = "Countermand, all layers, chunks of 100 asked for"


async def ruled(server: Server) -> None:
    """Have a server warm, and give the project its own rules."""
    await warm(server)
    rules = [
        {"project_id": material.PROJECT, "name": f"own_{place}", "definition": definition}
        for place, definition in enumerate(RULES)
    ]
    body: dict[str, Any] = {"operation": "annotations.create_validation_rules", "items": rules}
    await server.submit(body)


async def validated(server: Server, items: Path, **options: int) -> Followed:
    """Have a file of items validated by all layers, and made."""
    params = json.dumps({"project_id": material.PROJECT})
    return await server.stream("annotations.create", items, params=params, **options)


async def _ours(site: Site, items: Path, **options: int) -> Used:
    async with running(site.folder, COUNTERMAND_DATABASE=site.url) as server:
        await ruled(server)
        before = server.taken()
        followed = await validated(server, items, **options)
        used = server.taken() - before
        return Used(followed.ended, used.cpu, used.peak, followed.moved - followed.accepted)


def contestants() -> list[Contestant]:
    """All of them; the second is the one that ratios are taken to."""
    module = "benchmarks.validating"
    return [
        Contestant(RULES_APART, partial(script_of, module, ("rules", "1"))),
        Contestant(LOADED, partial(script_of, module, ("loaded", "100"))),
        Contestant(QUERIES, partial(script_of, module, ("queries", "1"))),
        Contestant(QUERIES_100, partial(script_of, module, ("queries", "100"))),
        Contestant(OURS_100, partial(_ours, chunk_size=100)),
        Contestant(OURS, _ours),
    ]


async def section(place: Place, folder: Path, items: int, rounds: int) -> str:
    """The table of one database."""
    everybody = contestants()
    taken = await contest.run(place, folder, items, rounds, everybody, report.say, written=written)
    slowest, reference, ours = everybody[0], everybody[1], everybody[-1]
    told = (
        f"- {taken.ratio(ours, slowest):.1f} times as fast as the script that asks for each rule "
        f"and item; by CPU alone {taken.cpu(slowest) / taken.cpu(ours):.1f} times."
    )
    return "\n\n".join([report.table(place, taken, everybody, reference), told])


def main() -> None:
    """Measure as asked on the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.validation", description=__doc__)
    parser.add_argument("--database", action="append", choices=("sqlite", "postgresql"))
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--report", default="", help="file to write; empty for none")
    asked = parser.parse_args()
    head = report.head("Validation", "benchmarks.validation", sys.argv[1:])
    notes = report.Notes()
    with tempfile.TemporaryDirectory(prefix="countermand-bench-") as name:
        wanted = asked.database or ("sqlite", "postgresql")
        with places(Path(name), wanted, notes.say) as found:
            sections = [
                asyncio.run(section(place, Path(name), asked.items, asked.rounds))
                for place in found
            ]
    report.write(asked.report, [head, WORK, *notes.section(), *sections])


if __name__ == "__main__":
    main()
