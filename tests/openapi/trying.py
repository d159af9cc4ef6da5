"""Trying: schemathesis over the whole document, as a process of its own against a live server."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
COMMAND = Path(sys.executable).with_name("schemathesis")
DOCUMENT = "/api/v1/openapi.json"


@dataclass(frozen=True, slots=True)
class Trial:
    """What it came to: its exit code, all that it printed, and how often each status came."""

    code: int
    output: str
    statuses: Counter[int]

    @property
    def failures(self) -> str:
        """What it has to say of each failure."""
        return self.output.partition("= FAILURES =")[2] or self.output

    @property
    def cases(self) -> int:
        """How many requests were made."""
        return self.statuses.total()


async def trial(url: str, token: str, folder: Path, *options: str) -> Trial:
    """One run; ``folder`` is for what it leaves."""
    record = folder / "events.ndjson"
    process = await asyncio.create_subprocess_exec(
        str(COMMAND),
        f"--config-file={HERE / 'schemathesis.toml'}",
        "run",
        url + DOCUMENT,
        "--header",
        f"Authorization: Bearer {token}",
        "--checks",
        "all",
        "--continue-on-failure",
        "--request-timeout",
        "30",
        "--generation-database",
        "none",
        "--no-color",
        "--warnings",
        "off",
        "--report-ndjson-path",
        str(record),
        *options,
        cwd=folder,
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "tests.openapi.hooks",
            "PYTHONPATH": str(CHECKOUT),
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return Trial(process.returncode or 0, output.decode(errors="replace"), statuses(record))


def statuses(record: Path) -> Counter[int]:
    """How often each status was answered, as its own record says."""
    counted: Counter[int] = Counter()
    with record.open() as lines:
        for line in lines:
            _count(json.loads(line), counted)
    return counted


def _count(value: object, counted: Counter[int]) -> None:
    if isinstance(value, dict):
        status = value.get("status_code")
        if isinstance(status, int):
            counted[status] += 1
        for each in value.values():
            _count(each, counted)
    elif isinstance(value, list):
        for each in value:
            _count(each, counted)
