"""Receiver: a server at the other end of webhooks, in a thread of the test's process."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook

WEBHOOKS = "/api/v1/webhooks"
ALLOWED = {"COUNTERMAND_WEBHOOK_NETWORKS": "127.0.0.0/8", "COUNTERMAND_WEBHOOK_HTTP": "true"}
"""What lets an engine send to it."""

Place = tuple[str, int]
"""An event: its job, and its version."""


@dataclass
class Receiver:
    """What came; ``first`` is called with the first message, before it is answered."""

    url: str = ""
    status: int = 204
    """What is answered."""
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    first: Callable[[], None] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, headers: dict[str, str], body: bytes) -> None:
        """A message has come."""
        with self.lock:
            self.got.append((headers, body))
            first, self.first = self.first, None
        if first is not None:
            first()

    @property
    def ids(self) -> list[str]:
        """Of the messages, in the order in which they came."""
        return [headers["webhook-id"] for headers, _ in list(self.got)]

    def told(self) -> set[Place]:
        """The events that messages have told of."""
        found = [json.loads(body)["data"] for _, body in list(self.got)]
        return {(data["job_id"], data["version"]) for data in found}

    def has_all(self, events: Collection[Place], secret: str, seconds: float) -> None:
        """Wait until there is a message of each; all are signed, and each event has one id."""
        until = time.monotonic() + seconds
        while not self.told() >= set(events):
            assert time.monotonic() < until, f"never told of {set(events) - self.told()}"
            time.sleep(0.02)
        ids: dict[Place, set[str]] = {}
        for headers, body in list(self.got):
            Webhook(secret).verify(body, headers)
            data = json.loads(body)["data"]
            ids.setdefault((data["job_id"], data["version"]), set()).add(headers["webhook-id"])
        assert all(len(of_event) == 1 for of_event in ids.values()), ids


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a free port that takes everything, or answers what it is told to."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.take({name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(receiver.status)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
