"""Following: a job's live events, drawn as a bar, as lines, or as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, Protocol

from countermand_client.sse import ServerEvent
from streams.cli.client import Client
from streams.cli.documents import JobDocument
from streams.cli.output import emit
from streams.cli.render import console, live_view, progress_line, title_of

LINES_EVERY = 5.0
"""Seconds between two lines of a job that only moves on."""


class View(Protocol):
    """Shows a job as it changes."""

    def show(self, job: JobDocument, event: ServerEvent | None, /) -> None:
        """The job as it is now, and the event that told so (None at first and at last)."""
        ...


class JsonView:
    """A line of JSON for each event; the first and the last are the whole job."""

    def show(self, job: JobDocument, event: ServerEvent | None, /) -> None:
        """Repeat what the server said, with the event's name."""
        if event is None:
            emit({"event": "job", **job})
        else:
            emit({**json.loads(event.data), "event": event.name})


class LineView:
    """A line for each change of status, and one now and then in between."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._status = ""
        self._printed = 0.0
        self._line = ""

    def show(self, job: JobDocument, _event: ServerEvent | None, /) -> None:
        """Print, unless the last line is young and says the same status."""
        now, line = self._clock(), progress_line(job)
        due = now - self._printed >= LINES_EVERY or job["status"] != self._status
        if due and line != self._line:
            print(f"{title_of(job)} {line}", flush=True)
            self._status, self._printed, self._line = job["status"], now, line


class BarView:
    """A bar that stays in its place; see :func:`view`."""

    def __init__(self, draw: Callable[[Any], None]) -> None:
        self._draw = draw

    def show(self, job: JobDocument, _event: ServerEvent | None, /) -> None:
        """Draw it anew."""
        self._draw(live_view(job))


@contextmanager
def view(*, as_json: bool) -> Iterator[View]:
    """The view that fits: JSON when asked for, a bar on a terminal, else lines."""
    if as_json:
        yield JsonView()
    elif not sys.stdout.isatty():
        yield LineView()
    else:
        from rich.live import Live

        with Live(console=console(), refresh_per_second=10) as live:
            yield BarView(live.update)


async def watched(client: Client, job: JobDocument, *, as_json: bool) -> JobDocument:
    """The job as it is at its end, shown on the way there."""
    with view(as_json=as_json) as shown:
        return await follow(client, job, shown)


async def follow(client: Client, job: JobDocument, shown: View) -> JobDocument:
    """Show the job until it is at rest; returns it as it is then."""
    shown.show(job, None)
    present = job
    async with aclosing(client.events(job["job_id"], after=job["version"])) as events:
        async for event in events:
            present = merged(present, json.loads(event.data))
            shown.show(present, event)
    last = await client.job(job["job_id"])
    shown.show(last, None)
    return last


def merged(job: JobDocument, news: dict[str, Any]) -> JobDocument:
    """The job with what an event says of it; where it cannot tell the percent, that stays."""
    known = {name: news[name] for name in news if name in job}
    if known.get("percent") is None:
        known.pop("percent", None)
    fresh: JobDocument = {**job, **known}  # type: ignore[typeddict-item]  # names of the job's own
    return fresh
