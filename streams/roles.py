"""Roles: the kinds of processes. Imports nothing, since the command line names them."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """``serve`` is all the others in one process."""

    SERVE = "serve"
    API = "api"
    COORDINATOR = "coordinator"
    WORKER = "worker"
