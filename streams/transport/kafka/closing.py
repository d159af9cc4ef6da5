"""Ends of Kafka clients: none waits for ever for a broker that is away."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

__all__ = ["CLOSE_SECONDS", "OPEN_SECONDS", "close_consumer", "close_producer"]

OPEN_SECONDS: Final = 10.0
"""How long a broker that takes connections may be silent at the start of a client."""
CLOSE_SECONDS: Final = 5.0
"""How long a client may take to say goodbye; then it leaves without."""
LAST_SECONDS: Final = 1.0


async def close_producer(producer: Any) -> None:
    """Deliver what is pending and close; what cannot be delivered in time fails."""
    if not await _ends(producer.stop(), CLOSE_SECONDS):
        producer._message_accumulator.fail_all(TimeoutError("closed while the broker was away"))
        await _ends(producer._sender.close(), LAST_SECONDS)
        await _ends(producer.client.close(), LAST_SECONDS)


async def close_consumer(consumer: Any) -> None:
    """Leave the group and close; without a farewell, the group notices the silence."""
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
