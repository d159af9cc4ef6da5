"""procrastinate, whose tasks are rows beside the annotations: two processes, one task at a time.

procrastinate finds tasks by importing a module, so that the settings are read at import here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import islice

from procrastinate import App, PsycopgConnector
from sqlalchemy.engine import make_url

from benchmarks.peers import batch

AT_ONCE = 50
"""So many tasks are inserted by one statement."""

_address = make_url(os.environ[batch.DATABASE]).set(drivername="postgresql")
app = App(
    connector=PsycopgConnector(conninfo=_address.render_as_string(hide_password=False)),
)
work = app.task(batch.work, name="work")


def send(batches: Iterable[tuple[int, Sequence[str]]]) -> None:
    """Put them into the queue, a job each."""
    left = iter(batches)
    with app.open():
        while some := list(islice(left, AT_ONCE)):
            work.batch_defer(*({"first": first, "lines": list(lines)} for first, lines in some))
