"""Admission: what must be so before a job is taken in: permissions, and quotas of the tenant.

Here and not at the edge: by whichever way a job's items come, they come by the gateway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from weakref import WeakValueDictionary

from sqlalchemy import Connection, bindparam, select

from domain.errors import QuotaExceeded
from domain.permissions import Permission
from domain.ports import Clock
from domain.registry import Registry
from streams.callers import Caller
from streams.quotas import QuotaTable
from streams.stores import payloads, usage
from streams.stores.database import Database
from streams.stores.decisions import is_reserved
from streams.stores.schema import job_control
from streams.stores.statements import fixed
from streams.stores.usage import Usage
from streams.uploading import UNLIMITED, Allowance

_KIND = fixed(
    select(job_control.c.operation).where(
        job_control.c.job_id == bindparam("job_id"), job_control.c.tenant == bindparam("tenant")
    )
)


SETTLED_SECONDS = 60.0
"""How long most uploads are done within. One that still comes counts as far as it had come."""
SUMMED_SECONDS = 60.0
TENANTS_KEPT = 1000


@dataclass(frozen=True, slots=True)
class _Summed:
    """What a tenant has used of what began to come before ``mark``; ``since`` the day began."""

    used: Usage
    since: float
    mark: float

    def holds(self, since: float, now: float) -> bool:
        """Whether it is of this day and new enough; a clock that is set back makes it too new."""
        age = now - self.mark - SETTLED_SECONDS
        return since == self.since and 0 <= age < SUMMED_SECONDS


class Admission:
    """Raises PermissionLacking for callers who may not run an operation that is destructive.

    Raises QuotaExceeded where the tenant has, or would have, more than its quota. Parallel
    submits may pass together; what one of them stores counts for the next.
    """

    def __init__(
        self, database: Database, registry: Registry, clock: Clock, quotas: QuotaTable
    ) -> None:
        self._database = database
        self._registry = registry
        self._clock = clock
        self._quotas = quotas
        self._summed: dict[str, _Summed] = {}
        # A lock lives as long as somebody holds it or waits for it.
        self._summing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def begin(
        self, caller: Caller, kinds: Sequence[str], key: str | None = None, *, jobs: int = 1
    ) -> None:
        """Before a job of these operations begins; what is not registered destroys nothing.

        A batch brings several ``jobs`` at once. Whoever repeats a key is told of the job that
        there is, whatever it has used up.
        """
        self._check_kinds(caller, kinds)
        most = self._quotas.of(caller.tenant).open_jobs
        if most is None or await self._is_known(caller.tenant, key):
            return
        if jobs > max(most, 1):
            raise QuotaExceeded(
                f"the batch brings {jobs} jobs, and the tenant may have {most} open ones; submit "
                "fewer steps together, or have the quota raised"
            )
        found = await self._database.read(lambda c: usage.open_jobs(c, caller.tenant, most))
        if found + jobs > most:
            raise QuotaExceeded(
                f"tenant {caller.tenant} has {found} open jobs, and may have {most}; wait until "
                "some have ended"
            )

    async def check_job(self, caller: Caller, job_id: str) -> None:
        """Before a job is given items; one that the tenant does not have is refused later."""
        if Permission.RUN_DESTRUCTIVE in caller.permissions:
            return

        def kind(connection: Connection) -> str | None:
            found: str | None = _KIND.run(connection, job_id=job_id, tenant=caller.tenant).scalar()
            return found

        operation = await self._database.read(kind)
        self._check_kinds(caller, [] if operation is None else [operation])

    async def has_sent(self, tenant: str, key: str | None) -> bool:
        """Whether items that come under a key may have been counted; as ``allowance`` asks it.

        Where nothing limits what is stored nobody looks.
        """
        return self._quotas.of(tenant).of_items and await self._is_known(tenant, key)

    async def has_part(self, tenant: str, job_id: str, part: int) -> bool:
        """As ``has_sent``, of a part of a draft."""
        if not self._quotas.of(tenant).of_items:
            return False
        return await self._database.read(lambda c: payloads.has_part(c, tenant, job_id, part))

    async def allowance(self, tenant: str, *, again: bool = False) -> Allowance:
        """What of items the tenant may still store; what comes ``again`` it has stored already.

        Such a body is no larger than all that it may have: else it is another one. Whoever
        receives it leaves no copy of it.
        """
        quotas = self._quotas.of(tenant)
        if not quotas.of_items:
            return UNLIMITED
        now = self._clock.now()
        day = now.replace(hour=0, minute=0, second=0, microsecond=0)
        used = Usage(0, 0)
        if not again:
            used = await self._used(tenant, day.timestamp(), now.timestamp())
        return Allowance(
            tenant=tenant,
            items=_left(quotas.items_a_day, used.items_today),
            size=_left(quotas.stored_bytes, used.bytes),
            until=(day + timedelta(days=1) - now).total_seconds(),
        )

    async def _used(self, tenant: str, since: float, now: float) -> Usage:
        """What is older is summed once a minute, what is new each time, whoever has stored it."""
        older = await self._older(tenant, since, now)
        recent = await self._database.read(
            lambda c: usage.after(c, tenant, since, older.mark), single=True
        )
        return older.used + recent

    async def _older(self, tenant: str, since: float, now: float) -> _Summed:
        known = self._summed.get(tenant)
        if known is not None and known.holds(since, now):
            return known
        lock = self._summing.setdefault(tenant, asyncio.Lock())
        if known is not None and known.since == since and lock.locked():
            # Somebody sums it anew, and nobody need wait for that.
            return known
        async with lock:
            known = self._summed.get(tenant)
            if known is not None and known.holds(since, now):
                return known
            mark = now - SETTLED_SECONDS
            used = await self._database.read(lambda c: usage.before(c, tenant, since, mark))
            return self._keep(tenant, _Summed(used, since, mark))

    def _keep(self, tenant: str, summed: _Summed) -> _Summed:
        self._summed.pop(tenant, None)
        self._summed[tenant] = summed
        if len(self._summed) > TENANTS_KEPT:
            del self._summed[next(iter(self._summed))]
        return summed

    async def _is_known(self, tenant: str, key: str | None) -> bool:
        if key is None:
            return False
        return await self._database.read(lambda found: is_reserved(found, tenant, key))

    def _check_kinds(self, caller: Caller, kinds: Sequence[str]) -> None:
        known = [self._registry.get(kind) for kind in kinds if kind in self._registry]
        if any(operation.destructive for operation in known):
            caller.demand(Permission.RUN_DESTRUCTIVE)


def _left(most: int | None, used: int) -> int | None:
    return None if most is None else max(most - used, 0)
