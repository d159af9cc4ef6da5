"""Submitting: a job as the command line says it, sent with the items of a file."""

from __future__ import annotations

from collections.abc import AsyncIterator

from domain.errors import InvalidCommand
from streams.cli.client import Client
from streams.cli.documents import JobDocument
from streams.cli.itemfile import Items, items_of
from streams.cli.job_options import Described
from streams.cli.output import say


async def submitted(
    client: Client, said: Described, file: str | None, key: str, *, draft: bool = False
) -> JobDocument:
    """The new job; its items are those of ``file``, or of another job when there is none.

    Those of a draft are its part 0.
    """
    if file is None:
        return await client.submit_document(said.document(), key=key)
    async with items_of(file) as items:
        if draft:
            return await _drafted(client, said, await _some(items, file), key)
        return await client.submit(said.query(), items, key=key)


async def appended(client: Client, job_id: str, part: int, file: str) -> JobDocument:
    """A draft with the items of a file as one of its parts."""
    async with items_of(file) as items:
        await client.append(job_id, part, await _some(items, file))
    return await client.job(job_id)


async def _drafted(client: Client, said: Described, items: Items, key: str) -> JobDocument:
    opened = await client.submit_document({**said.document(), "draft": True}, key=key)
    job_id = opened["job_id"]
    try:
        await client.append(job_id, 0, items)
    except BaseException:
        say(f"draft {job_id} is open, and may lack its items: countermand append {job_id} --part 0")
        raise
    return await client.job(job_id)


async def _some(items: Items, file: str) -> Items:
    """The items; refused when there is none, before a draft is opened for them."""
    first = await anext(items, b"")
    if not first.strip():
        raise InvalidCommand(f"{file} has no items; a part needs at least one")
    return _behind(first, items)


async def _behind(first: bytes, others: Items) -> AsyncIterator[bytes]:
    yield first
    async for block in others:
        yield block
