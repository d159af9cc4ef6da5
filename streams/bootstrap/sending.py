"""Sending: webhooks and what delivers to them, made as the settings say."""

from __future__ import annotations

import asyncio
import os
import random

from streams.bootstrap.parts import Base, Engine
from streams.clock import TimeOrderedIds
from streams.settings import Settings
from streams.webhooks import Addresses, Courier, Delivered, Webhooks, posting


def webhooks_of(settings: Settings, engine: Engine) -> Webhooks:
    """For a server whose callers administer webhooks."""
    return Webhooks(
        database=engine.database,
        clock=engine.clock,
        ids=TimeOrderedIds(),
        draw=os.urandom,
        addresses=_addresses(settings),
    )


async def deliver(base: Base, news: asyncio.Event, delivered: Delivered) -> None:
    """Deliver for as long as this process is the one that does."""
    async with posting(_addresses(base.settings)) as post:
        courier = Courier(
            database=base.database,
            recorder=base.recorder,
            mapper=base.jobs.job_mapper,
            clock=base.clock,
            draw=random.random,
            post=post,
            delivered=delivered,
            news=news,
            failpoints=base.failpoints,
            tracing=base.tracing,
        )
        await courier.run()


def _addresses(settings: Settings) -> Addresses:
    return Addresses.of(settings.webhook_networks, http=settings.webhook_http)
