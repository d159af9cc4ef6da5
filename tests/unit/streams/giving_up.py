"""A process whose agent gives the second message up; prints how far was committed at its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import threading
from typing import Any

from domain.errors import StoreUnavailable
from streams import agents
from streams.agents import Binding, bind, one_at_a_time, two_at_a_time
from streams.app import create_faust_app, start, stop, watch
from streams.envelope import Outgoing
from streams.failpoints import Failpoints
from streams.transport.memory import MemoryBroker, memory_transport

READERS = {reader.__name__: reader for reader in (one_at_a_time, two_at_a_time)}


async def _handle(message: bytes) -> list[Outgoing]:
    if message == b"two":
        raise StoreUnavailable("away")
    return []


async def _send(outgoing: Outgoing) -> None:
    raise AssertionError(f"sent to {outgoing.topic}")


async def _live(broker: MemoryBroker, reader: str) -> None:
    app = create_faust_app(
        app_id="group", broker_url=str(broker.url), transport=memory_transport(broker)
    )
    binding: Binding[Any] = Binding(
        topic="work", decode=lambda value: value, handle=_handle, reader=READERS[reader]
    )
    bind(app, binding, _send, Failpoints(None))
    await start(app)
    try:
        for value in (b"one", b"two", b"three"):
            await app.producer.send_and_wait("work", b"job", value, 0, None, None)
        await watch(app)
    finally:
        await stop(app, drain=0.5)


def main(reader: str) -> None:
    agents.MAX_TRIES = 2
    broker = MemoryBroker()
    broker.create_topic("work", 1)

    def tell() -> None:
        print(json.dumps(list(broker.committed("group").values())), flush=True)
        os._exit(0)

    # As the last resort of ours (streams/supervised.py): a task may be left that never ends.
    last_resort = threading.Timer(10.0, tell)
    last_resort.daemon = True
    last_resort.start()
    with contextlib.suppress(SystemExit):
        asyncio.run(_live(broker, reader))
    tell()


if __name__ == "__main__":
    main(*sys.argv[1:])
