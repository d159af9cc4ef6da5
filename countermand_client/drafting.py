"""Drafting: a job that says more of itself than an address holds, in three steps as if in one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from countermand_client.bodies import Replay
from countermand_client.errors import REPEATABLE, ClientError, ProblemError
from countermand_client.http import GOODBYE, Http

JOBS = "/api/v1/jobs"
PART = [("part", "0")]
WHY = "it was not submitted to its end"


async def submitted(
    http: Http, document: Mapping[str, Any], body: Replay, key: str, *, for_later: bool
) -> Any:
    """The job: opened as a draft, given its items, and sealed.

    Each step is safe to repeat, and so are all: ``key`` leads to one draft, of which part 0 is
    there once, whatever has become of it since. What cannot be read or is refused leaves no
    draft; what fails in passing leaves one only for whoever has the key ``for_later``.
    """
    await body.whole()
    opened = await http.post(JOBS, key=key, json={**document, "draft": True})
    path, version = f"{JOBS}/{opened['job_id']}", opened["version"]
    try:
        appended = await http.post(f"{path}/items", PART, key=key, lines=body)
        version = appended["version"]
        return await http.post(f"{path}/seal", key=key, json={})
    except (Exception, asyncio.CancelledError) as error:
        if _is_ours(opened) and not (for_later and _passes(error)):
            await _throw_away(http, path, version)
        raise


def _is_ours(opened: Mapping[str, Any]) -> bool:
    """Whether nobody has given it items or begun it: who has, has the same key, and needs it."""
    return (opened["status"], opened["counts"]["total"]) == ("draft", 0)


def _passes(error: BaseException) -> bool:
    """Whether the same may be taken another time."""
    if isinstance(error, ProblemError):
        return error.status in REPEATABLE or error.status >= 500
    return True


async def _throw_away(http: Http, path: str, version: int) -> None:
    """Cancel a draft, if it is still at that version: a seal may have come of which nobody heard.

    Asked one time, and not for long: there is an error to be raised, or somebody wants to leave.
    """
    with suppress(ClientError, RuntimeError, TimeoutError):
        async with asyncio.timeout(GOODBYE):
            only = {"If-Match": f'"{version}"'}
            await http.once(f"{path}/cancel", {"reason": WHY}, headers=only)
