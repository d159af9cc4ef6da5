"""Socket: live progress of bulk operations, on the engine's WebSockets in the platform's words."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from aiohttp import web

from api.conversation import Conversation
from api.interests import Key, Span
from api.problems import refused
from api.systems.annotations import socket_words as words
from api.systems.annotations.alerts import Alerts
from api.systems.annotations.operation_documents import load_figures, status_document
from api.systems.annotations.pace import Pace
from api.systems.annotations.seats import Seats
from api.systems.annotations.updates import LOOK_SECONDS, type_of, update_of_reading
from api.websocket import Introduction, Manner, speaking
from api.ws_messages import written
from domain.errors import CountermandError, JobNotFound, RecordNotFound
from domain.job import Job
from domain.permissions import Permission
from streams.identity import Identity
from streams.live import Placed
from streams.systems.annotations.load import NOTHING_USED, Figures
from streams.systems.annotations.numbers import Numbered
from streams.systems.annotations.readings import Reading


async def connect(request: web.Request) -> web.StreamResponse:
    """A WebSocket; who has shown neither token nor ticket says first who it is."""
    return await speaking(request, _MANNER)


class PlatformTalk(Conversation):
    """One client: which operations it follows, and how far it was told of each."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._followed: dict[str, Numbered] = {}
        """Operations by job."""
        self._paces: dict[str, Pace] = {}
        self._told: dict[str, int] = {}
        """By job, the version that the client knows."""
        self._running: set[str] = set()
        """Jobs that are not at rest, as far as the client was told."""
        self._alerts = Alerts(self._own)
        self._seats = Seats(self._own, self._caller)
        self._used = NOTHING_USED
        """What the workers use, as far as this client was told."""
        self._read: dict[str, Reading] = {}
        """Files that are read, by the job that they will be, as they were told."""
        self._reads = asyncio.Event()

    async def greet(self, identity: Identity, ref: str) -> None:  # noqa: ARG002 - it has none
        """Tell a client that is known now who it is."""
        who = identity.caller
        known = words.system("authenticated", actor=who.actor, tenant=who.tenant)
        await self._socket.say(known)

    async def _answer(self, text: bytes) -> None:
        said = words.understood(text, self._own.limits.json_depth)
        await self._pace(said.action)
        match said:
            case words.Authenticate():
                await self._known_already()
            case words.Subscribe(operation_id=number):
                await self._follow(number)
            case words.Unsubscribe(operation_id=number):
                # Whoever looks at it, or tells of it, has it to the end of that.
                async with self._turn:
                    await self._leave(number)
            case words.Broadcast(text=said_text):
                self._caller.demand(Permission.ADMINISTER)
                await self._own.broadcasts.say(self._caller, said_text)
            case words.Status():
                await self._socket.say(await self._system())

    async def _known_already(self) -> None:
        """A server that asks nobody takes whoever says who they are; else it is said once."""
        if self._own.callers.mode == "proven":
            raise refused(
                409, "already_authenticated", "it is known who you are; connect anew for others"
            )
        who = self._caller
        await self._socket.say(words.system("authenticated", actor=who.actor, tenant=who.tenant))

    async def _follow(self, number: int) -> None:
        """Say how the operation is, and then whatever happens to it."""
        own, who = self._own, self._caller
        found, _ = await own.annotations.operation(who, number)
        key = _key(found.job_id)
        if key in self._interests:
            raise refused(409, "already_subscribed", "this connection follows that already")
        await self._following.wait()
        async with self._turn:
            since = own.tail.position
            # From here on it is handed out; what was before is in how the job is.
            self._interests.add(key, Span(since, since))
            try:
                reading = await own.annotations.files.reading(found, who.tenant)
                job = None if reading else await own.queries.job(who.tenant, found.job_id)
            except CountermandError:
                self._interests.remove(key)
                raise
            self._followed[found.job_id] = found
            await self._socket.say(words.system("subscribed", operation_id=number))
            if job is not None:
                await self._say_how(found, job)
            elif reading is not None:
                await self._say_read(found, reading)
        await self._alert()

    async def _say_how(self, found: Numbered, job: Job) -> None:
        """All of how an operation is now; what happens then is told from there on."""
        now = self._own.clock.now()
        shown = status_document(found, job, now, await self._load())
        self._told[job.id] = job.version
        self._paces[job.id] = Pace(
            job.started_at, now, shown["processed"], shown["items_per_second"]
        )
        await self._socket.say(words.Message(type=type_of(job.status), data=shown))
        if not job.status.terminal:
            self._running.add(job.id)

    async def _say_read(self, found: Numbered, reading: Reading) -> None:
        """How far the file of an operation is read, and look again as long as it is."""
        name, told = update_of_reading(found, reading, await self._load())
        await self._socket.say(words.Message(type=name, data=told))
        if reading.fault is None:
            self._read[found.job_id] = reading
            self._reads.set()

    async def accompany(self) -> None:
        """Look at the files that are read, as long as there are any."""
        while True:
            await self._reads.wait()
            await asyncio.sleep(LOOK_SECONDS)
            for job_id in list(self._read):
                async with self._turn:
                    if job_id in self._read:
                        await self._look_at(self._followed[job_id])
            if not self._read:
                self._reads.clear()

    async def _look_at(self, found: Numbered) -> None:
        reading = await self._own.annotations.files.reading(found, self._caller.tenant)
        if reading is None:
            await self._say_what_came(found)
        elif reading != self._read[found.job_id]:
            del self._read[found.job_id]
            await self._say_read(found, reading)

    async def _say_what_came(self, found: Numbered) -> None:
        """The job that a file has become; an operation of which none comes is left."""
        try:
            await self._say_job(found)
        except JobNotFound:
            # Else the job is not decided on yet.
            if self._is_overdue(found) or await self._is_gone(found):
                await self._leave(found.operation_id)

    async def _say_job(self, found: Numbered) -> None:
        job = await self._own.queries.job(self._caller.tenant, found.job_id)
        self._read.pop(found.job_id, None)
        await self._say_how(found, job)

    def _is_overdue(self, found: Numbered) -> bool:
        """Whether its file was read so long ago that no job is waited for any more."""
        return self._read[found.job_id].at(self._own.clock.now()).fault is not None

    async def _is_gone(self, found: Numbered) -> bool:
        try:
            await self._own.annotations.operation(self._caller, found.operation_id)
        except RecordNotFound:
            return True
        return False

    async def _leave(self, number: int) -> None:
        """Tell no more of an operation; for whoever has the turn."""
        numbers = {known.operation_id: job_id for job_id, known in self._followed.items()}
        job_id = numbers.get(number, "")
        self._interests.remove(_key(job_id))
        del self._followed[job_id]
        for known in (self._told, self._paces, self._read):
            known.pop(job_id, None)
        self._running.discard(job_id)
        await self._socket.say(words.system("unsubscribed", operation_id=number))

    async def _send(self, placed: Placed) -> None:
        """As for others, but for what the client was told already with how the job is."""
        version, job_id = placed.event.version, placed.event.job_id
        if job_id in self._followed and job_id not in self._told:
            # The job is there, which may be sooner than the word that the file is read, or
            # later than the word that nobody reads it.
            await self._say_job(self._followed[job_id])
        if version is not None and job_id in self._told:
            if version <= self._told[job_id]:
                return
            self._told[job_id] = version
            (self._running.discard if placed.event.at_rest else self._running.add)(job_id)
        if not placed.to_all:
            self._used = await self._load()
        await super()._send(placed)

    async def _look_around(self) -> None:
        await super()._look_around()
        followed = [each.operation_id for each in self._followed.values()]
        for number in await self._seats.lost(followed):
            async with self._turn:
                if any(each.operation_id == number for each in self._followed.values()):
                    await self._leave(number)
        await self._alert()

    async def _alert(self) -> None:
        """Say once of each worker that it has passed its memory budget, while something runs."""
        running = {job_id: self._followed[job_id].operation_id for job_id in self._running}
        for said in await self._alerts.new(running):
            await self._socket.say(words.alert(said))

    def _worded(self, placed: Placed) -> bytes:
        if placed.to_all:
            said = orjson.loads(placed.event.text)
            return written(words.Message(type="broadcast", data=said))
        job_id = placed.event.job_id
        number, pace = self._followed[job_id].operation_id, self._paces[job_id]
        return written(words.happened(placed.event, number, self._used, pace))

    async def _load(self) -> Figures:
        return await self._own.annotations.load.lately(self._own.situation.workers)

    async def _system(self) -> words.Message:
        """How the system is: what the workers use; and the connections, for administrators."""
        own, tenant = self._own, self._caller.tenant
        load = await self._load()
        data: dict[str, Any] = {
            "ready": (await own.vitals.health()).ready,
            **load_figures(load),
        }
        if Permission.ADMINISTER in self._caller.permissions:
            found = own.connections.of(tenant)
            data["websockets"] = len(found)
            data["streams"] = own.streams.of(tenant)
            data["topics"] = sum(len(one.interests) for one in found)
        return words.system("status", **data)


def _introduction(text: bytes, depth: int) -> Introduction:
    said = words.understood(text, depth)
    return Introduction(said if isinstance(said, words.Authenticate) else None)


def _key(job_id: str) -> Key:
    return "job_id", job_id


_MANNER = Manner(_introduction, PlatformTalk)
