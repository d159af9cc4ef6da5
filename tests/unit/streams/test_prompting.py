"""What a look causes is sent, whatever becomes of one of its messages."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from domain.errors import BrokerUnavailable
from streams.envelope import Outgoing, look_at
from streams.loops import background
from streams.prompting import Prompter
from streams.transport.errors import MessageTooLargeError


class Driver:
    """Drives all jobs, and has three messages of each."""

    def drives(self, _job_id: str) -> bool:
        return True

    async def prompted(self, job_id: str) -> Sequence[Outgoing]:
        return [look_at(f"{job_id}-{number}", str(number)) for number in range(3)]


@pytest.mark.parametrize("error", [BrokerUnavailable("away"), MessageTooLargeError("t", 2, 1)])
async def test_a_message_that_cannot_be_sent_keeps_no_other_back(error: Exception) -> None:
    sent = asyncio.Queue[bytes]()

    async def send(outgoing: Outgoing) -> None:
        if outgoing.key == b"a-1":
            raise error
        sent.put_nowait(outgoing.key)

    prompter = Prompter(Driver(), send)
    async with asyncio.timeout(10), background([prompter.run()]):
        prompter.heard("a")
        assert [await sent.get(), await sent.get()] == [b"a-0", b"a-2"]
