"""Places: whose messages may be on their way at the same time, so that nobody keeps out others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from streams.stores.webhook_deliveries import Delivery, Waiting
from streams.webhooks.sending import AT_ONCE

PER_TENANT: Final = 16
"""Attempts at once: a quarter of the places, so that nobody keeps all others from theirs."""
PER_WEBHOOK: Final = 4
"""For one whose attempts fail, one."""
Key = tuple[str, int]
"""A delivery: its webhook, and its place in the log."""


class Places:
    """How many attempts may begin now, by webhook, by tenant and in all."""

    def __init__(self, running: Sequence[Key], tenants: Mapping[str, str]) -> None:
        self._under_way: dict[str, list[int]] = {}
        for webhook_id, position in running:
            self._under_way.setdefault(webhook_id, []).append(position)
        self.tenants = {one: tenants[one] for one in self._under_way}
        self._taken = Counter(self.tenants[webhook_id] for webhook_id, _ in running)

    def of(self, webhook_id: str) -> list[int]:
        """What is on its way to a webhook."""
        return self._under_way.get(webhook_id, [])

    def rank(self, webhook: Waiting) -> tuple[bool, int, int]:
        """Smaller, the sooner it has its turn."""
        return webhook.failing, self._taken[webhook.tenant], len(self.of(webhook.webhook_id))

    def free(self, webhook: Waiting) -> int:
        """How many attempts it may begin."""
        own = (1 if webhook.failing else PER_WEBHOOK) - len(self.of(webhook.webhook_id))
        tenant = PER_TENANT - self._taken[webhook.tenant]
        return min(own, tenant, AT_ONCE - self._taken.total())

    def take(self, webhook: Waiting, due: Sequence[Delivery]) -> None:
        """These begin."""
        if due:
            self.tenants[webhook.webhook_id] = webhook.tenant
            self._taken[webhook.tenant] += len(due)
