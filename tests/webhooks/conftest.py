from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from streams.stores.database import Database
from streams.webhooks import posting
from tests.databases import database, database_url
from tests.webhooks.receiver import LOCAL, PostOffice, Receiver, receiving

__all__ = ["database", "database_url"]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as server:
        yield server


@pytest.fixture
async def office(database: Database) -> AsyncIterator[PostOffice]:
    async with posting(LOCAL) as post:
        yield PostOffice(database, post)
