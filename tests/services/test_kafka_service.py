"""The Kafka fixtures keep what they promise."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from tests.services.kafka import KafkaCluster, KafkaFailed, create_topic, running_kafka

_CHECKOUT = Path(__file__).parents[2]


async def create(cluster: KafkaCluster) -> str:
    topic = f"service-{uuid.uuid4().hex}"
    await create_topic(cluster, topic)
    return topic


async def send(cluster: KafkaCluster, topic: str, value: bytes, *, patience: int = 30) -> None:
    async with AIOKafkaProducer(
        bootstrap_servers=cluster.bootstrap, acks="all", request_timeout_ms=patience * 1000
    ) as producer:
        await producer.send_and_wait(topic, value)


async def read(cluster: KafkaCluster, topic: str, count: int) -> list[bytes | None]:
    consumer = AIOKafkaConsumer(bootstrap_servers=cluster.bootstrap)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        await consumer.seek_to_beginning()
        async with asyncio.timeout(30):
            return [(await consumer.getone()).value for _ in range(count)]
    finally:
        await consumer.stop()


async def test_the_broker_runs_with_our_settings(kafka: KafkaCluster) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        wanted = ConfigResource(ConfigResourceType.BROKER, "1")
        (answer,) = await admin.describe_configs([wanted])
    finally:
        await admin.close()
    settings = {entry[0]: entry[1] for entry in answer.resources[0][4]}
    assert settings["auto.create.topics.enable"] == "false"
    assert settings["group.min.session.timeout.ms"] == "1000"
    assert settings["group.initial.rebalance.delay.ms"] == "0"
    assert settings["log.dirs"].startswith(str(kafka.folder))


def test_the_ports_are_not_among_those_of_outgoing_connections(kafka: KafkaCluster) -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for broker in kafka.brokers:
        assert max(broker.node.port, broker.node.controller_port) < lowest


def test_the_address_is_one_that_our_setting_takes(kafka: KafkaCluster) -> None:
    (broker,) = kafka.brokers
    assert kafka.url == f"kafka://127.0.0.1:{broker.node.port}"


@pytest.mark.crash
async def test_messages_outlive_a_kill_and_the_port_stays(kafka: KafkaCluster) -> None:
    topic = await create(kafka)
    await send(kafka, topic, b"before")
    (broker,) = kafka.brokers
    pid = broker.pid
    await asyncio.to_thread(broker.kill)
    assert not broker.is_running
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", broker.node.port), timeout=5)
    await asyncio.to_thread(broker.start)
    assert broker.pid != pid
    await send(kafka, topic, b"after")
    assert await read(kafka, topic, 2) == [b"before", b"after"]


async def test_a_frozen_broker_answers_once_it_is_thawed(kafka: KafkaCluster) -> None:
    topic = await create(kafka)
    (broker,) = kafka.brokers
    broker.freeze()
    try:
        sending = asyncio.ensure_future(send(kafka, topic, b"value"))
        done, _ = await asyncio.wait({sending}, timeout=0.5)
        assert not done
        assert broker.is_running
    finally:
        broker.thaw()
    await sending


def test_a_broker_that_runs_is_not_started_twice(kafka: KafkaCluster) -> None:
    with pytest.raises(KafkaFailed, match="is running already"):
        kafka.brokers[0].start()


async def test_messages_and_broker_outlive_the_thread_that_restarted_it(
    kafka: KafkaCluster,
) -> None:
    topic = await create(kafka)
    await send(kafka, topic, b"before")
    thread = threading.Thread(target=kafka.restart)
    thread.start()
    await asyncio.to_thread(thread.join)
    # The kernel would have sent its signal by the time that the thread is gone.
    assert kafka.brokers[0].is_running
    assert await read(kafka, topic, 1) == [b"before"]


def test_a_broker_that_cannot_start_tells_what_it_wrote(kafka: KafkaCluster) -> None:
    (broker,) = kafka.brokers
    broker.kill()
    try:
        with (
            socket.create_server(("127.0.0.1", broker.node.port)),
            pytest.raises(KafkaFailed, match=r"(?s)ended at its start:.*Address already in use"),
        ):
            broker.start()
    finally:
        kafka.start()


@pytest.mark.crash
@pytest.mark.service("kafka")
def test_the_broker_dies_with_a_killed_test_process() -> None:
    script = (
        "import time\n"
        "from tests.services.kafka import running_kafka\n"
        "with running_kafka() as cluster:\n"
        "    print(cluster.brokers[0].pid, cluster.folder.parent, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=_CHECKOUT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        pid, folder = process.stdout.readline().split()
        assert Path("/proc", pid).exists()
        process.send_signal(signal.SIGKILL)

    _wait_until_gone(pid)
    with running_kafka() as cluster:
        assert not Path(folder).exists(), "the next one tidies up after the killed one"
        survivor = cluster.brokers[0].pid
    assert not cluster.folder.parent.exists()
    assert not Path("/proc", str(survivor)).exists()


def _wait_until_gone(pid: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        # A zombie has ended; whether anybody collects it is up to the machine's init.
        status = Path("/proc", pid, "status")
        if not status.exists() or re.search(r"^State:\s+Z", status.read_text(), re.MULTILINE):
            return
        time.sleep(0.05)
    raise AssertionError("the broker outlived the test process")


@pytest.mark.crash
async def test_of_three_brokers_one_may_die_and_not_two(kafka_of_three: KafkaCluster) -> None:
    cluster = kafka_of_three
    assert (len(cluster.brokers), cluster.replication) == (3, 3)
    topic = await create(cluster)
    one, other, _ = cluster.brokers
    await asyncio.to_thread(one.kill)
    await send(cluster, topic, b"one is dead")
    await asyncio.to_thread(other.kill)
    # Which of them depends on who led the partition.
    with pytest.raises(KafkaError):
        await send(cluster, topic, b"two are dead", patience=3)
    await asyncio.to_thread(cluster.start)
    await send(cluster, topic, b"all are back")
    assert (await read(cluster, topic, 2))[0] == b"one is dead"


def test_a_whole_cluster_can_be_stopped_in_order(kafka_of_three: KafkaCluster) -> None:
    kafka_of_three.restart()
    assert all(broker.is_running for broker in kafka_of_three.brokers)
