"""One task of a peer: a batch of items, judged, inserted and given results in one commit."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache

from benchmarks import scripts
from benchmarks.material import Rules
from benchmarks.scripts import Store

DATABASE = "PEER_DATABASE"
"""Environment of a peer's processes: where the items go."""
BROKER = "PEER_BROKER"
"""Where the tasks wait: a URL, or a file."""
BULK = "PEER_BULK"
"""Set: one statement a table for the whole batch, instead of one an item."""


def work(first: int, lines: Sequence[str]) -> None:
    """What the script does that commits every ``len(lines)`` items, from item ``first`` on."""
    store, rules = _opened()
    made = scripts.judged(rules, lines, first)
    if os.environ.get(BULK):
        scripts.insert_all(store, list(made))
    else:
        for row, result in made:
            scripts.insert(store, row, result)
    store.commit()


@cache
def _opened() -> tuple[Store, Rules]:
    """The connection of this process, and texts and labels, loaded once."""
    store = scripts.connect(os.environ[DATABASE])
    rules = scripts.load_rules(store)
    store.commit()
    return store, rules
