"""Tracing, made as the settings say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from domain.errors import SettingsInvalid
from streams.settings import Settings
from streams.tracing import OFF, Tracing


def tracing_of(settings: Settings) -> Tracing:
    """What traces this process; raises SettingsInvalid when that is not installed."""
    if settings.tracing == "off":
        return OFF
    try:
        from streams import telemetry
    except ImportError:
        raise SettingsInvalid(
            "COUNTERMAND_TRACING takes OpenTelemetry: pip install 'countermand[tracing]', or leave "
            "the setting out"
        ) from None
    return telemetry.exporting("countermand", settings.instance)


@asynccontextmanager
async def closing(tracing: Tracing) -> AsyncIterator[None]:
    """Hand over at the end what was traced and is not there yet."""
    try:
        yield
    finally:
        await asyncio.to_thread(tracing.close)
