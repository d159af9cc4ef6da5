"""Awaiting: who waits in this process for the decision on a command."""

from __future__ import annotations

import asyncio

from streams.stores.decisions import Decision


class Waiting:
    """Wakes those who wait for a decision in this process."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[Decision | None]] = {}

    def tell(self, command_id: str, decision: Decision) -> None:
        """The decision on a command is stored, by this very process."""
        self._settle(command_id, decision)

    def hear(self, command_id: str, decision: Decision | None) -> None:
        """Another process says that the decision is stored; None is to be read."""
        self._settle(command_id, decision)

    def _settle(self, command_id: str, decision: Decision | None) -> None:
        waiting = self._waiting.get(command_id)
        if waiting is not None and not waiting.done():
            waiting.set_result(decision)

    def expect(self, command_id: str) -> asyncio.Future[Decision | None]:
        """A future for the decision; ``forget`` must follow."""
        return self._waiting.setdefault(command_id, asyncio.get_running_loop().create_future())

    def forget(self, command_id: str) -> None:
        """Nobody waits any more."""
        self._waiting.pop(command_id, None)
