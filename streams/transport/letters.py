"""Letters: messages of one topic that are sent together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

Letter = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]
"""Key, value and headers."""


class SendsTogether(Protocol):
    """What the producers of our transports can do beside what Faust asks of them."""

    async def send_together(self, topic: str, letters: Sequence[Letter]) -> None:
        """Send messages, and wait until all are there; those with one key keep their order.

        It raises what ``send`` raises. Some may have been delivered then, and none has
        overtaken another that has its key.
        """
        ...
