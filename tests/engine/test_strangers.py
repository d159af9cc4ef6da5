"""Messages of strangers: any producer may submit; what is forged or hostile has no effect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from domain.commands import MAX_PARAMS_BYTES
from domain.events import JobStatus
from domain.registry import Registry
from streams import topics
from streams.agents import Binding, deliver
from streams.answers import buried
from streams.envelope import Outgoing, decode_command, decode_work
from streams.failpoints import Failpoints
from streams.stores import migrate
from streams.stores.database import Database
from tests.databases import database, database_url
from tests.engine.stages import Stages, document
from tests.engine.stock import operations, stock

__all__ = ["database", "database_url"]


@dataclass
class Message:
    """What a broker hands over."""

    value: bytes
    topic: str
    key: bytes | None = b"any"
    partition: int = 0
    offset: int = 0
    headers: Sequence[tuple[str, bytes]] = ()


@dataclass
class Stranger:
    """A producer that knows nothing but topics and JSON."""

    stages: Stages
    sent: int = 0
    heard: list[Any] = field(default_factory=list)

    async def command(self, kind: str, job_id: str = "theirs", **fields: Any) -> dict[str, Any]:
        """Send a command; returns the answer to it."""
        self.sent += 1
        command = {
            "schema_version": 1,
            "type": kind,
            "command_id": f"stranger-{self.sent}",
            "job_id": job_id,
            "tenant": "local",
            "actor": "stranger",
        }
        return await self.send(orjson.dumps(command | fields))

    async def send(self, value: bytes) -> dict[str, Any]:
        await self._hand_in(topics.COMMANDS, value)
        answers = [m for m in self.stages.bus if m.topic == topics.OUTCOMES]
        self.stages.bus = [m for m in self.stages.bus if m.topic != topics.OUTCOMES]
        answer: dict[str, Any] = document(answers[-1])
        return answer

    async def work(self, value: bytes) -> list[Outgoing]:
        """Put a message onto a work topic; returns what came of it."""
        waiting, self.stages.bus = self.stages.bus, []
        await self._hand_in(topics.work("stock"), value)
        found, self.stages.bus = self.stages.bus, waiting
        return found

    async def _hand_in(self, topic: str, value: bytes) -> None:
        stages = self.stages
        is_command = topic == topics.COMMANDS
        binding: Binding[Any] = Binding(
            topic=topic,
            decode=decode_command if is_command else decode_work,
            handle=stages.coordinator.handle if is_command else stages.worker.handle,
            buried=buried if is_command else lambda _value, _problem: [],
        )
        await deliver(binding, Message(value, topic), stages.send, Failpoints())


@pytest.fixture
async def stages(database: Database) -> Stages:
    migrate.create_missing(database, [stock])
    return Stages(database, Registry(operations))


@pytest.fixture
def stranger(stages: Stages) -> Stranger:
    return Stranger(stages)


SPEC = {"operation": "stock.create"}


def inline(*items: Any) -> dict[str, Any]:
    return {"kind": "inline", "items": items}


async def test_a_job_in_parts_by_messages_alone(stages: Stages, stranger: Stranger) -> None:
    things = [{"name": f"n{n}"} for n in range(300)]
    answers = [
        await stranger.command("open_job", spec=SPEC),
        await stranger.command("append_items", part=1, source=inline(*things[100:])),
        await stranger.command("append_items", part=0, source=inline(*things[:100])),
        await stranger.command("append_items", part=0, source=inline(*things[:100])),
        await stranger.command("seal_job", items=300),
    ]
    assert {(a["status"], a["job_id"], a["problem"]) for a in answers} == {
        ("accepted", "theirs", None)
    }
    # Behind the seal's event is the dispatch of its chunks.
    assert [answer["version"] for answer in answers] == [1, 2, 3, 3, 5]
    await stages.mend()
    assert (await stages.job("theirs")).status is JobStatus.COMPLETED
    assert await stages.rows("SELECT count(*) FROM stock") == [(300,)]


async def test_a_refusal_is_told_with_its_remedy(stages: Stages, stranger: Stranger) -> None:
    unknown = await stranger.command("submit_job", spec={"operation": "no.such"}, source=inline(1))
    assert (unknown["status"], unknown["version"]) == ("refused", 0)
    assert unknown["problem"]["code"] == "unknown_operation"

    await stranger.command("open_job", spec=SPEC)
    early = await stranger.command("seal_job", items=5)
    assert (early["command"], early["problem"]["code"]) == ("seal_job", "invalid")
    assert "append" in early["problem"]["message"]

    large = {"operation": "stock.create", "params": {"note": "x" * MAX_PARAMS_BYTES}}
    refused = await stranger.command("open_job", "large", spec=large)
    assert refused["problem"]["pointer"] == "/params"


async def test_the_same_command_has_the_same_answer(stages: Stages, stranger: Stranger) -> None:
    first = await stranger.command("open_job", spec=SPEC, command_id="same")
    assert await stranger.command("open_job", spec=SPEC, command_id="same") == first


async def test_an_id_of_another_job_s_command_is_refused(stranger: Stranger) -> None:
    await stranger.command("open_job", "secret", spec=SPEC, command_id="same")
    answer = await stranger.command("open_job", "theirs", spec=SPEC, command_id="same")
    assert (answer["job_id"], answer["status"]) == ("theirs", "refused")
    assert answer["problem"]["code"] == "idempotency_conflict"
    assert "secret" not in str(answer), "whose it is, is nobody else's business"


@pytest.mark.parametrize("kind", ["pause_job", "cancel_job", "undo_job", "append_items"])
async def test_nobody_commands_the_jobs_of_another_tenant(
    stages: Stages, stranger: Stranger, kind: str
) -> None:
    job_id = await stages.submit("stock.create", [{"name": "x"}])
    before = (await stages.job(job_id)).version
    more = {"part": 0, "source": inline({"name": "y"})} if kind == "append_items" else {}
    answer = await stranger.command(kind, job_id, tenant="eve", **more)
    assert answer["problem"]["code"] == "job_not_found"
    assert (await stages.job(job_id)).version == before


async def test_what_cannot_be_read_is_kept_and_its_sender_told(stranger: Stranger) -> None:
    stages = stranger.stages
    wrong = await stranger.command("append_items", part="first", source=inline(1))
    assert (wrong["status"], wrong["problem"]["code"]) == ("refused", "unreadable")
    assert wrong["problem"]["pointer"].endswith("/part")
    newer = await stranger.command("open_job", spec=SPEC, schema_version=2)
    assert (newer["status"], newer["problem"]["code"]) == ("held", "unsupported_version")
    letters = [message for message in stages.bus if message.topic == topics.DEAD]
    assert len(letters) == 2
    assert orjson.loads(letters[1].value)["schema_version"] == 2


async def test_hints_for_any_job_are_harmless(stages: Stages, stranger: Stranger) -> None:
    job_id = await stages.submit("stock.create", [{"name": "x"}] * 50)
    work = list(stages.bus)
    before = (await stages.job(job_id)).version
    for named, tenant in ((job_id, "eve"), ("no-such-job", "local")):
        hint = {"type": "record_outcomes", "job_id": named, "tenant": tenant}
        for _ in range(3):
            value = orjson.dumps(hint | {"command_id": "h", "actor": "eve", "schema_version": 1})
            await stranger._hand_in(topics.COMMANDS, value)
    assert stages.bus == work
    assert (await stages.job(job_id)).version == before
    await stages.mend()
    assert await stages.rows("SELECT count(*) FROM stock") == [(50,)]


@pytest.mark.parametrize(
    "forged",
    [
        {"job_id": "no-such-job"},
        {"epoch": 1},
        {"chunks": [{"chunk": 0, "attempt": 2}]},
        {"chunks": [{"chunk": 7, "attempt": 1}]},
        {"chunks": []},
        {"operation": "stock.remove"},
        {"operation": "no.such"},
    ],
    ids=["job", "epoch", "attempt", "chunk", "none", "operation", "unknown"],
)
async def test_forged_work_changes_nothing(
    stages: Stages, stranger: Stranger, forged: dict[str, Any]
) -> None:
    await stages.submit("stock.create", [{"name": "x"}] * 10)
    await stages.run_dry()
    job_id = await stages.submit("stock.add", [{"id": n, "amount": 1} for n in range(1, 11)])
    true = next(document(m) for m in stages.bus if m.topic == topics.work("stock"))

    came = await stranger.work(orjson.dumps(true | forged))

    assert all(m.topic in (topics.COMMANDS, topics.DEAD) for m in came)
    assert await stages.rows("SELECT count(*), sum(amount) FROM stock") == [(10, 0)]
    await stages.mend()
    assert (await stages.job(job_id)).counts.succeeded == 10
    assert await stages.rows("SELECT count(*), sum(amount) FROM stock") == [(10, 10)]
