"""Looking: what a worker of the coordinator's own process has worked is recorded at once.

The hint that would say so goes through a topic to whoever drives the job. In one process that is
the same one, so the worker has it look before it takes its next message, and sends no hint. Not
of a job that is being seen to, or of which more is to be done: that is looked at in its turn.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import structlog

from domain.errors import Unavailable
from streams import topics
from streams.envelope import Outgoing, Work

log = structlog.get_logger(__name__)


class Looks(Protocol):
    """A coordinator."""

    def may_look(self, job_id: str) -> bool:
        """Whether a job may be looked at outside the order of its commands."""
        ...

    async def look_aside(self, job_id: str) -> list[Outgoing]:
        """Record what was worked of a job, and say what is to be sent now."""
        ...


class LookingWorker:
    """A worker whose work is recorded with it."""

    def __init__(self, works: Callable[[Work], Awaitable[list[Outgoing]]], stage: Looks) -> None:
        self._works = works
        self._stage = stage

    async def handle(self, work: Work) -> list[Outgoing]:
        """Work the chunks of one message, and record them; returns what is left to send."""
        return await self._looked(work.job_id, await self._works(work))

    async def _looked(self, job_id: str, sent: Sequence[Outgoing]) -> list[Outgoing]:
        others = [one for one in sent if one.topic != topics.COMMANDS]
        if len(others) == len(sent) or not self._stage.may_look(job_id):
            return list(sent)
        try:
            return [*others, *await self._stage.look_aside(job_id)]
        except Unavailable as error:
            # Its hint has it looked at as often as it takes.
            log.warning("not_looked_at", job_id=job_id, reason=error.message)
        except Exception:
            # The work is done and stored; whatever is wrong is the look's.
            log.exception("not_looked_at", job_id=job_id)
        return list(sent)
