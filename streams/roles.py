"""Roles: the kinds of processes. Imports nothing, since the command line names them."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """``serve`` is all the others in one process."""

    SERVE = "serve"
    API = "api"
    COORDINATOR = "coordinator"
    WORKER = "worker"

    @property
    def serves_callers(self) -> bool:
        """Whether jobs are asked for here; the others serve their health alone."""
        return self in (Role.SERVE, Role.API)
