"""Webhooks of nobody, for the edge over an engine in memory."""

from __future__ import annotations

from typing import Any, NoReturn

from domain.errors import WebhookNotFound
from streams.clock import SystemClock
from streams.stores.webhooks import WebhookRow
from streams.webhooks import Addresses, Webhooks
from tests.webhooks.receiver import Hex


class NoDatabase:
    """Has no webhook, and takes none."""

    async def read(self, _work: Any) -> NoReturn:
        raise WebhookNotFound("there is none")

    write = read


class NoWebhooks(Webhooks):
    """A tenant without webhooks."""

    def __init__(self) -> None:
        super().__init__(
            database=NoDatabase(),  # type: ignore[arg-type] - it is asked for nothing else
            clock=SystemClock(),
            ids=Hex(),
            draw=bytes,
            addresses=Addresses(),
        )

    async def page(self, tenant: str, after: str, limit: int) -> list[WebhookRow]:
        return []
