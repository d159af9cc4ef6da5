"""The report of a benchmark as Markdown: head, notes, tables."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.contest import Contest
from benchmarks.contestants import REFERENCE, Contestant
from benchmarks.places import Place


class Notes:
    """What was left out, said at once and in the report again."""

    def __init__(self) -> None:
        self._said: list[str] = []

    def say(self, text: str) -> None:
        """Take a note."""
        say(text)
        self._said.append(f"- {text}.")

    def section(self) -> list[str]:
        """The part of the report; none when nothing was left out."""
        return ["\n".join(self._said)] if self._said else []


def head(title: str, module: str, arguments: Sequence[str]) -> str:
    """What was run where and when; called before anything is measured, for the load it tells."""
    return f"""# {title}

Made by `{shlex.join(["python", "-m", module, *arguments])}` on {datetime.now(UTC):%Y-%m-%d}:
{_processor()}, {os.cpu_count()} cores, {platform.system()},
Python {platform.python_version()}. One run, contestants in turn. The load of the machine before it
began: {os.getloadavg()[0]:.1f}."""


def table(
    place: Place,
    taken: Contest,
    contestants: Sequence[Contestant],
    reference: Contestant = REFERENCE,
) -> str:
    """All contestants on one database; ratios are those to the reference."""
    rounds = len(taken.used[contestants[0].name])
    rows = [
        "| | seconds | items/s | ratio | CPU us an item | peak MiB |",
        "|---|---|---|---|---|---|",
    ]
    for who in contestants:
        seconds, ratio = taken.seconds(who), taken.ratio(who, reference)
        rows.append(
            f"| {who.name} | {seconds:.2f} | {taken.items / seconds:,.0f} | {ratio:.2f} "
            f"| {taken.cpu(who):.1f} | {taken.peak(who):.0f} |"
        )
    told = f"{place.version}. {taken.items:,} items, median of {rounds} rounds in turn."
    return "\n\n".join([f"## {place.name}", told, "\n".join(rows)])


def write(path: str, parts: Sequence[str]) -> None:
    """Print the report and put it into a file, if one is named."""
    text = "\n\n".join(parts) + "\n"
    print(text)
    if path:
        Path(path).write_text(text)


def say(text: str) -> None:
    """How far it is, for whoever waits."""
    print(text, file=sys.stderr, flush=True)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
