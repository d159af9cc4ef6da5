"""What the memory transport costs: `python -m benchmarks.memory_transport [messages]`."""

import asyncio
import statistics
import sys
import time
from collections.abc import Callable

import faust

from streams.app import create_faust_app, start, stop
from streams.transport.memory import MemoryBroker, memory_transport

TOPIC = "work"
PARTITIONS = 4
VALUE = b"v" * 300
KEYS = [f"job-{number}".encode() for number in range(64)]


def make_app(broker: MemoryBroker, app_id: str, on_value: Callable[[bytes], None]) -> faust.App:
    app = create_faust_app(
        app_id=app_id, broker_url=str(broker.url), transport=memory_transport(broker)
    )

    async def consume(stream: faust.StreamT[bytes]) -> None:
        async for value in stream:
            on_value(value)

    app.agent(app.topic(TOPIC), name=app_id)(consume)
    return app


def make_broker() -> MemoryBroker:
    broker = MemoryBroker(max_backlog_bytes=1 << 30)
    broker.create_topic(TOPIC, PARTITIONS)
    return broker


async def lifecycle(rounds: int = 20) -> tuple[list[float], list[float]]:
    starts, stops = [], []
    for number in range(rounds):
        app = make_app(make_broker(), f"life-{number}", lambda _: None)
        began = time.perf_counter()
        await start(app)
        started = time.perf_counter()
        await asyncio.sleep(0.02)
        stopping = time.perf_counter()
        await stop(app, drain=5)
        starts.append((started - began) * 1000)
        stops.append((time.perf_counter() - stopping) * 1000)
    return starts, stops


class Stopwatch:
    """Wall time and our own CPU time; on a busy machine only the second tells."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def report(self, label: str, messages: int) -> None:
        wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        print(f"{label} {messages / wall:,.0f} msg/s, {cpu / messages * 1e6:.1f} us CPU a message")


async def send_many(sender: faust.App, messages: int, *, awaited: bool) -> None:
    send = sender.producer.send
    for number in range(messages):
        sent = await send(TOPIC, KEYS[number % 64], VALUE, None, None, None)
        if awaited:
            await sent


async def throughput(messages: int) -> None:
    broker, seen, done = make_broker(), 0, asyncio.Event()

    def count(_: bytes) -> None:
        nonlocal seen
        seen += 1
        if seen == messages:
            done.set()

    sender = create_faust_app(
        app_id="sender",
        broker_url=str(broker.url),
        transport=memory_transport(broker),
        producer_only=True,
    )
    await start(sender)
    watch = Stopwatch()
    await send_many(sender, messages, awaited=False)
    watch.report("produce      ", messages)

    app = make_app(broker, "consumer", count)
    watch = Stopwatch()
    await start(app)
    await done.wait()
    watch.report("consume      ", messages)

    seen = 0
    done.clear()
    watch = Stopwatch()
    await send_many(sender, messages, awaited=True)
    await done.wait()
    watch.report("awaited, both", messages)
    await stop(app, drain=5)
    await stop(sender, drain=5)


async def ping(rounds: int = 2000) -> list[float]:
    broker, took = make_broker(), []
    arrived = asyncio.Event()
    app = make_app(broker, "ping", lambda _: arrived.set())
    await start(app)
    for number in range(rounds):
        arrived.clear()
        began = time.perf_counter()
        await app.producer.send(TOPIC, KEYS[number % 64], VALUE, None, None, None)
        await arrived.wait()
        took.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(0.0005)
    await stop(app, drain=5)
    return took


async def idle(seconds: float = 10.0) -> float:
    app = make_app(make_broker(), "idle", lambda _: None)
    await start(app)
    await asyncio.sleep(1)
    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.sleep(seconds)
    share = (time.process_time() - cpu) / (time.perf_counter() - wall) * 100
    await stop(app, drain=5)
    return share


async def main(messages: int) -> None:
    starts, stops = await lifecycle()
    print(f"start ms      p50 {statistics.median(starts):.1f}  worst {max(starts):.1f}")
    print(f"stop ms       p50 {statistics.median(stops):.1f}  worst {max(stops):.1f}")
    took = sorted(await ping())
    print(f"ping ms       p50 {took[len(took) // 2]:.3f}  p99 {took[len(took) * 99 // 100]:.3f}")
    await throughput(messages)
    print(f"idle CPU %    {await idle():.2f}")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 60_000))
