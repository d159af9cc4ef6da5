"""Retelling: the events topic folded by who knows only what the contract says of it.

Imports nothing of ours but a fold that shares nothing with the engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tests.audit.independent_fold import Folded, Raw, fold
from tests.kafka.clients import Client, Message, Reader
from tests.kafka.contract import Contract

FORGED = "lied-about-"
"""How ids begin of jobs of which tests forge events; nobody can tell these from true ones."""


class Retold:
    """Jobs as the topic tells of them; an event that was seen already is passed over.

    ``messages`` are all that came, in their order, and ``repeated`` says how many came again.
    """

    def __init__(self, contract: Contract) -> None:
        self.messages: list[Message] = []
        self.repeated = 0
        self._contract = contract
        self._histories: dict[str, list[Raw]] = {}

    def version(self, job_id: str) -> int:
        """That of the newest event of a job; 0 when there was none."""
        return len(self._histories.get(job_id, ()))

    def job(self, job_id: str) -> Folded:
        """A job after all of its events that came."""
        return fold(self._histories[job_id])

    async def read_to(self, reader: Reader, versions: Mapping[str, int]) -> None:
        """Read until each job is as new as that."""
        while behind := {
            job_id: (self.version(job_id), version)
            for job_id, version in versions.items()
            if self.version(job_id) < version
        }:
            try:
                self.take(await reader.next())
            except TimeoutError as error:
                raise AssertionError(f"the topic does not tell all of {behind}") from error

    async def read_repetitions(self, reader: Reader, count: int) -> None:
        """Read until so many events came again."""
        until = self.repeated + count
        while self.repeated < until:
            self.take(await reader.next())

    def take(self, message: Message) -> None:
        """Keep one message; events of a job come in order and without a gap."""
        if (message.key or b"").startswith(FORGED.encode()):
            return
        said = self._contract.check("events", message.key, message.value)
        assert message.value is not None
        self.messages.append(message)
        history = self._histories.setdefault(said["job_id"], [])
        if said["version"] <= len(history):
            self.repeated += 1
            return
        assert said["version"] == len(history) + 1
        history.append((said["type"], message.value))


async def send_again(client: Client, messages: Iterable[Message]) -> int:
    """Send messages once more, as a broker or an outbox may; returns how many."""
    count = 0
    for message in messages:
        await client.send(message)
        count += 1
    return count
