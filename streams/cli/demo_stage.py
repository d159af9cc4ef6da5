"""Demo stage: what the steps of the demo act with: jobs, records, verbs, and a public."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from random import Random
from typing import Any

from domain.errors import CountermandError
from streams.cli.client import Client
from streams.cli.demo_checks import Checks
from streams.cli.demo_records import Records, read_records
from streams.cli.demo_server import Server
from streams.cli.demo_texts import Item
from streams.cli.documents import ErrorGroupDocument, ItemDocument, JobDocument
from streams.cli.exporting import all_items
from streams.cli.following import View, follow
from streams.settings import Settings, load

SEND_ITEMS = 500
"""Items in one block of the upload."""


class StoryEnded(CountermandError):
    """A step failed on which all later ones rest."""

    code = "demo"


@dataclass(frozen=True, kw_only=True)
class Public:
    """What whoever looks on is shown."""

    heading: Callable[[str], None]
    live: Callable[[], AbstractContextManager[View]]
    errors: Callable[[list[ErrorGroupDocument]], None]
    items: Callable[[list[ItemDocument]], None]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A server with a client to it, the claims made so far, and a seeded source of chance."""

    client: Client
    server: Server
    checks: Checks
    public: Public
    chance: Random

    @property
    def settings(self) -> Settings:
        """Those of the server, for what reads its data directory."""
        return load(data_dir=self.server.data_dir, database=f"sqlite:///{self.server.database}")

    async def run(
        self, operation: str, items: Sequence[Item], name: str, *, project: int | None = None
    ) -> JobDocument:
        """Submit one job and follow it to its end."""
        query: list[tuple[str, str | int]] = [("operation", operation), ("name", name)]
        if project is not None:
            query.append(("params", json.dumps({"project_id": project})))
        return await self.watch(await self.client.submit(query, _blocks(items)))

    async def create(
        self, operation: str, items: Sequence[Item], name: str, *, project: int | None = None
    ) -> list[int]:
        """Submit one job whose items must all succeed; returns the ids that it made.

        Raises StoryEnded when they did not: without them there is nothing to go on with.
        """
        job = await self.run(operation, items, name, project=project)
        done = job["counts"]["succeeded"]
        if not self.checks.equal(f"{name}: all items succeeded", done, len(items)):
            raise StoryEnded(f"job {job['job_id']} ({name}) ended {job['status']}")
        return [item["result"]["id"] for item in await self.items(job, "succeeded")]

    async def command(self, job: JobDocument, verb: str, reason: str) -> JobDocument:
        """Ask something of a job and follow it to its end."""
        return await self.watch(await self.client.command(job["job_id"], verb, reason))

    async def watch(self, job: JobDocument) -> JobDocument:
        """Follow a job to its end, for all to see."""
        with self.public.live() as view:
            return await follow(self.client, job, view)

    async def items(self, job: JobDocument, status: str) -> list[ItemDocument]:
        """All items of a job in one status."""
        found = all_items(self.client, job["job_id"], [("status", status)])
        return [item async for item in found]

    async def records(self) -> Records:
        """All records as they are now."""
        return await asyncio.to_thread(read_records, self.server.database)


async def _blocks(items: Sequence[Item]) -> AsyncIterator[bytes]:
    for first in range(0, len(items), SEND_ITEMS):
        lines: list[Any] = [json.dumps(item) for item in items[first : first + SEND_ITEMS]]
        yield ("\n".join(lines) + "\n").encode()
