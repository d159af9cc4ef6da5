"""Pacing: the rates of a server, made as the settings say."""

from __future__ import annotations

from limits.aio.storage import MemoryStorage, Storage

from streams.bootstrap.parts import Engine
from streams.rates import Rate
from streams.roles import Role
from streams.settings import Settings
from streams.stores.rates import SharedWindows


def rates_of(settings: Settings, engine: Engine, role: Role) -> tuple[Rate | None, Rate | None]:
    """How often callers may call, and how often they may show what is refused.

    Counted in memory by a process that answers alone, and else in the database.
    """
    alone = role is Role.SERVE
    storage: Storage = MemoryStorage() if alone else SharedWindows(engine.database, engine.clock)
    wanted = (settings.rate_limit, settings.rate_failures)
    calls, failures = (Rate.of(text, engine.clock, storage) if text else None for text in wanted)
    return calls, failures
