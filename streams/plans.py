"""Plans: what finished dry runs have found, and their items for the jobs that apply them."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection

from domain.commands import JobSpec
from domain.errors import PlanChanged, WrongState
from domain.job import Job
from domain.options import OnDeadline, Plan
from domain.ranges import Ranges
from domain.registry import Registry
from streams import planned
from streams.queries import Queries
from streams.stores import payloads, plans
from streams.stores.database import Database
from streams.stores.payloads import PayloadReader
from streams.stores.plans import ChangedTarget, StoredPlan

WINDOW = 5000


@dataclass(frozen=True, slots=True)
class PlanView:
    """A plan as it stands; ``changed`` are the first few records that are no longer the same.

    ``validated_only`` says that nothing was applied, since it could not have been rolled back.
    """

    job: Job
    digest: str
    validated_only: bool
    changed: list[ChangedTarget]
    more: bool
    applied_by: str | None


class Plans:
    """Reads plans; raises JobNotFound for a job that the tenant does not have."""

    def __init__(self, database: Database, queries: Queries, registry: Registry) -> None:
        self._database = database
        self._queries = queries
        self._registry = registry
        self._tables = planned.tables_of(registry)

    async def plan(self, tenant: str, job_id: str) -> PlanView:
        """The plan of a finished dry run, and whether it still holds."""
        job = await self._finished(tenant, job_id)
        stored = await self._stored(job)
        changed = await self._database.read(
            lambda found: plans.changed_targets(found, job.id, tenant, self._tables)
        )
        operation = self._registry.get(job.spec.operation)
        return PlanView(
            job=job,
            digest=stored.digest,
            validated_only=not operation.may_be_rehearsed,
            changed=changed[: plans.NAMED],
            more=len(changed) > plans.NAMED,
            applied_by=stored.applied_by,
        )

    async def to_apply(self, tenant: str, job_id: str, digest: str | None) -> JobSpec:
        """The job that does what a dry run has planned; ``digest`` is what the caller has seen."""
        job = await self._finished(tenant, job_id)
        stored = await self._stored(job)
        if digest is not None and digest != stored.digest:
            raise PlanChanged(
                f"the digest of plan {job.id} is {stored.digest}; look at it again",
                pointer="/digest",
            )
        plan = Plan(job_id=job.id, digest=stored.digest)
        # The moments were those of the dry run, and it has its items, wherever they came from.
        without = {"start_at": None, "deadline": None, "on_deadline": OnDeadline.WARN}
        after = tuple(each.model_copy(update={"consume": {}}) for each in job.options.after)
        changed = {"dry_run": False, "plan": plan, "after": after, **without}
        options = job.options.model_copy(update=changed)
        # A job of its own, of whichever batch the dry run was a step.
        alone = {"options": options, "select": None, "parent": None}
        return job.spec.model_copy(update=alone)

    async def lines(self, tenant: str, job_id: str) -> AsyncIterator[bytes]:
        """The items of a job as they were sent, in blocks of NDJSON."""
        await self._queries.job(tenant, job_id)
        async for block in self._lines(job_id):
            yield block

    async def _lines(self, job_id: str) -> AsyncIterator[bytes]:
        reader = PayloadReader()
        total = await self._database.read(lambda found: payloads.items_of(found, job_id))
        for first in range(0, total, WINDOW):
            span = Ranges.span(first, min(first + WINDOW, total))
            yield await self._database.read(partial(_block, reader, job_id, span))

    async def _finished(self, tenant: str, job_id: str) -> Job:
        job = await self._queries.job(tenant, job_id)
        if not job.options.dry_run:
            raise WrongState(
                f"the job is {job.status} and no dry run, so there is no plan to apply; "
                f"possible: {', '.join(job.possible()) or 'nothing'}"
            )
        job.check("apply")
        return job

    async def _stored(self, job: Job) -> StoredPlan:
        """The digests, worked out when they are first asked for: nothing of it changes later."""
        found = await self._database.read(lambda connection: plans.find_plan(connection, job.id))
        if found is not None:
            return found
        contents = planned.contents_of(job.spec, await self._items_sha256(job))
        items = job.counts.total
        digest = await self._database.read(
            lambda connection: plans.digest_of(connection, job.id, contents, items)
        )
        plan = StoredPlan(job.id, job.tenant, contents, digest)
        await self._database.write(lambda connection: plans.keep_plan(connection, plan))
        return plan

    async def _items_sha256(self, job: Job) -> str:
        """The digest that the items have when they are sent in one piece."""
        if not job.parts:
            known = await self._database.read(
                lambda connection: payloads.part_digest(connection, job.id, 0)
            )
            if known is not None:
                return known
        digest = hashlib.sha256()
        async for block in self._lines(job.id):
            digest.update(block)
        return digest.hexdigest()


def _block(reader: PayloadReader, job_id: str, span: Ranges, connection: Connection) -> bytes:
    return b"".join(line + b"\n" for line in reader.lines(connection, job_id, span))
