"""The engine's process: the embedded engine and its HTTP edge on an inherited socket.

``python -m api.serve LISTENER LOCK READY LIFE`` is started by the supervisor
(:mod:`streams.supervisor`), with descriptors that it hands down.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
from collections.abc import Callable
from functools import partial

import structlog
from prometheus_client import CollectorRegistry

from api.app import create_app
from api.edge import Services
from api.server import serving
from domain.errors import DataDirectoryUnusable, PluginInvalid, SettingsInvalid
from streams.bootstrap import embedded
from streams.clock import TimeOrderedIds
from streams.logs import configure
from streams.settings import Settings, load
from streams.supervised import Inherited, run
from streams.supervisor import CHILD_MISCONFIGURED

YOUNG_OBJECTS = 50_000
"""A chunk of a thousand items makes some ten thousand objects; none of them is in a cycle."""


async def serve(settings: Settings, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Run until cancelled; then drain and return."""
    async with embedded(settings) as engine:
        services = Services(
            gateway=engine.gateway,
            queries=engine.queries,
            hub=engine.hub,
            vitals=engine.vitals,
            registry=engine.registry,
        )
        app = create_app(
            services, clock=engine.clock, ids=TimeOrderedIds(), metrics=CollectorRegistry()
        )
        async with serving(app, listener, drain=settings.drain):
            gc.freeze()
            ready()
            await asyncio.get_running_loop().create_future()


def main(descriptors: list[str]) -> int:
    """Run the process; returns its exit code."""
    log = structlog.get_logger("countermand")
    try:
        settings = load()
        configure(settings.log_level)
        gc.set_threshold(YOUNG_OBJECTS, 20, 50)
        listener, lock, ready, life = map(int, descriptors)
        run(
            partial(serve, settings),
            Inherited(listener=listener, lock=lock, ready=ready, life=life),
        )
    except (DataDirectoryUnusable, PluginInvalid, SettingsInvalid) as error:
        log.error("cannot_start", reason=error.message)
        print(f"countermand: {error.message}", file=sys.stderr)  # noqa: T201 - before any log
        return CHILD_MISCONFIGURED
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
