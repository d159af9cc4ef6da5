"""Audience: many readers of live streams in a process of their own, and some who read nothing.

``python -m tests.acceptance.audience URL JOB TAG READERS DEAF`` says ``ready`` when all are
connected, and at the end a JSON document: how late each event came to each reader, in seconds.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

DRAFTED = b"event: job.items_appended\n"
END = b"event: job.finished\n"
PATIENCE = 120.0
AGAIN = 11.0
"""Who reads nothing is cut after ten seconds, and comes back."""

_EVENT = re.compile(rb"event: (job\.\w+)\nid: (\d+)\ndata: .*?\"at\":\"([^\"]+)\"")


@dataclass
class Reader(asyncio.Protocol):
    """Keeps what comes, and when; it is looked at afterwards.

    ``opened`` is when it has all that was there before the job is begun.
    """

    request: bytes
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    blocks: list[tuple[float, bytes]] = field(default_factory=list)
    edge: bytes = b""
    """The last block, with the end of the one before."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.blocks.append((time.time(), data))
        self.edge = self.edge[-len(DRAFTED) :] + data
        if DRAFTED in self.edge:
            self.opened.set()
        if END in self.edge:
            self.over.set()
            self.transport.abort()

    def late(self, job_id: str) -> dict[int, tuple[float, float]]:
        """By the event's id, when it happened, and how late it came whole."""
        found: dict[int, tuple[float, float]] = {}
        text, ends = b"", []
        for at, data in self.blocks:
            text += data
            ends.append((len(text), at))
        for match in _EVENT.finditer(text):
            if job_id.encode() not in match[0]:
                continue
            came = next(at for end, at in ends if end >= match.end())
            at = datetime.fromisoformat(match[3].decode()).timestamp()
            found[int(match[2])] = at, came - at
        return found


def _asked(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode()


async def _deaf(address: tuple[str, int], path: str) -> None:
    """Asks for all that ever was, reads nothing, is cut, comes back for what happens then."""
    asked = "/api/v1/events?last_event_id=0"
    while True:
        with socket.socket() as there:
            there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            there.setblocking(False)
            await asyncio.get_running_loop().sock_connect(there, address)
            there.sendall(_asked(asked))
            await asyncio.sleep(AGAIN)
        asked = path


async def watch(url: str, job_id: str, tag: str, readers: int, deaf: int) -> dict[str, object]:
    """Half of them follow the job, half all jobs with the tag."""
    parts = urlsplit(url)
    address = (parts.hostname or "", parts.port or 80)
    paths = (f"/api/v1/jobs/{job_id}/events", f"/api/v1/events?tag={tag}&last_event_id=0")
    now = f"/api/v1/events?tag={tag}"
    silent = [asyncio.ensure_future(_deaf(address, now)) for _ in range(deaf)]
    found = [Reader(_asked(paths[number % 2])) for number in range(readers)]
    for reader in found:
        await asyncio.get_running_loop().create_connection(lambda r=reader: r, *address)
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(reader.opened.wait() for reader in found))
        ready = time.time()
        print("ready", flush=True)
        await asyncio.gather(*(reader.over.wait() for reader in found))
    for task in silent:
        task.cancel()
    seen = [reader.late(job_id) for reader in found]
    # What had happened before they were there cannot come in time.
    lags = [lag for each in seen for at, lag in each.values() if at > ready]
    return {
        "job": [sorted(each) for each in seen[::2]],
        "all": [sorted(each) for each in seen[1::2]],
        "lags": [round(lag, 4) for lag in lags],
    }


if __name__ == "__main__":
    where, job, tag, count, unread = sys.argv[1:]
    print(json.dumps(asyncio.run(watch(where, job, tag, int(count), int(unread)))))
