"""The report: what was proven where, when and how, as Markdown."""

from __future__ import annotations

import os
import platform
import re
import shlex
import sqlite3
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType

import psutil

from tests.proof.running import CHECKOUT, Outcome

_LIBRARIES = ("faust-streaming", "eventsourcing", "SQLAlchemy", "aiohttp", "hypothesis")

_HASH = re.compile(r"`([0-9a-f]{9})[0-9a-f]*`")

_WITHOUT_RESULTS = (".", ":(exclude)docs/proof", ":(exclude)docs/proof.md")


@dataclass(frozen=True, slots=True)
class Setting:
    """Where, when and on what the proofs have run."""

    command: str
    date: str
    commit: str
    machine: str
    versions: str


NOWHERE: Mapping[str, Setting] = MappingProxyType({})


def setting(command: str) -> Setting:
    """The present one."""
    return Setting(
        command=command,
        date=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        commit=_commit(),
        machine=_machine(),
        versions=", ".join(
            [
                f"Python {platform.python_version()}",
                f"SQLite {sqlite3.sqlite_version}",
                *[f"{name} {version(name)}" for name in _LIBRARIES],
            ]
        ),
    )


def written(
    outcomes: Sequence[Outcome],
    where: Setting,
    *,
    planned: int,
    sample: bool,
    ran: Mapping[str, Setting] = NOWHERE,
) -> str:
    """The whole report; ``planned`` is how many proofs were to be run.

    ``ran`` says where each was run, by name, when they were run apart and are joined here.
    """
    lines = [
        "# Proof",
        "",
        "Written by a program; do not edit. "
        + ("Quick seeded samples only." if sample else "The full figures."),
        "",
        " ".join([_verdict(outcomes, planned), *_older(ran)]),
        "",
        f"- Command: `{where.command}`",
        f"- Date: {where.date}",
        *(_JOINED if ran else _place(where)),
        "",
        *_heading("Proof", "What", "Result", "Tests", "Seconds", *(("Run", "At") if ran else ())),
        *[_row(outcome, ran.get(outcome.proof.name)) for outcome in outcomes],
    ]
    for outcome in outcomes:
        lines += ["", *_details(outcome, ran.get(outcome.proof.name))]
    return "\n".join(lines) + "\n"


_JOINED = ("- Commit, machine and versions: those of each proof stand with it",)


def _place(where: Setting) -> list[str]:
    return [
        f"- Commit: {where.commit}",
        f"- Machine: {where.machine}",
        f"- Versions: {where.versions}",
    ]


def _verdict(outcomes: Sequence[Outcome], planned: int) -> str:
    failed = sum(not outcome.held for outcome in outcomes)
    if failed:
        return f"**{failed} of {len(outcomes)} proofs failed.**"
    if len(outcomes) < planned:
        return f"**Stopped**: {len(outcomes)} of {planned} proofs have run, and they hold."
    return f"All {planned} proofs hold."


def _older(ran: Mapping[str, Setting]) -> list[str]:
    """How many of the records that are joined are of another commit than the newest one."""
    if not ran:
        return []
    newest = max(ran.values(), key=lambda where: where.date)
    older = sum(where.commit != newest.commit for where in ran.values())
    return [f"Run at other commits than the newest one, {newest.commit}: {older}."]


def _heading(*columns: str) -> tuple[str, str]:
    return f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"


def _row(outcome: Outcome, ran: Setting | None) -> str:
    result = "holds" if outcome.held else f"**FAILED**: {outcome.fault}"
    tests = str(outcome.tests) if outcome.tests else ""
    return (
        f"| {outcome.proof.name} | {_cell(outcome.proof.claim)} | {_cell(result)} "
        f"| {tests} | {outcome.seconds:.0f} |"
        + (f" {ran.date} | {_short(ran.commit)} |" if ran else "")
    )


def _short(commit: str) -> str:
    """The first digits of a commit's hash, and whatever is said beside it."""
    return _HASH.sub(r"`\1`", commit)


def _details(outcome: Outcome, ran: Setting | None) -> list[str]:
    lines = [f"## {outcome.proof.name}", "", f"`{_said(outcome.command)}`"]
    if ran is not None:
        lines += ["", f"{ran.date}, at {ran.commit}, by `{ran.command}`."]
        lines += ["", f"{ran.machine}; {ran.versions}."]
    if outcome.figures:
        lines += ["", "| Figure | Value | N, seed and the like |", "|---|---|---|"]
    for figure in outcome.figures:
        lines.append(f"| {_cell(figure.name)} | {_cell(figure.value)} | {_cell(figure.terms)} |")
    lines += [line for said in outcome.said for line in ("", said)]
    if not outcome.held:
        fence = "~~~~"
        lines += ["", f"FAILED: {outcome.fault}. The end of its output:", ""]
        lines += [fence + "text", outcome.output.replace(fence, "~~~ ~"), fence]
    return lines


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _said(command: Sequence[str]) -> str:
    """As a reader would type it, whatever the interpreter's path was here."""
    return shlex.join(["python", *command[1:]])


def _commit() -> str:
    head = _git("rev-parse", "HEAD")
    if not head:
        return "unknown: no git checkout"
    # What a proof came to is written among the files, before the next one runs.
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", *_WITHOUT_RESULTS)
    return f"`{head}`" + (" with changes that are not committed" if changed else "")


def _git(*arguments: str) -> str:
    try:
        ended = subprocess.run(
            ["git", *arguments],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return ended.stdout.strip()


def _machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    usable = len(os.sched_getaffinity(0))
    return (
        f"{_processor()}, {usable} cores, {memory:.0f} GiB of memory, "
        f"{platform.system()} {platform.release()}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()
