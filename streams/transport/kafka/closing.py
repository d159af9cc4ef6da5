"""Ends of Kafka clients: none waits for ever for a broker that is away."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

__all__ = ["CLOSE_SECONDS", "OPEN_SECONDS", "close_consumer", "close_producer", "close_promptly"]

OPEN_SECONDS: Final = 10.0
"""How long a broker that takes connections may be silent at the start of a client."""
CLOSE_SECONDS: Final = 5.0
"""How long a client may take to say goodbye; then it leaves without."""
LAST_SECONDS: Final = 1.0


def close_promptly(client: Any) -> None:
    """Have a client that has nothing to send any more cut its connections by TLS.

    It would wait for the other end's farewell, and a broker reads none while it gathers for a
    poll, or waits for members of a group.
    """
    close = client.close

    async def closed() -> None:
        for connection in client._conns.values():
            writer = connection._writer
            if writer is not None and writer.get_extra_info("ssl_object") is not None:
                writer.transport.abort()
        await close()

    client.close = closed


async def close_producer(producer: Any) -> None:
    """Deliver what is pending and close; what cannot be delivered in time fails."""
    close_promptly(producer.client)
    if not await _ends(producer.stop(), CLOSE_SECONDS):
        producer._message_accumulator.fail_all(TimeoutError("closed while the broker was away"))
        await _ends(producer._sender.close(), LAST_SECONDS)
        await _ends(producer.client.close(), LAST_SECONDS)


async def close_consumer(consumer: Any) -> None:
    """Leave the group and close; without a farewell, the group notices the silence."""
    close_promptly(consumer._client)
    if not await _ends(consumer.stop(), CLOSE_SECONDS):
        await _ends(consumer._client.close(), LAST_SECONDS)


async def _ends(closing: Coroutine[Any, Any, None], seconds: float) -> bool:
    """Whether it comes to its end in time and without an error.

    In a task of its own: aiokafka cancels its own tasks, awaits them, and lets that cancellation
    out, which would end whoever closes.
    """
    task = asyncio.ensure_future(closing)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        task.cancel()
    await asyncio.wait({task}, timeout=LAST_SECONDS)
    return task.done() and not task.cancelled() and task.exception() is None
