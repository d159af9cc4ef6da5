"""Tickets: for who cannot send a header, as a browser's EventSource, to open one live stream.

A token in an address would be in histories and logs for as long as it is good. A ticket is
good once, for half a minute, for the stream of one job or for what tells of all of a tenant's,
and allows what its owner is allowed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from domain.ports import Clock
from streams.identity.identity import Identity, refused, with_grants
from streams.stores import tickets as store
from streams.stores.database import Database
from streams.stores.tickets import TicketRow

SECONDS: Final = 30.0
ALL: Final = "*"
"""Stands for all jobs of the tenant, where others are for the stream of one; no id looks so."""
_TICKET = re.compile(r"cmt_[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Ticket:
    """A new one; ``ends`` is in seconds since the epoch."""

    text: str
    ends: float


class Tickets:
    """Issues and redeems tickets, by whichever process."""

    def __init__(self, database: Database, clock: Clock, draw: Callable[[int], str]) -> None:
        self._database = database
        self._clock = clock
        self._draw = draw

    async def issue(self, identity: Identity, job_id: str) -> Ticket:
        """A ticket for the stream of a job, or of ``ALL``, which the caller may view."""
        text, caller = f"cmt_{self._draw(32)}", identity.caller
        ends = self._now() + SECONDS
        row = TicketRow(
            ticket=_digest(text),
            job_id=job_id,
            tenant=caller.tenant,
            actor=caller.actor,
            permissions=" ".join(caller.grants),
            ends=ends,
            proof_ends=identity.expires_at,
            key_id=identity.key_id,
            key_digest=identity.digest,
        )
        await self._database.write(lambda found: store.insert(found, row))
        return Ticket(text, ends)

    async def redeem(self, text: str, job_id: str) -> Identity:
        """Whose ticket it was; raises CredentialRefused for one that is not good any more."""
        row = None
        if _TICKET.fullmatch(text) is not None:
            digest, now = _digest(text), self._now()
            row = await self._database.write(lambda c: store.take(c, digest, job_id, now))
        if row is None:
            raise refused("the ticket is over, was used, or is for another stream; ask for one")
        caller = with_grants(row.tenant, row.actor, row.permissions.split())
        return Identity(caller, row.proof_ends, key_id=row.key_id, digest=row.key_digest)

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
