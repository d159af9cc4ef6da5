"""Webhooks and projects of nobody, for the edge over an engine in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from domain.errors import RecordNotFound, WebhookNotFound
from streams.callers import Caller
from streams.clock import SystemClock
from streams.stores.webhooks import WebhookRow
from streams.systems.annotations import Platform, Rows
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


class NoPlatform(Platform):
    """A platform without projects."""

    def __init__(self) -> None:
        super().__init__(NoRecords(), SystemClock())  # type: ignore[arg-type] - as above

    async def projects(
        self, caller: Caller, wanted: Mapping[str, Any], *, limit: int, offset: int
    ) -> Rows:
        return Rows([], 0)


class NoRecords:
    """Has no record, and takes none."""

    async def read(self, _work: Any) -> NoReturn:
        raise RecordNotFound("there is none")

    write = read
