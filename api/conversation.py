"""Conversation: what is done with each message of a client that is known. No HTTP in here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from api import ws_messages as says
from api.connections import Counts
from api.edge import Edge
from api.interests import Interests, Key, Reach, Span, topics_of
from api.log_feed import no_such_place
from api.moments import shown
from api.problems import RequestRefused, refused
from api.standing import Standing
from api.ws_socket import CloseCode, Closing, Socket, problem_of
from domain.errors import CountermandError, CredentialRefused
from domain.permissions import Permission
from streams.callers import Caller
from streams.identity import Identity
from streams.live import Overflow, Placed


class Conversation:
    """One client: what it follows, and what it was told.

    ``_turn`` is had by whoever sends events: those that were missed come before those that
    are handed out, topic by topic.
    """

    def __init__(
        self, own: Edge, socket: Socket, counts: Counts, standing: Standing, caller: Caller
    ) -> None:
        self._own = own
        self._socket = socket
        self._counts = counts
        self._standing = standing
        self._caller = caller
        self._interests: Interests = counts.interests
        self._reach = Reach()
        self._turn = asyncio.Lock()
        self._following = asyncio.Event()
        self._heard_at = own.clock.monotonic()
        self._ref = ""
        self._is_counted = False
        """Whether the message that is being answered counts for its kind."""

    async def greet(self, identity: Identity, ref: str) -> None:
        """Tell a client that is known now who it is."""
        await self._socket.say(says.Authenticated(data=_welcome(self._own, identity, ref)))

    async def listen(self) -> None:
        """Do what is asked for, message by message; raises Gone or Closing at the end."""
        while True:
            text = await self._socket.receive()
            self._heard_at = self._own.clock.monotonic()
            self._ref, self._is_counted = "", False
            try:
                await self._heed(text)
            except CredentialRefused:
                raise  # who is not let in any more is not answered either
            except (RequestRefused, CountermandError) as error:
                await self._socket.refuse(problem_of(error, self._own.limits), self._ref)

    async def _heed(self, text: bytes) -> None:
        """Answer a message; those that are not understood count as a kind of their own."""
        try:
            await self._answer(text)
        except RequestRefused:
            if not self._is_counted:
                await self._pace("")
            raise

    async def _answer(self, text: bytes) -> None:
        """Do what one message asks for."""
        said = says.understood(text, self._own.limits.json_depth)
        self._ref = said.data.ref
        await self._pace(said.type)
        await self._do(said)

    async def hand_on(self) -> None:
        """Send what happens to whatever is followed; raises Gone or Closing at the end."""
        while True:
            following = self._own.tail.follow(self._caller.tenant, self._offered)
            async with following as (subscription, begun):
                if self._following.is_set():
                    self._counts.overflows += 1
                    async with self._turn:
                        await self._catch_up(begun)
                self._reach.sent(begun)
                self._following.set()
                try:
                    while True:
                        placed = await subscription.next(self._own.limits.heartbeat)
                        await self._look_around()
                        if placed is None:
                            continue
                        async with self._turn:
                            await self._hand(placed)
                except Overflow:
                    # What the queue could not hold is in the log.
                    continue

    def _offered(self, placed: Placed) -> bool:
        """Whether an event is to wait until it is its turn to be sent."""
        wanted = self._interests.want(placed)
        if wanted and placed.position is not None:
            self._reach.offered(placed.position)
        return wanted

    async def accompany(self) -> None:
        """What else is to be said; nothing, unless a vocabulary has more."""
        await asyncio.Event().wait()

    async def _look_around(self) -> None:
        """Raises CredentialRefused, or Closing for a client that wants nothing."""
        await self._standing.check()
        silent = self._own.clock.monotonic() - self._heard_at
        if not self._interests and silent > self._own.limits.ws_idle:
            raise Closing(CloseCode.TIMEOUT, "nothing is followed, and nothing was said for long")

    async def _pace(self, kind: str) -> None:
        """Count a message; raises RequestRefused for a client that says too much, in its turn."""
        self._is_counted = True
        if self._own.rate is None:
            return
        taken = await self._own.rate.take(self._caller.tenant, self._caller.actor, "WS", kind)
        if not taken.allowed:
            await self._own.restraint.hold(f"tenant {self._caller.tenant}")
            raise refused(
                429,
                "too_many_requests",
                f"{self._caller.actor} may say this {taken.limit} times in {taken.window} s; "
                f"wait {taken.reset} s",
            )

    async def _do(self, said: says.Said) -> None:
        match said:
            case says.Authenticate():
                raise refused(
                    409, "already_authenticated", "it is known who you are; connect anew for others"
                )
            case says.Subscribe(data=wish):
                await self._subscribe(wish)
            case says.Unsubscribe(data=topic):
                self._interests.remove(_key(topic))
                await self._socket.say(says.Unsubscribed(data=topic))
            case says.Broadcast(data=words):
                self._caller.demand(Permission.ADMINISTER)
                await self._own.broadcasts.say(self._caller, words.text)
            case says.Statistics(data=bare):
                await self._socket.say(says.Told(data=self._figures(bare.ref)))

    async def _subscribe(self, wish: says.Wish) -> None:
        self._caller.demand(Permission.VIEW)
        key, seen = _key(wish), None
        if key in self._interests:
            raise refused(409, "already_subscribed", "this connection follows that already")
        await self._following.wait()
        async with self._turn:
            if wish.after is not None:
                page = await self._own.queries.log(self._caller.tenant, wish.after, 1)
                if wish.after > page.last:
                    raise no_such_place("after", wish.after)
            # From here on it is handed out; what lies before is read. The client may have seen
            # more of the log than this process: nothing of that is sent again.
            since = self._own.tail.position
            begin = since if wish.after is None else wish.after
            self._interests.add(key, Span(begin, max(begin, since)))
            try:
                if wish.job_id is not None:
                    seen = await self._own.queries.job(self._caller.tenant, wish.job_id)
                began = says.Began(
                    **wish.said,
                    ref=wish.ref,
                    position=begin,
                    version=None if seen is None else seen.version,
                    status=None if seen is None else seen.status.value,
                )
                await self._socket.say(says.Subscribed(data=began))
                await self._replay(key, begin, since)
            except CountermandError:
                # Of a topic that is followed nothing is missed; the client may subscribe again.
                self._interests.remove(key)
                raise

    async def _replay(self, key: Key, after: int, end: int) -> None:
        """What a topic has between two places, but for what another topic brings.

        What the others still wait for up to there is sent with it: the client may leave them
        next, and nobody would bring it then.
        """
        if after >= end:
            return
        reached = self._reach.before(end)
        async for placed in self._logged(min(after, reached), end):
            place = placed.position or 0
            due = place > reached and self._interests.want(placed)
            own = place > after and key in topics_of(placed)
            if due or (own and not self._interests.have(placed, but=key)):
                await self._socket.send(self._worded(placed))
            if place > reached:
                self._reach.sent(place)
        self._reach.sent(end)

    async def _catch_up(self, end: int) -> None:
        async for placed in self._logged(self._reach.before(end), end):
            await self._hand(placed)

    async def _hand(self, placed: Placed) -> None:
        """Send what was handed out, unless it was sent with what came before a topic."""
        place = placed.position
        if place is None or not self._reach.has(place):
            await self._send(placed)
        if place is not None:
            self._reach.sent(place)

    async def _send(self, placed: Placed) -> None:
        """Send it, unless nobody wants it any more."""
        if self._interests.want(placed):
            await self._socket.send(self._worded(placed))

    def _worded(self, placed: Placed) -> bytes:
        """An event as this client is told of it."""
        return says.happened(placed)

    async def _logged(self, after: int, end: int) -> AsyncGenerator[Placed, None]:
        """The tenant's events with ``after < position <= end``, page by page."""
        while after < end:
            await self._standing.check()
            found, after = await self._page(after)
            for placed in found:
                if (placed.position or 0) > end:
                    return
                yield placed

    async def _page(self, after: int) -> tuple[list[Placed], int]:
        """Events as all are shown them, and where the next page begins."""
        size = self._own.limits.replay_page
        page = await self._own.queries.log(self._caller.tenant, after, size)
        shown = self._own.hub.shown
        found = [Placed(shown(one.event), one.position, one.tags) for one in page.events]
        return found, page.position

    def _figures(self, ref: str) -> says.Figures:
        tenant = self._caller.tenant
        return says.Figures(
            opened_at=self._counts.opened_at.isoformat(),
            received=self._counts.received,
            sent=self._counts.sent,
            overflows=self._counts.overflows,
            topics=self._interests.topics,
            websockets=len(self._own.connections.of(tenant)),
            streams=self._own.streams.of(tenant),
            ref=ref,
        )


def _key(topic: says.Topic) -> Key:
    (key,) = topic.said.items()
    return key


def _welcome(own: Edge, identity: Identity, ref: str) -> says.Welcome:
    return says.Welcome(
        mode=own.callers.mode,
        tenant=identity.caller.tenant,
        actor=identity.caller.actor,
        permissions=sorted(identity.caller.permissions),
        expires_at=shown(identity.expires_at),
        ref=ref,
    )
