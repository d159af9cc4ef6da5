"""Client: the HTTP side of the verbs. Streams items up and events down."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import aiohttp

from countermand_client.sse import EventParser, ServerEvent
from domain.errors import InvalidCommand
from streams.cli.documents import (
    ErrorGroupDocument,
    ItemDocument,
    JobDocument,
    PreviewDocument,
)
from streams.cli.exits import Problem, ProblemDetails, Unreachable

Query = Sequence[tuple[str, str | int]]

RETENTION = "/api/v1/retention"

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 60.0
SILENCE_SECONDS = 45.0
"""The server sends a heartbeat every 15 s, so this long a silence means that it is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a lost event stream is asked for again, and how often; seconds."""

    first: float = 0.1
    longest: float = 2.0
    give_up: float = 60.0


class Client:
    """Speaks to one server; an async context manager.

    Every method raises Unreachable when nobody answers and Problem when the server refuses.
    """

    def __init__(
        self, url: str, patience: Patience | None = None, *, actor: str = "", token: str = ""
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise InvalidCommand(f"{url!r} is no address; write it as http://127.0.0.1:8080")
        self._base = url.rstrip("/")
        self._headers = {"Countermand-Actor": actor} if actor else {}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._patience = patience or Patience()
        self._open: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_SECONDS, sock_read=ANSWER_SECONDS
        )
        self._open = aiohttp.ClientSession(timeout=timeout, headers=self._headers)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def job(self, job_id: str, *, at: int | None = None) -> JobDocument:
        """A job as it is, or as it was at version ``at``."""
        query = [] if at is None else [("at", at)]
        job: JobDocument = await self.get(_job(job_id), query)
        return job

    async def errors(self, job_id: str) -> list[ErrorGroupDocument]:
        """The failed items of a job, grouped."""
        groups: list[ErrorGroupDocument] = (await self.get(_job(job_id, "errors")))["items"]
        return groups

    async def undo_preview(self, job_id: str, query: Query) -> PreviewDocument:
        """What an undo of a job would do now."""
        found: PreviewDocument = await self.get(_job(job_id, "undo-preview"), query)
        return found

    async def compensations(self, job_id: str, query: Query) -> Any:
        """A page of the items whose effects outside were to be taken back."""
        return await self.get(_job(job_id, "compensations"), query)

    async def item(self, job_id: str, position: int) -> ItemDocument:
        """One item with all its attempts."""
        found: ItemDocument = await self.get(_job(job_id, f"items/{position}"))
        return found

    async def submit(
        self, query: Query, items: AsyncIterator[bytes], *, key: str = ""
    ) -> JobDocument:
        """A new job whose items are blocks of NDJSON, sent as they come."""
        headers = {"Content-Type": "application/x-ndjson"}
        if key:
            headers["Idempotency-Key"] = key
        return await self._posted("/api/v1/jobs", query, headers=headers, data=items)

    async def batch(self, document: Any, key: str = "") -> JobDocument:
        """Submit a batch of jobs that come after one another."""
        headers = {"Idempotency-Key": key} if key else {}
        return await self._posted("/api/v1/batches", (), json=document, headers=headers)

    async def submit_document(self, body: Mapping[str, Any], *, key: str = "") -> JobDocument:
        """A new job that is described by a JSON document."""
        headers = {"Idempotency-Key": key} if key else {}
        return await self._posted("/api/v1/jobs", (), headers=headers, json=body)

    async def append(self, job_id: str, part: int, items: AsyncIterator[bytes]) -> None:
        """Items of a draft as blocks of NDJSON; sent again as the same part they are there once."""
        headers = {"Content-Type": "application/x-ndjson"}
        query = [("part", part)]
        async with self._request("POST", _job(job_id, "items"), query, headers=headers, data=items):
            pass

    async def seal(self, job_id: str, items: int | None = None) -> JobDocument:
        """Have a draft begin; ``items`` is how many it must have by now."""
        body = {} if items is None else {"items": items}
        return await self._posted(_job(job_id, "seal"), (), json=body)

    async def command(
        self, job_id: str, verb: str, reason: str = "", more: Mapping[str, Any] | None = None
    ) -> JobDocument:
        """Pause, resume, cancel, retry, undo or adjust; returns the job as it is after that.

        ``more`` says which items are retried or undone, what is adjusted, and whatever else the
        verb takes.
        """
        return await self._posted(_job(job_id, verb), (), json={"reason": reason, **(more or {})})

    async def diff_summary(self, job_id: str, other: str, query: Query) -> Any:
        """How many items of two runs differ, and in which way."""
        return await self.get(_job(job_id, f"diff/{checked_id(other)}/summary"), query)

    async def record(self, table: str, record_id: int, part: str, query: Query = ()) -> Any:
        """The ``history`` or the ``blame`` of a record."""
        return await self.get(f"/api/v1/records/{quote(table, safe='')}/{record_id}/{part}", query)

    async def plan(self, job_id: str) -> dict[str, Any]:
        """What a finished dry run has found, and whether it still holds."""
        plan: dict[str, Any] = await self.get(_job(job_id, "plan"))
        return plan

    async def apply(self, job_id: str, digest: str = "", key: str = "") -> JobDocument:
        """A new job that does what a dry run has planned; returns it."""
        body = {"digest": digest} if digest else {}
        headers = {"Idempotency-Key": key} if key else {}
        return await self._posted(_job(job_id, "apply"), (), json=body, headers=headers)

    async def keys(self) -> list[Any]:
        """All API keys of the tenant."""
        found: list[Any] = []
        query: Query = ()
        while True:
            page = await self.get("/api/v1/keys", query)
            found += page["items"]
            if page["next_cursor"] is None:
                return found
            query = [("cursor", page["next_cursor"])]

    async def weigh(self, tenant: str, weight: float) -> Any:
        """Give a tenant another share of the workers."""
        return await self._asked(f"/api/v1/tenants/{quote(tenant, safe='')}", {"weight": weight})

    async def set_rule(self, rule: Mapping[str, Any]) -> Any:
        """Have a rule of retention say this from now on."""
        async with self._request("POST", RETENTION, (), json=rule) as response:
            return await response.json()

    async def remove_rule(self, tenant: str, kind: str, reason: str) -> Any:
        """Remove a rule of retention."""
        path = f"{RETENTION}/{quote(tenant, safe='')}/{quote(kind, safe='')}"
        query = [("reason", reason)] if reason else []
        async with self._request("DELETE", path, query) as response:
            return await response.json()

    async def limit(self, name: str, wanted: Mapping[str, Any]) -> Any:
        """Change what all jobs together may ask of a provider, or have in a queue."""
        path = f"/api/v1/limits/{quote(name, safe=':')}"
        async with self._request("POST", path, (), json=wanted) as response:
            return await response.json()

    async def get(self, path: str, query: Query = ()) -> Any:
        """The JSON document at a path."""
        accept = {"Accept": "application/json"}
        async with self._request("GET", path, query, headers=accept) as response:
            return await response.json()

    async def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """What a route answers, to a JSON body if there is one."""
        async with self._request(method, path, (), json=body) as response:
            return await response.json()

    async def lines(
        self, job_id: str, query: Query, accept: str, part: str = "items"
    ) -> AsyncIterator[bytes]:
        """A part of a job in the wanted media type, a line (with its end) at a time."""
        headers = {"Accept": accept}
        async with self._request("GET", _job(job_id, part), query, headers=headers) as response:
            rest = b""
            async for block in response.content.iter_any():
                *lines, rest = (rest + block).split(b"\n")
                for line in lines:
                    yield line + b"\n"
            if rest:
                yield rest

    async def events(self, job_id: str, *, after: int) -> AsyncGenerator[ServerEvent, None]:
        """Stored events behind version ``after`` and progress, until the job is at rest.

        A lost connection is taken up again behind the last stored event that was seen.
        """
        last = str(after)
        lost = _Lost(self._patience)
        while True:
            error: Problem | Unreachable | None = None
            try:
                async for event in self._stream(job_id, last, lost):
                    lost.found()
                    last = event.id or last
                    yield event
            except _Settled:
                return
            except Unreachable as silence:
                error = silence
            except Problem as problem:
                if problem.details.status < 500:
                    raise
                error = problem
            await lost.wait(error)

    async def _stream(self, job_id: str, last: str, lost: _Lost) -> AsyncIterator[ServerEvent]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": last}
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS
        )
        path = _job(job_id, "events")
        async with self._request("GET", path, (), headers=headers, timeout=timeout) as response:
            if response.status == 204:
                raise _Settled
            lost.opened()
            parser = EventParser()
            async for block in response.content.iter_any():
                for event in parser.feed(block):
                    yield event

    async def _asked(self, path: str, body: Mapping[str, Any]) -> Any:
        async with self._request("POST", path, (), json=body) as response:
            return await response.json()

    async def _posted(self, path: str, query: Query, **options: Any) -> JobDocument:
        async with self._request("POST", path, query, **options) as response:
            job: JobDocument = await response.json()
            return job

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._open is None:
            raise RuntimeError("use the client as an async context manager")
        return self._open

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, query: Query, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        url = self._base + path
        try:
            async with self._session.request(method, url, params=query, **options) as response:
                if response.status >= 400:
                    raise Problem(await _details(response))
                yield response
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unreachable(
                f"no answer from {self._base} ({_reason(error)}); is `countermand serve` running "
                "there? Another address goes into --url or COUNTERMAND_URL"
            ) from error


class _Settled(Exception):
    """The server has nothing more to send."""


class _Lost:
    """Counts how long nobody sends an event stream."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._delay = 0.0
        self._since: float | None = None
        self._opened: float | None = None

    def opened(self) -> None:
        """The server sends from now on, if it has anything to say."""
        self._opened = asyncio.get_running_loop().time()

    def found(self) -> None:
        """Somebody was there: patience is whole again, and the next try is at once."""
        self._delay, self._since = 0.0, None

    async def wait(self, error: Exception | None) -> None:
        """Sleep before the next try; raises ``error`` when patience has run out."""
        now = asyncio.get_running_loop().time()
        if self._opened is not None and now - self._opened > self._patience.longest:
            # Of a job that stands still nothing comes for hours; but somebody was there.
            self.found()
        self._opened = None
        self._since = self._since or now
        if error is not None and now - self._since > self._patience.give_up:
            raise error
        await asyncio.sleep(self._delay)
        self._delay = min(max(self._delay * 2, self._patience.first), self._patience.longest)


def checked_id(job_id: str) -> str:
    """The id, which can stand in a path; raises InvalidCommand."""
    if not job_id or not all(letter.isalnum() or letter in "-_" for letter in job_id):
        raise InvalidCommand(f"{job_id!r} is no job id; `countermand jobs` lists them")
    return job_id


def _job(job_id: str, part: str = "") -> str:
    path = f"/api/v1/jobs/{checked_id(job_id)}"
    return f"{path}/{part}" if part else path


async def _details(response: aiohttp.ClientResponse) -> ProblemDetails:
    plain = ProblemDetails(response.status, f"{response.status} {response.reason}")
    try:
        body = json.loads(await response.read())
    except (ValueError, aiohttp.ClientError):
        return plain
    if not isinstance(body, Mapping):
        return plain
    return ProblemDetails(
        status=response.status,
        title=str(body.get("title") or plain.title),
        detail=str(body.get("detail", "")),
        code=str(body.get("code", "")),
        pointer=str(body.get("pointer", "")),
        errors=[error for error in body.get("errors", ()) if isinstance(error, Mapping)],
    )


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "there is no host of that name"
    if isinstance(error, aiohttp.ClientConnectorError) and error.os_error.errno:
        return os.strerror(error.os_error.errno)
    return str(error) or type(error).__name__
