"""Too large: refused at the producer; what a producer of larger limits brings about is bounded."""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager
from typing import Any

import confluent_kafka
import pytest
from aiokafka.errors import MessageSizeTooLargeError

from streams.redriving import Run, redrive_all
from streams.topics import MAX_LETTER_BYTES, MAX_MESSAGE_BYTES
from streams.transport.kafka.admin import CONFIGS
from tests.kafka.clients import Aiokafka, Client, Confluent
from tests.kafka.contract import Contract
from tests.kafka.installation import Installation
from tests.kafka.letters import letter_about, told
from tests.kafka.stranger import Stranger, listening

SPEC = {"operation": "annotations.create_projects"}
BROKERS_LIMIT = int(CONFIGS["max.message.bytes"])
BETWEEN = (MAX_LETTER_BYTES + BROKERS_LIMIT) // 2
"""More than the document allows, less than the broker refuses."""

Opened = AbstractAsyncContextManager[Client]


def part_of(stranger: Stranger, size: int) -> dict[str, Any]:
    """A part of a draft, of that many bytes as JSON."""
    first, second = {"name": "one", "description": ""}, {"name": "two", "description": ""}
    source = {"kind": "inline", "items": [first, second]}
    command = stranger.made("AppendItems", part=0, source=source)
    room = size - len(json.dumps(command))
    first["description"], second["description"] = "x" * (room // 2), "y" * (room - room // 2)
    return command


def unlimited(kind: type[Aiokafka] | type[Confluent], bootstrap: str) -> Opened:
    """A client whose own limit is far above the broker's."""
    limit = {Aiokafka: "max_request_size", Confluent: "message.max.bytes"}[kind]
    return kind(bootstrap, **{limit: 10 * BROKERS_LIMIT})


async def left_of(installation: Installation, code: str) -> int:
    """How many letters of a code cannot be sent again."""
    run = Run(code=code, systems=["annotations"], dry=True)
    return (await redrive_all(installation.kafka.url, run)).left


def is_refusal(error: BaseException) -> bool:
    if isinstance(error, confluent_kafka.KafkaException):
        return error.args[0].code() == confluent_kafka.KafkaError.MSG_SIZE_TOO_LARGE
    return isinstance(error, MessageSizeTooLargeError)


@pytest.mark.parametrize("limit", ["client", "broker"])
@pytest.mark.parametrize("kind", [Aiokafka, Confluent], ids=["aiokafka", "confluent-kafka"])
async def test_what_is_too_large_is_refused_at_the_producer(
    contract: Contract,
    installation: Installation,
    kind: type[Aiokafka] | type[Confluent],
    limit: str,
) -> None:
    ours = kind(installation.bootstrap)
    client = ours if limit == "client" else unlimited(kind, installation.bootstrap)
    job_id = f"too-large-{kind.__name__}-{limit}"
    async with client as opened, listening(opened, contract, job_id) as stranger:
        await stranger.command("OpenJob", spec=SPEC)
        with pytest.raises((MessageSizeTooLargeError, confluent_kafka.KafkaException)) as refused:
            await stranger.send(part_of(stranger, BROKERS_LIMIT + 1))
        assert is_refusal(refused.value)

        # The remedy of the document: smaller parts. A refused one has left nothing behind.
        allowed = contract.document["x-limits"]["message_bytes"] - 1_000
        part = await stranger.send(part_of(stranger, allowed))
        seal = await stranger.command("SealJob", items=2)
        assert [said["problem"] for said in await stranger.decided([part, seal])] == [None, None]


async def test_what_only_the_document_forbids_is_handled_or_kept(
    contract: Contract, installation: Installation
) -> None:
    client = unlimited(Aiokafka, installation.bootstrap)
    async with (
        client as opened,
        listening(opened, contract, "between") as stranger,
        opened.reading(contract.topic("dead"), past=False) as letters,
    ):
        await stranger.command("OpenJob", spec=SPEC)
        wrong = part_of(stranger, BETWEEN)
        value = json.dumps(wrong | {"beyond": 1}).encode()
        left = await left_of(installation, "unreadable")
        await stranger.send_bytes(value)
        letter = await letter_about(letters, "between")
        (answer,) = await stranger.decided([wrong["command_id"]])
        assert (answer["status"], answer["problem"]["code"]) == ("refused", "unreadable")
        # The letter is cut to what a letter may be, says so, and is not sent again as it is.
        kept = letter.value or b""
        assert value.startswith(kept)
        assert MAX_MESSAGE_BYTES - 1_000 < len(kept) < len(value)
        assert told(letter)["countermand-size"] == str(len(value))
        assert await left_of(installation, "unreadable") == left + 1

        part = await stranger.send(part_of(stranger, BETWEEN))
        seal = await stranger.command("SealJob", items=2)
        assert [said["problem"] for said in await stranger.decided([part, seal])] == [None, None]
