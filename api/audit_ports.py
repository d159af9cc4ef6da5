"""Audit ports: what the edge asks of the audit trail."""

from __future__ import annotations

from typing import Protocol

from streams.stores.audit import Report


class Trail(Protocol):
    """The chain of a job's events; sees only the jobs of the tenant, else raises JobNotFound."""

    async def hashes(
        self, tenant: str, job_id: str, after: int, limit: int
    ) -> list[tuple[int, str]]:
        """So many versions behind ``after``, with the hashes of their events."""
        ...

    async def verify(self, tenant: str, job_id: str) -> tuple[Report, bool]:
        """What is found of a job, and whether the signed heads were at hand."""
        ...
