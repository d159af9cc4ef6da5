"""``python -m benchmarks.against COMMIT``: CPU an item of this engine, beside an earlier one.

Both engines work the same file in turn, each on a data directory of its own, with the packages that
are installed here. CPU is counted, of all processes, so that a busy machine disturbs it little.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from benchmarks.measure import median
from benchmarks.server import CHECKOUT, running

ITEMS = 200_000
ROUNDS = 5
OPERATION = "things.create"
PLUGIN = "things"
MOST = 1.10

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Beside:
    """CPU of an item in microseconds, by round, of an earlier engine and of this one."""

    earlier: list[float]
    now: list[float]

    @property
    def ratio(self) -> float:
        """The median of the ratios of rounds run side by side."""
        pairs = zip(self.now, self.earlier, strict=True)
        return median(now / earlier for now, earlier in pairs)

    def __str__(self) -> str:
        earlier, now = median(self.earlier), median(self.now)
        return f"{now:.1f} us of CPU an item, {earlier:.1f} before: {self.ratio:.2f}"


def checked_out(commit: str, folder: Path) -> Path:
    """The files of a commit; raises RuntimeError where the history does not reach so far."""
    done = subprocess.run(
        ["git", "archive", commit], cwd=CHECKOUT, capture_output=True, check=False
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise RuntimeError(f"there is no commit {commit} here; fetch the whole history: {said}")
    # Python before 3.11.4 knows no filter; what git has packed of our own needs none.
    filtered: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(folder, **filtered)
    return folder


async def compare(commit: str, items: int, rounds: int, say: Say) -> Beside:
    """Both engines in turn; who is first in a round is second in the next one."""
    found = Beside([], [])
    with tempfile.TemporaryDirectory(prefix="countermand-against-") as folder:
        place = Path(folder)
        earlier = checked_out(commit, place / "earlier")
        site = _plugin(place / "site")
        path = place / "items.ndjson"
        path.write_text("".join(f"{json.dumps({'name': f'thing {n}'})}\n" for n in range(items)))
        for number in range(rounds):
            both = [(earlier, found.earlier), (CHECKOUT, found.now)]
            for checkout, taken in both if number % 2 else reversed(both):
                with tempfile.TemporaryDirectory(dir=folder) as data:
                    taken.append(await _cpu([checkout, site], Path(data), path, items))
            say(f"round {number + 1} of {rounds}: {found}")
    return found


def _plugin(site: Path) -> Path:
    """The operation as a distribution of its own, for the path of either engine."""
    information = site / f"{PLUGIN}-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PLUGIN}\nVersion: 1.0\n")
    offers = f"[countermand.operations]\n{PLUGIN} = {PLUGIN}:operations\n"
    (information / "entry_points.txt").write_text(offers)
    shutil.copy(CHECKOUT / "benchmarks" / f"{PLUGIN}.py", site)
    return site


async def _cpu(engine: Sequence[Path], data: Path, path: Path, items: int) -> float:
    async with running(data, PYTHONPATH=os.pathsep.join(map(str, engine))) as server:
        await server.submit({"operation": OPERATION, "items": [{"name": "warm"}]})
        before = server.taken()
        followed = await server.stream(OPERATION, path)
        used = server.taken() - before
    if followed.counts["succeeded"] != items:
        raise RuntimeError(f"{engine[0]}: {followed.counts}, and not {items} succeeded")
    return used.cpu / items * 1e6


def main() -> int:
    """Print each round; 1 when an item costs more than a tenth more."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against", description=__doc__)
    parser.add_argument("commit", help="what to compare with")
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    found = asyncio.run(compare(asked.commit, asked.items, asked.rounds, print))
    print(found)
    return int(found.ratio > MOST)


if __name__ == "__main__":
    sys.exit(main())
