"""What Faust is given: the transport, bound to its broker."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from faust.transport import base
from faust.types import AppT
from faust.types.transports import ConsumerCallback
from yarl import URL

from streams.transport.memory.broker import MemoryBroker
from streams.transport.memory.consumer import Consumer as MemoryConsumer
from streams.transport.memory.producer import Producer as MemoryProducer

__all__ = ["Transport", "memory_transport"]


class Transport(base.Transport):
    """Carries messages within the process.

    Faust makes it from a `memory://` address alone and then it has a broker of its own, which
    no other app sees. To share one, see `memory_transport`.
    """

    Consumer = MemoryConsumer
    Producer = MemoryProducer
    default_port = 0
    driver_version = "memory"

    def __init__(
        self,
        url: list[URL],
        app: AppT,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        broker: MemoryBroker | None = None,
    ) -> None:
        super().__init__(url, app, loop)
        self.broker = broker if broker is not None else MemoryBroker()

    def create_consumer(self, callback: ConsumerCallback, **kwargs: Any) -> MemoryConsumer:
        """Return the app's consumer."""
        return MemoryConsumer(self, callback=callback, loop=self.loop, broker=self.broker, **kwargs)

    def create_producer(self, **kwargs: Any) -> MemoryProducer:
        """Return the app's producer."""
        return MemoryProducer(self, broker=self.broker, **kwargs)


def memory_transport(broker: MemoryBroker) -> Callable[[list[URL], AppT], Transport]:
    """Return what makes the transport of one app over this broker."""
    return partial(Transport, broker=broker)
