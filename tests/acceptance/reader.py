"""Reader: the live events of a job, as a caller of the standard library reads them."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.crash.client import JOBS

PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Seen:
    """One event; what has no id (a hint between two stored events) has no version."""

    name: str
    version: int | None
    data: dict[str, Any]


def follow(url: str, job_id: str, after: int | None = None) -> Iterator[Seen]:
    """The events behind version ``after``, until the server ends the stream.

    Raises StreamOver when there is nothing more to come, OSError or HTTPException when the
    connection breaks. A frame that is cut off is no event.
    """
    parts = urlsplit(url)
    headers = {"Accept": "text/event-stream"}
    if after is not None:
        headers["Last-Event-ID"] = str(after)
    connection = http.client.HTTPConnection(
        parts.hostname or "", parts.port or 80, timeout=PATIENCE
    )
    with closing(connection):
        connection.request("GET", f"{JOBS}/{job_id}/events", None, headers)
        response = connection.getresponse()
        if response.status == 204:
            raise StreamOver
        if response.status == 503:
            raise ConnectionRefusedError("the engine is starting")
        assert response.status == 200, (response.status, response.read())
        yield from _events(response)


class StreamOver(Exception):
    """The server has said with 204 that this client has seen all."""


def _events(response: http.client.HTTPResponse) -> Iterator[Seen]:
    fields: dict[str, str] = {}
    for line in response:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            fields[name] = value
            continue
        if "data" in fields:
            version = int(fields["id"]) if "id" in fields else None
            yield Seen(fields["event"], version, json.loads(fields["data"]))
        fields = {}
