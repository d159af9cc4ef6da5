"""Letters: the dead-letter topic as an operator sees it, and letters that an older release left."""

from __future__ import annotations

import json
from collections.abc import Iterable

from aiokafka import AIOKafkaProducer

from streams import topics
from streams.deadletters import Burial, bury
from tests.kafka.clients import Message, Reader
from tests.kafka.installation import Installation


async def letter_about(reader: Reader, job_id: str) -> Message:
    """The next letter under the key of a job."""
    while True:
        letter = await reader.next()
        if letter.key == job_id.encode():
            return letter


def told(letter: Message) -> dict[str, str]:
    """The headers in which the engine says why it is here."""
    return {
        name: value.decode() for name, value in letter.headers if name.startswith("countermand-")
    }


async def leave(
    installation: Installation, values: Iterable[bytes], *, code: str, topic: str = topics.COMMANDS
) -> None:
    """Letters of these messages, as another release of the engine would have buried them."""
    async with AIOKafkaProducer(bootstrap_servers=installation.bootstrap, acks="all") as producer:
        for offset, value in enumerate(values):
            burial = Burial(
                topic=topic,
                partition=0,
                offset=offset,
                size=len(value),
                code=code,
                reason="it was too new for the release that met it",
            )
            job_id = json.loads(value)["job_id"]
            letter = bury(burial, job_id.encode(), value, (("trace", b"1"),))
            await producer.send(
                letter.topic, letter.value, key=letter.key, headers=list(letter.headers)
            )
