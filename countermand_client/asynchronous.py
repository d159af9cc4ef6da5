"""AsyncClient: all that can be asked of a server, for asyncio."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypedDict, TypeVar, Unpack
from urllib.parse import quote, urlencode
from uuid import uuid4

from pydantic import BaseModel

from countermand_client.bodies import Items, Replay, model_text
from countermand_client.drafting import JOBS, submitted
from countermand_client.errors import ClientError, UnreachableError, WaitTimedOutError
from countermand_client.http import Http, Query
from countermand_client.live import AsyncLive
from countermand_client.models import (
    ApiKey,
    ErrorGroup,
    Event,
    Item,
    Job,
    Model,
    Operation,
    Plan,
)
from countermand_client.patience import Patience, Waits
from countermand_client.sse import EventParser, ServerEvent

M = TypeVar("M", bound=Model)
BATCHES, KEYS = "/api/v1/batches", "/api/v1/keys"
SOCKET = "/api/v1/ws"
PAGE = 500
LONGEST_QUERY = 7_500
"""Of a request's first line servers, and what stands before them, take some 8,000 bytes."""
SILENT = "the server ends the stream again and again without a word; look into its log"


class Described(TypedDict, total=False):
    """What a job may say beside its operation and its items, as ``submit`` takes it."""

    params: Mapping[str, Any] | BaseModel | None
    options: Mapping[str, Any]
    name: str
    tags: Sequence[str]
    priority: int | None
    key: str | None


def new_key() -> str:
    """An idempotency key that nobody else has."""
    return str(uuid4())


class AsyncClient:
    """Speaks to one server; an async context manager.

    Each method raises an error of :mod:`countermand_client.errors`. What is safe to repeat
    is repeated within ``patience``: reads, and all that is asked with an idempotency key,
    which is everything else here. ``keys`` makes those that the caller does not give.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        *,
        token: str = "",
        headers: Mapping[str, str] | None = None,
        patience: Patience | None = None,
        keys: Callable[[], str] = new_key,
    ) -> None:
        self._http = Http(url, token, headers or {}, patience or Patience())
        self._keys = keys

    async def __aenter__(self) -> Self:
        await self._http.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.close()

    # -- submit ------------------------------------------------------------------------

    async def submit(
        self,
        operation: str,
        items: Items,
        *,
        params: Mapping[str, Any] | BaseModel | None = None,
        options: Mapping[str, Any] | None = None,
        name: str = "",
        tags: Sequence[str] = (),
        priority: int | None = None,
        key: str | None = None,
    ) -> Job:
        """A new job; ``items`` are sent as they come, however many there are.

        They are values (dicts or pydantic models) from any iterable, or a file of one item a
        line. A connection that breaks is taken up again with the same key: there is one job.
        Give a ``key`` of your own where your process may die and submit again.

        What the job says of itself stands in the address. Where that would be too long the job
        is opened as a draft, given its items, which are all read before, and sealed.
        """
        said: Described = {
            "params": params,
            "name": name,
            "tags": _several("tags", tags),
            "priority": priority,
        }
        if options:
            said["options"] = options
        query = _query(operation, said)
        body = Replay(items)
        try:
            if len(urlencode(query)) > LONGEST_QUERY:
                answer = await self._drafted(_document(operation, said), body, key)
            else:
                answer = await self._http.post(JOBS, query, key=self._known(key), lines=body)
        finally:
            await body.close()
        return Job.model_validate(answer)

    async def _drafted(self, document: Mapping[str, Any], body: Replay, key: str | None) -> Any:
        known, lasting = self._known(key), key is not None
        return await submitted(self._http, document, body, known, for_later=lasting)

    async def draft(self, operation: str, **said: Unpack[Described]) -> Job:
        """A job whose items follow by ``append``; nothing is done before ``seal``."""
        return await self._described(operation, {"draft": True}, said)

    async def append(self, job_id: str, part: int, items: Items) -> None:
        """Items of a draft; sent again as the same ``part`` (0, 1, ...) they are there once."""
        body = Replay(items)
        try:
            query = [("part", str(part))]
            await self._http.post(_path(job_id, "items"), query, key=self._keys(), lines=body)
        finally:
            await body.close()

    async def seal(self, job_id: str, *, items: int | None = None, key: str | None = None) -> Job:
        """Have a draft begin; ``items`` is how many it must have by now."""
        counted = {} if items is None else {"items": items}
        return await self.command(job_id, "seal", key=key, **counted)

    async def select(
        self, operation: str, select: Mapping[str, Any], **said: Unpack[Described]
    ) -> Job:
        """A job on the records that a filter matches now: ``{"table": ..., "where": ...}``."""
        return await self._described(operation, {"select": dict(select)}, said)

    async def batch(
        self,
        steps: Sequence[Mapping[str, Any]],
        *,
        name: str = "",
        tags: Sequence[str] = (),
        priority: int | None = None,
        key: str | None = None,
    ) -> Job:
        """Jobs that come after one another; the job that stands for all of them.

        A step has ``name``, ``operation`` and ``items``, and what else a job may say; ``after``
        names the steps that come before it.
        """
        named = {"name": name, "tags": _several("tags", tags)}
        body = {"steps": [dict(step) for step in steps], **named}
        more = {} if priority is None else {"priority": priority}
        answer = await self._http.post(BATCHES, key=self._known(key), json={**body, **more})
        return Job.model_validate(answer)

    async def plan(self, job_id: str) -> Plan:
        """What a finished dry run (``options={"dry_run": True}``) has found."""
        return Plan.model_validate(await self._http.get(_path(job_id, "plan")))

    async def apply(self, job_id: str, *, digest: str | None = None, key: str | None = None) -> Job:
        """A new job that does what a dry run has found, or raises PlanChangedError."""
        seen = {} if digest is None else {"digest": digest}
        return await self.command(job_id, "apply", key=key, **seen)

    async def _described(self, operation: str, more: Mapping[str, Any], said: Described) -> Job:
        key = self._known(said.get("key"))
        body = {**_document(operation, said), **more}
        return Job.model_validate(await self._http.post(JOBS, key=key, json=body))

    # -- look --------------------------------------------------------------------------

    async def job(self, job_id: str, *, at: int | None = None) -> Job:
        """A job as it is, or as it was at version ``at``."""
        query = [] if at is None else [("at", str(at))]
        return Job.model_validate(await self._http.get(_path(job_id), query))

    def jobs(
        self,
        *,
        status: str | None = None,
        operation: str | None = None,
        tag: str | None = None,
        page: int = 100,
    ) -> AsyncGenerator[Job, None]:
        """Jobs, newest first; pages are asked for as they are needed."""
        return self._paged(JOBS, _given(status=status, operation=operation, tag=tag), Job, page)

    def items(
        self, job_id: str, *, status: str | None = None, code: str | None = None, page: int = PAGE
    ) -> AsyncGenerator[Item, None]:
        """What became of each item, in order."""
        return self._paged(_path(job_id, "items"), _given(status=status, code=code), Item, page)

    async def errors(self, job_id: str) -> list[ErrorGroup]:
        """Failures of a job, in groups that look alike."""
        found = await self._http.get(_path(job_id, "errors"))
        return [ErrorGroup.model_validate(group) for group in found["items"]]

    async def operations(self) -> list[Operation]:
        """What can be done."""
        found = await self._http.get("/api/v1/operations")
        return [Operation.model_validate(operation) for operation in found["items"]]

    # -- follow ------------------------------------------------------------------------

    async def stream(self, job_id: str, *, after: int = 0) -> AsyncGenerator[Event, None]:
        """Events behind version ``after``, and progress in between, until the job is at rest.

        A connection that is lost is taken up again behind the last event that was seen, so
        that each comes once. Raises UnreachableError when that fails for too long.
        """
        last, waits = str(after), self._http.waits()
        while True:
            heard = False
            try:
                async with aclosing(self._connection(job_id, last, waits)) as events:
                    async for event in events:
                        if event is None:
                            return
                        heard, last = True, event.id or last
                        yield _event(event)
                # The server ends a stream when all was said, or when it stops: asked again, it
                # tells which.
                _check(heard)
            except ClientError as error:
                if not heard and not await self._http.rest(waits, error):
                    raise
            if heard:
                waits.start_over()

    async def wait(self, job_id: str, *, timeout: float | None = None) -> Job:  # noqa: ASYNC109
        """The job once it is at rest; raises WaitTimedOutError after ``timeout`` seconds."""
        try:
            async with asyncio.timeout(timeout):
                job = await self.job(job_id)
                while not job.at_rest:
                    async with aclosing(self.stream(job_id, after=job.version)) as events:
                        async for _ in events:
                            pass
                    job = await self.job(job_id)
                return job
        except TimeoutError as error:
            raise WaitTimedOutError(
                f"job {job_id} is not at rest after {timeout:g} s; wait again, or cancel it"
            ) from error

    async def _connection(
        self, job_id: str, last: str, waits: Waits
    ) -> AsyncGenerator[ServerEvent | None, None]:
        """The events of one connection; None at the end of all."""
        headers = {"Accept": "text/event-stream", "Last-Event-ID": last}
        path = _path(job_id, "events")
        asked = self._http.request("GET", path, (), headers, silence=self._http.silence)
        async with asked as response:
            if response.status == 204:
                yield None
                return
            waits.opened()
            parser = EventParser()
            async for block in response.content.iter_any():
                for event in parser.feed(block):
                    yield event

    @asynccontextmanager
    async def live(self) -> AsyncIterator[AsyncLive]:
        """One WebSocket for as many jobs and tags as one likes; see :class:`AsyncLive`."""
        async with self._http.socket(SOCKET) as socket:
            yield AsyncLive(socket)

    # -- keys of services --------------------------------------------------------------

    def api_keys(self, *, page: int = 100) -> AsyncGenerator[ApiKey, None]:
        """The tenant's keys, without their texts; pages are asked for as they are needed."""
        return self._paged(KEYS, (), ApiKey, page)

    async def create_key(
        self, name: str, roles: Sequence[str], *, expires_at: datetime | None = None
    ) -> ApiKey:
        """A key, with its text, which is never shown again; this is asked for one time alone."""
        ends = {} if expires_at is None else {"expires_at": expires_at.isoformat()}
        body = {"name": name, "roles": _several("roles", roles), **ends}
        return ApiKey.model_validate(await self._http.once(KEYS, body))

    async def rotate_key(self, key_id: str, *, overlap: float = 0.0) -> ApiKey:
        """Another text for a key; the old one goes on for ``overlap`` seconds. One time alone."""
        path = f"{KEYS}/{quote(key_id, safe='')}/rotate"
        return ApiKey.model_validate(await self._http.once(path, {"overlap": overlap}))

    async def revoke_key(self, key_id: str) -> ApiKey:
        """Have a key be refused from now on."""
        path = f"{KEYS}/{quote(key_id, safe='')}/revoke"
        return ApiKey.model_validate(await self._http.post(path, key=self._keys(), json={}))

    # -- steer -------------------------------------------------------------------------

    async def pause(self, job_id: str, *, reason: str = "", key: str | None = None) -> Job:
        """Have a job stop until it is resumed."""
        return await self.command(job_id, "pause", key=key, reason=reason)

    async def resume(self, job_id: str, *, reason: str = "", key: str | None = None) -> Job:
        """Have a paused job go on."""
        return await self.command(job_id, "resume", key=key, reason=reason)

    async def cancel(
        self, job_id: str, *, roll_back: bool = False, reason: str = "", key: str | None = None
    ) -> Job:
        """Stop a job for good; what it has done stays, unless it is to be rolled back."""
        more = {"roll_back": True} if roll_back else {}
        return await self.command(job_id, "cancel", key=key, reason=reason, **more)

    async def retry(
        self, job_id: str, *, reason: str = "", key: str | None = None, **selection: Any
    ) -> Job:
        """Work failed items again: all, or as ``selection`` says (``items``, ``codes``, ...)."""
        return await self.command(job_id, "retry", key=key, reason=reason, **selection)

    async def undo(
        self, job_id: str, *, reason: str = "", key: str | None = None, **selection: Any
    ) -> Job:
        """Put back what a job has changed; of a job that is rolled back, undo that."""
        return await self.command(job_id, "undo", key=key, reason=reason, **selection)

    async def approve(self, job_id: str, *, reason: str = "", key: str | None = None) -> Job:
        """Let a job start that waits for approval."""
        return await self.command(job_id, "approve", key=key, reason=reason)

    async def reject(self, job_id: str, *, reason: str = "", key: str | None = None) -> Job:
        """Have a job never start that waits for approval."""
        return await self.command(job_id, "reject", key=key, reason=reason)

    async def command(self, job_id: str, verb: str, *, key: str | None = None, **body: Any) -> Job:
        """Any verb of a job, with what its body may say; the job as it is after that."""
        path = _path(job_id, quote(verb, safe=""))
        answer = await self._http.post(path, key=self._known(key), json=body)
        return Job.model_validate(answer)

    def _known(self, key: str | None) -> str:
        """The caller's key, which the server refuses where it is empty, or a new one."""
        return self._keys() if key is None else key

    async def _paged(
        self, path: str, query: Query, kind: type[M], page: int
    ) -> AsyncGenerator[M, None]:
        asked = [*query, ("limit", str(page))]
        cursor: str | None = None
        while True:
            place = [] if cursor is None else [("cursor", cursor)]
            found = await self._http.get(path, [*asked, *place])
            for one in found["items"]:
                yield kind.model_validate(one)
            cursor = found.get("next_cursor")
            if cursor is None:
                return


def _given(**filters: str | None) -> Query:
    """Those that are given. One that is empty is left to the server, which refuses it.

    It mostly comes of a variable that was never set, and is not to give all that there is.
    """
    return [(name, text) for name, text in filters.items() if text is not None]


def _query(operation: str, said: Described) -> Query:
    """What a job says of itself, for the address of its items."""
    query = [("operation", operation), *(("tag", tag) for tag in said.get("tags", ()))]
    params, options = said.get("params"), said.get("options")
    if params is not None:
        query.append(("params", _json(params)))
    if options is not None:
        query.append(("options", _json(options)))
    if name := said.get("name"):
        query.append(("name", name))
    if (priority := said.get("priority")) is not None:
        query.append(("priority", str(priority)))
    return query


def _document(operation: str, said: Described) -> dict[str, Any]:
    """The same as a body."""
    given: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    given.pop("key", None)
    if "tags" in given:
        given["tags"] = _several("tags", given["tags"])
    params = given.get("params")
    if isinstance(params, BaseModel):
        given["params"] = json.loads(model_text(params))
    return {"operation": operation, **given}


def _several(name: str, texts: Sequence[str]) -> list[str]:
    """A list of them; raises TypeError for one text, which would be taken for its letters."""
    if isinstance(texts, str | bytes):
        raise TypeError(f"{name} are one text here; put it into a list")
    return list(texts)


def _json(value: Mapping[str, Any] | BaseModel) -> str:
    return model_text(value) if isinstance(value, BaseModel) else json.dumps(value)


def _check(heard: bool) -> None:
    if not heard:
        raise UnreachableError(SILENT)


def _path(job_id: str, part: str = "") -> str:
    own = f"{JOBS}/{quote(job_id, safe='')}"
    return f"{own}/{part}" if part else own


def _event(event: ServerEvent) -> Event:
    said = json.loads(event.data)
    told = {**said, "name": event.name, "version": int(event.id) if event.id else None}
    return Event.model_validate({**told, "data": said})
