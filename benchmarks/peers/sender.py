"""Sends the batches of a file through a peer's queue and waits until the last one is done.

``python -m benchmarks.peers.sender MODULE ITEMS SIZE PID...``; the process ids are those of
the workers. Prints what sender and workers took as JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path
from typing import Protocol, cast

from benchmarks import material, measure, scripts
from benchmarks.peers import batch
from benchmarks.scripts import Store

Batch = tuple[int, list[str]]
WARM = 20
"""Batches of one wrong item, for workers that have compiled and connected nothing yet."""
POLL_SECONDS = 0.01
LOOK_AT = 50
"""How many batches are asked after at a time: queues keep their order, more or less."""
PATIENCE = 120.0
"""Seconds without any batch done, after which something is wrong."""


class Peer(Protocol):
    """What the module of a peer offers to this one."""

    def send(self, batches: Iterable[Batch]) -> None: ...


def batches(items: Path, size: int) -> Iterator[Batch]:
    """The items of a file in batches, each with the position of its first one."""
    lines = (line.decode() for line in material.lines(items))
    first = 0
    while some := list(islice(lines, size)):
        yield first, some
        first += len(some)


def await_results(store: Store, positions: Sequence[int]) -> None:
    """Until there are results for all these items.

    A batch is one commit, so that its last item tells of all.
    """
    waiting = sorted(positions)
    moved = time.monotonic()
    while waiting:
        asked = ", ".join(map(str, waiting[:LOOK_AT]))
        rows = store.read(f"SELECT position FROM results WHERE position IN ({asked})")
        store.commit()
        if rows:
            found = {position for (position,) in rows}
            waiting = [position for position in waiting if position not in found]
            moved = time.monotonic()
        elif time.monotonic() - moved > PATIENCE:
            sys.exit(f"no batch was done in {PATIENCE:.0f} s; {len(waiting)} are missing")
        else:
            time.sleep(POLL_SECONDS)


def main(module: str, items: str, size: str, *pids: str) -> None:
    """Run one peer; see the module's docstring."""
    peer = cast(Peer, importlib.import_module(f"benchmarks.peers.{module}"))
    with closing(scripts.connect(os.environ[batch.DATABASE])) as store:
        warm = range(-WARM, 0)
        peer.send((position, ["{}"]) for position in warm)
        await_results(store, warm)
        workers = list(chain.from_iterable(measure.family(int(pid)) for pid in pids))
        before = measure.take([os.getpid(), *workers])
        lasts: list[int] = []
        peer.send(_noted(batches(Path(items), int(size)), lasts))
        await_results(store, lasts)
        print(json.dumps(asdict(measure.take([os.getpid(), *workers]) - before)))


def _noted(made: Iterable[Batch], lasts: list[int]) -> Iterator[Batch]:
    for first, lines in made:
        lasts.append(first + len(lines) - 1)
        yield first, lines


if __name__ == "__main__":
    main(*sys.argv[1:])
