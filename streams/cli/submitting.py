"""Submitting: a job as the command line says it, sent with the items of a file."""

from __future__ import annotations

import asyncio

from domain.errors import CountermandError, InvalidCommand
from streams.cli.client import Client
from streams.cli.documents import JobDocument
from streams.cli.exits import is_for_later
from streams.cli.itemfile import Items, items_of
from streams.cli.job_options import Described
from streams.cli.output import say
from streams.cli.repeating import by_key, key_or_new

DRAFT = "draft"


async def submitted(
    client: Client, said: Described, file: str | None, key: str, *, draft: bool = False
) -> JobDocument:
    """The new job; its items are those of ``file``, or of another job when there is none.

    Those of a draft are its part 0. A job of which more is said than an address may hold is a
    draft as well, which is sealed at once.
    """
    if file is None:
        return await client.submit_document(said.document(), key=key)
    known = key_or_new(key)
    async with items_of(file) as items:
        if draft:
            return await _drafted(client, said, items, known)
        if not said.fits_a_query():
            return await _in_steps(client, said, items, known)
        query = said.query()
        return await client.repeated(
            lambda: client.submit(query, items, key=known), by_key(known), can=items.again
        )


async def appended(client: Client, job_id: str, part: int, file: str) -> JobDocument:
    """A draft with the items of a file as one of its parts."""
    how = f"repeat it: part {part} is there once, however often it is sent"
    async with items_of(file) as items:
        _require_some(items)
        await _append(client, job_id, part, items, how)
    return await client.job(job_id)


async def _drafted(client: Client, said: Described, items: Items, key: str) -> JobDocument:
    opened = await _opened(client, said, items, key)
    job_id = opened["job_id"]
    try:
        await _append(client, job_id, 0, items, by_key(key))
    except BaseException:
        say(f"draft {job_id} is open, and may lack its items: countermand append {job_id} --part 0")
        raise
    return await client.job(job_id)


async def _in_steps(client: Client, said: Described, items: Items, key: str) -> JobDocument:
    """A draft, its items and the seal; each is there once, however often it is asked for."""
    opened = await _opened(client, said, items, key)
    job_id, version = opened["job_id"], opened["version"]
    anew = f"draft {job_id} is given up; submit it anew, with another key"
    how = anew if opened["status"] == DRAFT else by_key(key)
    try:
        version = await _append(client, job_id, 0, items, how)
        return await client.seal(job_id, key=key)
    except CountermandError as error:
        if is_for_later(error):
            say(f"draft {job_id} is open; to give it up: countermand cancel {job_id}")
            error.__notes__ = [by_key(key)]
        elif opened["status"] == DRAFT:
            await _given_up(client, job_id, version)
        else:
            error.add_note(f"--key {key} has job {job_id}; take another key for another job")
        raise
    except asyncio.CancelledError:
        if opened["status"] == DRAFT:
            await _given_up(client, job_id, version)
        raise


async def _opened(client: Client, said: Described, items: Items, key: str) -> JobDocument:
    """A draft; refused for no items, before one is opened for them."""
    _require_some(items)
    return await client.submit_document({**said.document(), "draft": True}, key=key)


async def _append(client: Client, job_id: str, part: int, items: Items, how: str) -> int:
    return await client.repeated(lambda: client.append(job_id, part, items), how, can=items.again)


async def _given_up(client: Client, job_id: str, version: int) -> None:
    """Cancel a draft, unless it has gone on since: somebody else has the same key."""
    try:
        await client.command(job_id, "cancel", "its submit did not go well", if_version=version)
    except CountermandError as error:
        if is_for_later(error):
            say(f"draft {job_id} may still be open: countermand cancel {job_id}")


def _require_some(items: Items) -> None:
    if not items.first.strip():
        raise InvalidCommand(f"{items.name} has no items; a part needs at least one")
