"""Permitting: who may run what. What destroys takes a permission of its own."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, select

from domain.permissions import Permission
from domain.registry import Registry
from streams.callers import Caller
from streams.stores.database import Database
from streams.stores.schema import job_control
from streams.stores.statements import fixed

_KIND = fixed(
    select(job_control.c.operation).where(
        job_control.c.job_id == bindparam("job_id"), job_control.c.tenant == bindparam("tenant")
    )
)


class Permits:
    """Raises PermissionLacking for callers who may not run an operation that is destructive.

    Here and not at the edge: by whichever way a job's items come, they come by the gateway.
    """

    def __init__(self, database: Database, registry: Registry) -> None:
        self._database = database
        self._registry = registry

    def check_kinds(self, caller: Caller, kinds: Sequence[str]) -> None:
        """Before a job of these operations begins; what is not registered destroys nothing."""
        known = [self._registry.get(kind) for kind in kinds if kind in self._registry]
        if any(operation.destructive for operation in known):
            caller.demand(Permission.RUN_DESTRUCTIVE)

    async def check_job(self, caller: Caller, job_id: str) -> None:
        """Before a job is given items; one that the tenant does not have is refused later."""
        if Permission.RUN_DESTRUCTIVE in caller.permissions:
            return

        def kind(connection: Connection) -> str | None:
            found: str | None = _KIND.run(connection, job_id=job_id, tenant=caller.tenant).scalar()
            return found

        operation = await self._database.read(kind)
        self.check_kinds(caller, [] if operation is None else [operation])
