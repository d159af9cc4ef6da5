"""A real server with operations that misbehave, and what every bad-input test asks of it."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

from tests.acceptance.embedded import Server, serving
from tests.acceptance.stack import Stack
from tests.crash.client import JOBS, Answer, Client, Document
from tests.nursery import CHECKOUT

NDJSON = "application/x-ndjson"
COUNTERS = 12

S = TypeVar("S", bound=Stack)


@dataclass
class Site(Generic[S]):
    """A running server, spoken to over HTTP; ``counters`` are the ids of those that were made."""

    server: S
    counters: list[int] = field(default_factory=list)
    client: Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = Client(self.server.url)

    @property
    def log(self) -> str:
        """All that its processes have said."""
        return self.server.log

    def connect(self) -> http.client.HTTPConnection:
        """A connection of one's own."""
        parts = urlsplit(self.server.url)
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)

    def post(
        self, path: str, body: Any, *, key: str | None = None, kind: str = "application/json"
    ) -> Answer:
        """One request; bytes go out as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": kind, **({"Idempotency-Key": key} if key else {})}
        return self.client.once("POST", path, content, headers)

    def accepted(self, operation: str, items: list[Any], **fields: Any) -> str:
        """A job that is taken at the first try."""
        answer = self.post(JOBS, {"operation": operation, "items": items, **fields})
        assert answer.status == 202, answer
        return str(answer.document["job_id"])

    def settled(self, operation: str, items: list[Any], **fields: Any) -> Document:
        """The same job once it has come to rest."""
        return self.client.settle(self.accepted(operation, items, **fields))

    def jobs(self) -> list[str]:
        """The ids of all jobs."""
        return [job["job_id"] for job in self.client.ask("GET", f"{JOBS}?limit=200")["items"]]


@contextmanager
def site(data_dir: Path, plugin: Path, **variables: str) -> Iterator[Site[Server]]:
    """A server of its own on a data directory, with the crash plug-in; shows no traceback."""
    path = os.pathsep.join(map(str, (CHECKOUT, plugin)))
    with serving(data_dir, PYTHONPATH=path, **variables) as server:
        yield Site(server)
    assert ("Traceback" in server.log, '"uncaught"' in server.log) == (False, False)


def seed(running: Site[S]) -> None:
    """Make the counters."""
    items = [{"mark": f"seed-{number}"} for number in range(COUNTERS)]
    job = running.settled("crash.create", items)
    assert job["status"] == "completed"
    made = running.client.items(job["job_id"])
    running.counters = [item["result"]["id"] for item in made]


def problem(answer: Answer, status: int, code: str, pointer: str = "") -> str:
    """The detail of a problem that is as expected and shows nothing of our insides."""
    found = (answer.status, answer.code, (answer.document or {}).get("pointer", ""))
    assert found == (status, code, pointer), answer.body
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert b"Traceback" not in answer.body
    assert b'File "' not in answer.body
    return str(answer.document["detail"])


def additions(counters: Sequence[int], faults: dict[int, str]) -> list[Document]:
    """One more on each of some counters, with faults at some positions."""
    return [
        {"mark": f"item-{n}", "counter": counter, "fault": faults.get(n, "")}
        for n, counter in enumerate(counters)
    ]
