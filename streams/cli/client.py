"""Client: the HTTP side of the verbs. Streams items up and events down."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote, urljoin

import aiohttp

from countermand_client.sse import EventParser, ServerEvent
from domain.errors import CountermandError, InvalidCommand
from streams.cli.address import parts_of, shown
from streams.cli.documents import (
    ErrorGroupDocument,
    ItemDocument,
    JobDocument,
    PreviewDocument,
)
from streams.cli.exits import (
    Problem,
    ProblemDetails,
    Stranger,
    Unreachable,
    is_for_later,
    retry_after,
)
from streams.cli.patience import Lost, Patience
from streams.cli.repeating import by_key, key_or_new, repeated

T = TypeVar("T")
Query = Sequence[tuple[str, str | int]]

JOBS = "/api/v1/jobs"
RETENTION = "/api/v1/retention"
KEY = "Idempotency-Key"
NDJSON = "application/x-ndjson"
PAGE = "text/html"
"""What no route of the API answers with, and a proxy does."""
PATIENCE = Patience()

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 60.0
SILENCE_SECONDS = 45.0
"""The server sends a heartbeat every 15 s, so this long a silence means that it is gone."""


class Client:
    """Speaks to one server; an async context manager.

    Every method raises Unreachable when nobody answers, Problem when the server refuses, and
    Stranger when something else answers in its place.
    What is asked of jobs has a key, the caller's or one of its own, and is asked again under it
    while its answer is lost.
    """

    def __init__(
        self, url: str, patience: Patience | None = None, *, actor: str = "", token: str = ""
    ) -> None:
        parts_of(url)
        self._base = url.rstrip("/")
        self._named = shown(self._base)
        self._headers = {"Countermand-Actor": actor} if actor else {}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._patience = patience or PATIENCE
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
        self, query: Query, items: AsyncIterable[bytes], *, key: str = ""
    ) -> JobDocument:
        """A new job whose items are blocks of NDJSON, sent as they come; asked once."""
        headers = {"Content-Type": NDJSON, KEY: key_or_new(key)}
        return await self._posted(JOBS, query, headers=headers, data=items)

    async def batch(self, document: Any, key: str = "") -> JobDocument:
        """Submit a batch of jobs that come after one another."""
        return await self._keyed("/api/v1/batches", key, document)

    async def submit_document(self, body: Mapping[str, Any], *, key: str = "") -> JobDocument:
        """A new job that is described by a JSON document."""
        return await self._keyed(JOBS, key, body)

    async def append(self, job_id: str, part: int, items: AsyncIterable[bytes]) -> int:
        """Items of a draft as blocks of NDJSON, asked once; returns the version of the draft.

        Sent again as the same part they are there once.
        """
        path, query = _job(job_id, "items"), [("part", part)]
        headers = {"Content-Type": NDJSON}
        async with self._request("POST", path, query, headers=headers, data=items) as response:
            return int((await self._read(response))["version"])

    async def seal(self, job_id: str, items: int | None = None, *, key: str = "") -> JobDocument:
        """Have a draft begin; ``items`` is how many it must have by now."""
        body = {} if items is None else {"items": items}
        return await self._keyed(_job(job_id, "seal"), key, body)

    async def command(
        self,
        job_id: str,
        verb: str,
        reason: str = "",
        more: Mapping[str, Any] | None = None,
        *,
        key: str = "",
        if_version: int | None = None,
    ) -> JobDocument:
        """Pause, resume, cancel, retry, undo or adjust; returns the job as it is after that.

        ``more`` says which items are retried or undone, what is adjusted, and whatever else the
        verb takes. With ``if_version`` it is refused unless the job is at that version.
        """
        body = {"reason": reason, **(more or {})}
        return await self._keyed(_job(job_id, verb), key, body, if_version)

    async def repeated(self, ask: Callable[[], Awaitable[T]], how: str, *, can: bool) -> T:
        """What ``ask`` returns, asked again while its answer is lost, if it ``can`` be.

        ``how`` says how a person repeats it.
        """
        return await repeated(ask, how, self._patience if can else None)

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
        return await self._keyed(_job(job_id, "apply"), key, body)

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
            return await self._read(response)

    async def remove_rule(self, tenant: str, kind: str, reason: str) -> Any:
        """Remove a rule of retention."""
        path = f"{RETENTION}/{quote(tenant, safe='')}/{quote(kind, safe='')}"
        query = [("reason", reason)] if reason else []
        async with self._request("DELETE", path, query) as response:
            return await self._read(response)

    async def limit(self, name: str, wanted: Mapping[str, Any]) -> Any:
        """Change what all jobs together may ask of a provider, or have in a queue."""
        path = f"/api/v1/limits/{quote(name, safe=':')}"
        async with self._request("POST", path, (), json=wanted) as response:
            return await self._read(response)

    async def get(self, path: str, query: Query = ()) -> Any:
        """The JSON document at a path."""
        accept = {"Accept": "application/json"}
        async with self._request("GET", path, query, headers=accept) as response:
            return await self._read(response)

    async def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """What a route answers, to a JSON body if there is one."""
        async with self._request(method, path, (), json=body) as response:
            return await self._read(response)

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
        clock = asyncio.get_running_loop().time
        lost = Lost(self._patience, clock, self._patience.give_up)
        while True:
            error: Problem | Unreachable | None = None
            try:
                async for event in self._stream(job_id, last, lost):
                    lost.found()
                    last = event.id or last
                    yield event
            except _Settled:
                return
            except (Problem, Unreachable) as failure:
                if not is_for_later(failure):
                    raise
                error = failure
            wait = lost.next(retry_after(error))
            if wait is None and error is not None:
                raise error
            await asyncio.sleep(self._patience.longest if wait is None else wait)

    async def _stream(self, job_id: str, last: str, lost: Lost) -> AsyncIterator[ServerEvent]:
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
            return await self._read(response)

    async def _keyed(
        self, path: str, key: str, body: Any, if_version: int | None = None
    ) -> JobDocument:
        """Ask for something by a key, which makes it safe to ask again."""
        known = key_or_new(key)
        headers = {KEY: known}
        if if_version is not None:
            headers["If-Match"] = f'"{if_version}"'

        async def ask() -> JobDocument:
            return await self._posted(path, (), json=body, headers=headers)

        return await repeated(ask, by_key(known), self._patience)

    async def _posted(self, path: str, query: Query, **options: Any) -> JobDocument:
        async with self._request("POST", path, query, **options) as response:
            job: JobDocument = await self._read(response)
            return job

    async def _read(self, response: aiohttp.ClientResponse) -> Any:
        """The JSON object that is the answer; the server gives no other."""
        try:
            document = await response.json()
        except ValueError:
            raise self._stranger() from None
        if not isinstance(document, dict):
            raise self._stranger()
        return document

    def _stranger(self) -> Stranger:
        return Stranger(
            f"something else than Countermand answers at {self._named} (a proxy, or a page to log "
            "in?); check the address in --url or COUNTERMAND_URL"
        )

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
        asked = self._session.request(method, url, params=query, allow_redirects=False, **options)
        try:
            async with asked as response:
                if response.status >= 300:
                    raise await self._refusal(response, path)
                if response.content_type == PAGE:
                    raise self._stranger()
                yield response
        except aiohttp.ContentTypeError:
            raise self._stranger() from None
        except (aiohttp.ClientError, TimeoutError) as error:
            # Of items that cannot be read, all that is told here is that nothing more came.
            failure: CountermandError | None = getattr(options.get("data"), "failure", None)
            if failure is not None:
                raise failure from None
            raise Unreachable(
                f"no answer from {self._named} ({_reason(error)}); is `countermand serve` running "
                "there? Another address goes into --url or COUNTERMAND_URL",
                unheard=isinstance(error, _UNHEARD),
            ) from error

    async def _refusal(self, response: aiohttp.ClientResponse, path: str) -> CountermandError:
        """What the server says instead of an answer."""
        location = response.headers.get("Location", "")
        if response.status >= 400 or not location:
            return Problem(await _details(response))
        # To go there would send a command as a question, and a token to somebody else.
        place = urljoin(str(response.url), location)
        there, _, rest = place.rpartition(path)
        there = there if there and rest[:1] in ("", "?") else place
        return InvalidCommand(
            f"{self._named} sends on to another address: the server is at {shown(there)}; put that "
            "address into --url or COUNTERMAND_URL"
        )


_UNHEARD = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""There was no connection on which anything could have been sent."""


class _Settled(Exception):
    """The server has nothing more to send."""


def checked_id(job_id: str) -> str:
    """The id, which can stand in a path; raises InvalidCommand."""
    if not job_id or not all(letter.isalnum() or letter in "-_" for letter in job_id):
        raise InvalidCommand(f"{job_id!r} is no job id; `countermand jobs` lists them")
    return job_id


def _job(job_id: str, part: str = "") -> str:
    path = f"/api/v1/jobs/{checked_id(job_id)}"
    return f"{path}/{part}" if part else path


async def _details(response: aiohttp.ClientResponse) -> ProblemDetails:
    said = response.headers.get("Retry-After", "").strip()
    after = float(said) if said.isdecimal() else 0.0
    title = f"{response.status} {response.reason}"
    plain = ProblemDetails(response.status, title, retry_after=after)
    try:
        body = json.loads(await response.read())
    except (ValueError, aiohttp.ClientError):
        return plain
    if not isinstance(body, Mapping):
        return plain
    found = body.get("errors")
    errors = found if isinstance(found, list) else []
    return ProblemDetails(
        status=response.status,
        title=str(body.get("title") or plain.title),
        detail=str(body.get("detail", "")),
        code=str(body.get("code", "")),
        pointer=str(body.get("pointer", "")),
        errors=[error for error in errors if isinstance(error, Mapping)],
        retry_after=after,
    )


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "there is no host of that name"
    if isinstance(error, aiohttp.ClientConnectorError) and error.os_error.errno:
        return os.strerror(error.os_error.errno)
    if isinstance(error, aiohttp.InvalidURL):
        return "it is no address"
    return str(error) or type(error).__name__
