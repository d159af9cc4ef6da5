"""Flood: somebody who asks as fast as answers come, over many connections, in another process.

``python -m tests.acceptance.flood URL CREDENTIAL CONNECTIONS`` says ``beyond`` when all that it
asks is refused, goes on until its input ends, and then says how often it was refused a second.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from itertools import cycle

import aiohttp

BODY = {"operation": "stock.open", "items": [{"code": "flood", "amount": 1}]}
ROUTES = (("GET", "/api/v1/jobs", None), ("POST", "/api/v1/jobs", BODY))


async def _ask(session: aiohttp.ClientSession, url: str, seen: Counter[int], first: int) -> None:
    """One connection's worth, without an end."""
    for method, path, body in cycle(ROUTES[first:] + ROUTES[:first]):
        async with session.request(method, url + path, json=body) as response:
            await response.read()
            seen[response.status] += 1


async def _flood(url: str, credential: str, connections: int) -> None:
    headers = {"Authorization": f"Bearer {credential}"}
    connector = aiohttp.TCPConnector(limit=0)
    seen: Counter[int] = Counter()
    async with (
        aiohttp.ClientSession(connector=connector, headers=headers) as session,
        asyncio.TaskGroup() as group,
    ):
        asking = [
            group.create_task(_ask(session, url, seen, number % 2)) for number in range(connections)
        ]
        answered = -1
        while seen.total() - seen[429] != answered or not seen[429]:
            answered = seen.total() - seen[429]
            await asyncio.sleep(1.0)
        print("beyond", flush=True)
        began, before = time.monotonic(), seen[429]
        await asyncio.to_thread(sys.stdin.read)
        refused = (seen[429] - before) / (time.monotonic() - began)
        print(json.dumps({"refused": refused, "seen": dict(seen)}), flush=True)
        for each in asking:
            each.cancel()


if __name__ == "__main__":
    asyncio.run(_flood(sys.argv[1], sys.argv[2], int(sys.argv[3])))
