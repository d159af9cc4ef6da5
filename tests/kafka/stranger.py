"""Stranger: submits and listens by what the contract says. Imports nothing of ours."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tests.kafka.clients import Client, Message, Reader
from tests.kafka.contract import Contract

TENANT = "local"

Said = dict[str, Any]


@dataclass
class Stranger:
    """One job of a producer's own, and all that was heard of it, checked by the contract."""

    client: Client
    contract: Contract
    outcomes: Reader
    events: Reader
    job_id: str
    answers: dict[str, Said] = field(default_factory=dict)
    """By the command's id."""
    chunks: dict[int, Said] = field(default_factory=dict)
    """By number, as the completion and failure events tell."""
    kinds: set[str] = field(default_factory=set)
    """The types of outcome messages that came."""
    history: dict[int, Said] = field(default_factory=dict)
    """The job's events by version."""
    _numbers: Iterator[int] = field(default_factory=count)

    async def command(self, kind: str, **fields: Any) -> str:
        """Send a command; returns its id."""
        return await self.send(self.made(kind, **fields))

    def made(self, kind: str, **fields: Any) -> Said:
        """A command of this job, made from the contract's example of its kind."""
        example = self.contract.example(kind)
        own = {"job_id": self.job_id, "command_id": f"{self.job_id}.{next(self._numbers)}"}
        return {**example, "tenant": TENANT, "actor": "stranger", **own, **fields}

    async def send(self, command: Mapping[str, Any]) -> str:
        """Send a command as it is; returns its id."""
        value = json.dumps(command).encode()
        self.contract.check("commands", self.job_id.encode(), value)
        await self.send_bytes(value)
        return str(command["command_id"])

    async def send_bytes(self, value: bytes) -> None:
        """Send what need be no command at all, as if it were one of this job."""
        topic = self.contract.topic("commands")
        await self.client.send(Message(topic, self.job_id.encode(), value))

    async def decided(self, commands: Iterable[str]) -> list[Said]:
        """The answers to commands, in their order."""
        wanted = list(commands)
        while not self.answers.keys() >= set(wanted):
            await self._hear_outcome()
        return [self.answers[command_id] for command_id in wanted]

    async def told_of(self, items: int) -> None:
        """Listen until the chunks told of have so many items."""
        while sum(self.items(status) for status in ("succeeded", "failed", "skipped")) < items:
            await self._hear_outcome()

    def items(self, status: str) -> int:
        """How many items of the chunks told of came to this."""
        return sum(chunk[status] for chunk in self.chunks.values())

    @property
    def last_version(self) -> int:
        """That of the latest event that was heard."""
        return max(self.history)

    async def over(self, *, after: int = 0) -> Said:
        """The event by which the job came to rest, behind a version."""
        while True:
            found = [said for version, said in self.history.items() if version > after]
            for said in found:
                if said["status"] in self.contract.at_rest:
                    return said
            message = await self.events.next()
            said = self.contract.check("events", message.key, message.value)
            if said["job_id"] == self.job_id:
                assert self.history.setdefault(said["version"], said) == said

    async def _hear_outcome(self) -> None:
        message = await self.outcomes.next()
        said = self.contract.check("outcomes", message.key, message.value)
        if said["job_id"] != self.job_id:
            return
        self.kinds.add(said["type"])
        if said["type"] == "command_decided":
            # One that comes twice says the same.
            assert self.answers.setdefault(said["command_id"], said) == said
        for chunk in said.get("chunks", ()):
            assert self.chunks.setdefault(chunk["chunk"], chunk) == chunk


@asynccontextmanager
async def listening(client: Client, contract: Contract, job_id: str) -> AsyncIterator[Stranger]:
    """A stranger that hears what is said from now on."""
    async with (
        client.reading(contract.topic("outcomes"), past=False) as outcomes,
        client.reading(contract.topic("events"), past=False) as events,
    ):
        yield Stranger(client, contract, outcomes, events, job_id)
