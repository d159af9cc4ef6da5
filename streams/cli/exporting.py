"""Exporting: items and events written out as they come, whatever their number."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, BinaryIO

from streams.cli.client import Client, Query, checked_id
from streams.cli.documents import ItemDocument
from streams.cli.output import emit
from streams.cli.render import event_line

NDJSON = "application/x-ndjson"
MEDIA_TYPES = {"ndjson": NDJSON, "items": NDJSON, "csv": "text/csv"}
EVENTS_PAGE = 200


def item_filters(
    statuses: Sequence[str] | None, code: str | None, record: str | None, key: str | None = None
) -> list[tuple[str, str | int]]:
    """The parameters that choose items of a job; an empty key is one that items may have."""
    query: list[tuple[str, str | int]] = [("status", status) for status in statuses or ()]
    single = {"code": code, "record": record, "key": key}
    return query + [(name, text) for name, text in single.items() if text is not None]


async def export(client: Client, job_id: str, query: Query, form: str, out: BinaryIO) -> None:
    """Write the items of a job as ``ndjson``, ``csv``, or ``items`` as they were sent."""
    async for line in client.lines(job_id, query, MEDIA_TYPES[form]):
        out.write(line)


async def export_diff(client: Client, job_id: str, other: str, query: Query, out: BinaryIO) -> None:
    """Write the items that differ between two runs as NDJSON."""
    async for line in client.lines(job_id, query, NDJSON, f"diff/{checked_id(other)}"):
        out.write(line)


async def first_differences(
    client: Client, job_id: str, other: str, query: Query, limit: int
) -> list[dict[str, Any]]:
    """The first items that differ between two runs."""
    some = [*query, ("limit", limit)]
    lines = client.lines(job_id, some, NDJSON, f"diff/{checked_id(other)}")
    return [json.loads(line) async for line in lines]


async def first_items(client: Client, job_id: str, query: Query, limit: int) -> list[ItemDocument]:
    """The first items of a job."""
    return [item async for item in all_items(client, job_id, [*query, ("limit", limit)])]


async def all_items(client: Client, job_id: str, query: Query = ()) -> AsyncIterator[ItemDocument]:
    """The items of a job, as they come."""
    async for line in client.lines(job_id, query, NDJSON):
        yield json.loads(line)


async def print_events(
    client: Client, job_id: str, after: int, *, follow: bool, as_json: bool
) -> None:
    """Print stored events: those there are, or with ``follow`` to the job's end."""
    source = _live(client, job_id, after) if follow else _pages(client, job_id, after)
    async with aclosing(source) as events:
        async for event in events:
            if as_json:
                emit(event)
            else:
                print(event_line(event), flush=follow)


async def _live(client: Client, job_id: str, after: int) -> AsyncGenerator[dict[str, Any], None]:
    async with aclosing(client.events(job_id, after=after)) as events:
        async for event in events:
            # Progress between two stored events has no id and is no part of the record.
            if event.id:
                yield {**json.loads(event.data), "event": event.name}


async def _pages(client: Client, job_id: str, after: int) -> AsyncGenerator[dict[str, Any], None]:
    last = after
    while True:
        page = await client.get(
            f"/api/v1/jobs/{job_id}/events", [("after", last), ("limit", EVENTS_PAGE)]
        )
        for event in page["items"]:
            last = event["version"]
            yield event
        if len(page["items"]) < EVENTS_PAGE:
            return
