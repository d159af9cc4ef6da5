"""Demo run: sets the stage, tells the story, and sums up."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from countermand_client.sse import ServerEvent
from domain.errors import CountermandError
from streams.cli.client import Client
from streams.cli.demo_checks import Check, Checks
from streams.cli.demo_server import running
from streams.cli.demo_stage import Public, Stage
from streams.cli.demo_story import tell
from streams.cli.demo_texts import python_topics, read_texts
from streams.cli.documents import JobDocument
from streams.cli.following import View, view
from streams.cli.output import plain, say
from streams.cli.render import console, error_table, item_table

FIGURES = re.compile(r"[\w,]+")
"""What is worth showing beside a claim that held: a number, a status, a hash."""
FIGURE = 16
"""Characters of it; a hash is long."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the demo ended; ``kept`` is the data directory where it was not removed."""

    checks: Checks
    seconds: float
    kept: Path | None

    @property
    def held(self) -> bool:
        """Whether every claim held."""
        return self.checks.all_held

    def document(self) -> dict[str, Any]:
        """The outcome as JSON."""
        return {
            "held": self.held,
            "seconds": round(self.seconds, 2),
            "checks": self.checks.documents(),
            "data_dir": None if self.kept is None else str(self.kept),
        }


def run(files: Sequence[Path], *, seed: int, keep: bool, as_json: bool) -> Outcome:
    """The whole demo; raises InvalidCommand for files that cannot be read as texts."""
    texts = read_texts(files) if files else python_topics()
    page = None if as_json else console()
    started = time.monotonic()
    data_dir = Path(tempfile.mkdtemp(prefix="countermand-demo-"))
    checks = Checks(_teller(page))
    keeping = keep
    try:
        asyncio.run(_perform(checks, public(page), texts, data_dir, seed))
        keeping = keep or not checks.all_held
    except asyncio.CancelledError:
        raise SystemExit(128 + signal.SIGTERM) from None
    finally:
        if not keeping:
            shutil.rmtree(data_dir, ignore_errors=True)
    outcome = Outcome(checks, time.monotonic() - started, data_dir if keeping else None)
    if page is not None:
        _sum_up(page, outcome)
    return outcome


async def _perform(
    checks: Checks, public: Public, texts: dict[str, str], data_dir: Path, seed: int
) -> None:
    this = asyncio.current_task()
    if this is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    try:
        async with running(data_dir) as server, Client(server.url) as client:
            stage = Stage(
                client=client,
                server=server,
                checks=checks,
                public=public,
                chance=Random(seed),  # noqa: S311 - repeatable, not secret
            )
            await tell(stage, texts)
        checks.equal("the server drained and ended well", server.exit_code, 0)
    except (CountermandError, TimeoutError) as error:
        checks.holds("the demo came to its end", held=False, found=str(error) or repr(error))


def public(page: Console | None) -> Public:
    """Those who look on: at a page, or (None) only at headings on standard error."""
    if page is None:
        return Public(heading=say, live=_silent, errors=_unseen, items=_unseen)
    return Public(
        heading=lambda title: page.print(Text(f"\n{title}", style="bold")),
        live=lambda: view(as_json=False),
        errors=lambda groups: page.print(error_table(groups)),
        items=lambda items: page.print(item_table(items)),
    )


class _Silent:
    def show(self, _job: JobDocument, _event: ServerEvent | None, /) -> None:
        """Show nothing: the outcome is one JSON document."""


@contextmanager
def _silent() -> Iterator[View]:
    yield _Silent()


def _unseen(_documents: Sequence[Any]) -> None:
    """What only people look at."""


def _teller(page: Console | None) -> Callable[[Check], None]:
    if page is None:
        return lambda check: None if check.held else say(_sentence(check))
    return lambda check: page.print(
        Text(_sentence(check), style="green" if check.held else "bold red")
    )


def _sentence(check: Check) -> str:
    if check.held:
        figure = f": {check.found[:FIGURE]}" if FIGURES.fullmatch(check.found) else ""
        return plain(f"  \N{CHECK MARK} {check.claim}{figure}")
    return plain(f"  \N{BALLOT X} {check.claim}: found {check.found}, expected {check.expected}")


def _sum_up(page: Console, outcome: Outcome) -> None:
    made = outcome.checks.made
    held = sum(check.held for check in made)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="Summary", title_justify="left")
    for name in ("claims", "held", "seconds"):
        table.add_column(name, justify="right")
    table.add_row(str(len(made)), str(held), f"{outcome.seconds:.1f}")
    page.print(table)
    for check in made:
        if not check.held:
            page.print(Text(_sentence(check), style="bold red"))
