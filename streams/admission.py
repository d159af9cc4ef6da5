"""Admission: what must be so before a job is taken in: permissions, and quotas of the tenant.

Here and not at the edge: by whichever way a job's items come, they come by the gateway.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Connection, bindparam, select

from domain.errors import QuotaExceeded
from domain.permissions import Permission
from domain.ports import Clock
from domain.registry import Registry
from streams.callers import Caller
from streams.quotas import QuotaTable
from streams.stores import usage
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

    async def allowance(self, tenant: str, key: str | None = None) -> Allowance:
        """What of items the tenant may still store; those of a known key it has stored already.

        Such a body is no larger than all that it may have: else it is another one.
        """
        quotas = self._quotas.of(tenant)
        if not quotas.of_items:
            return UNLIMITED
        now = self._clock.now()
        day = now.replace(hour=0, minute=0, second=0, microsecond=0)
        used = Usage(0, 0)
        if not await self._is_known(tenant, key):
            used = await self._database.read(lambda c: usage.of(c, tenant, day.timestamp()))
        return Allowance(
            tenant=tenant,
            items=_left(quotas.items_a_day, used.items_today),
            size=_left(quotas.stored_bytes, used.bytes),
            until=(day + timedelta(days=1) - now).total_seconds(),
        )

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
