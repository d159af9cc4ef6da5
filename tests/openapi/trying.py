"""Trying: schemathesis over the whole document, as a process of its own against a live server."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api import sse
from tests.api.contract import operations

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
COMMAND = Path(sys.executable).with_name("schemathesis")
DOCUMENT = "/api/v1/openapi.json"
ON_CONDITION = ("304", "412", "426")
"""Statuses that a good request gets where the document says so, and nowhere else."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What it came to: its exit code, all that it printed, and how often each status came."""

    code: int
    output: str
    statuses: Counter[int]
    streams: int
    """How many of the answers were live streams."""

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
    record, terms = folder / "events.ndjson", folder / "schemathesis.toml"
    terms.write_text(configuration())
    process = await asyncio.create_subprocess_exec(
        str(COMMAND),
        f"--config-file={terms}",
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
    found = [(answer["status_code"], _is_live(answer)) for answer in answers(record)]
    return Trial(
        process.returncode or 0,
        output.decode(errors="replace"),
        Counter(status for status, _ in found),
        sum(is_live for _, is_live in found),
    )


def configuration() -> str:
    """What schemathesis is to expect: what holds for all, then for each operation what it says."""
    common = (HERE / "schemathesis.toml").read_text()
    everywhere = tomllib.loads(common)["checks"]["positive_data_acceptance"]["expected-statuses"]
    parts = [common]
    for _, _, operation in operations():
        parts.extend(_of_operation(operation, everywhere))
    return "\n".join(parts)


def _of_operation(operation: Mapping[str, Any], everywhere: list[str]) -> Iterator[str]:
    besides = [status for status in ON_CONDITION if status in operation["responses"]]
    if besides:
        yield f"[[operations]]\ninclude-operation-id = {json.dumps(operation['operationId'])}"
        yield "[operations.checks.positive_data_acceptance]"
        yield f"expected-statuses = {json.dumps([*everywhere, *besides])}"


def answers(record: Path) -> Iterator[Mapping[str, Any]]:
    """Every answer that its own record has."""
    with record.open() as lines:
        for line in lines:
            yield from _answers(json.loads(line))


def _answers(value: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, dict):
        if isinstance(value.get("status_code"), int):
            yield value
        for each in value.values():
            yield from _answers(each)
    elif isinstance(value, list):
        for each in value:
            yield from _answers(each)


def _is_live(answer: Mapping[str, Any]) -> bool:
    return answer["status_code"] == 200 and sse.MEDIA_TYPE in json.dumps(answer.get("headers"))
