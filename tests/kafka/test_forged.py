"""Forged messages have no effect: what is done, and by whom, is in the database alone.

Commands are the exception, and say so: whoever may write to their topic may name any tenant.
"""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from streams import broadcasts
from streams.stores import decisions, event_order, outcomes
from tests.kafka.clients import Client, Message, Reader
from tests.kafka.contract import Contract
from tests.kafka.installation import Installation
from tests.kafka.letters import letter_about, told
from tests.kafka.retelling import FORGED
from tests.kafka.stranger import Stranger, listening

ITEMS = 1_000
SPEC = {"operation": "annotations.create_projects", "options": {"chunk_size": 500}}
PROJECTS = "SELECT count(*) FROM projects WHERE starts_with(name, :job) AND version = 1"

Opened = AbstractAsyncContextManager[Client]


def items(job_id: str) -> dict[str, Any]:
    return {"kind": "inline", "items": [{"name": f"{job_id}-{n}"} for n in range(ITEMS)]}


async def accepted(stranger: Stranger, command_id: str) -> dict[str, Any]:
    (answer,) = await stranger.decided([command_id])
    assert (answer["status"], answer["problem"]) == ("accepted", None)
    return answer


async def put(client: Client, topic: str, key: str, values: Iterable[bytes]) -> None:
    for value in values:
        await client.send(Message(topic, key.encode(), value))


async def hint_of(job_id: str, hints: Reader, contract: Contract) -> dict[str, Any]:
    """What the engine has sent its workers first, of a job."""
    while True:
        message = await hints.next()
        true = contract.check("work", message.key, message.value)
        if true["job_id"] == job_id:
            return true


def forgeries(true: dict[str, Any]) -> list[dict[str, Any]]:
    """Work messages that differ from a true one in one field each, and the true one again."""
    (first, *_) = true["chunks"]
    changes: list[dict[str, Any]] = [
        {},
        {"epoch": true["epoch"] + 1},
        {"chunks": [{**first, "attempt": first["attempt"] + 1}]},
        {"chunks": [{"chunk": 1_000_000, "attempt": 1}]},
        {"chunks": []},
        {"operation": "annotations.delete_projects"},
        {"operation": "annotations.no_such"},
        {"job_id": "forged-no-such-job"},
        {"beyond": 1},
    ]
    return [true | each for each in changes]


async def test_forged_work_of_a_job_that_is_done(
    client: Opened, contract: Contract, installation: Installation
) -> None:
    job_id, work = "forged-done", contract.topic("work", system="annotations")
    async with (
        client as opened,
        listening(opened, contract, job_id) as stranger,
        opened.reading(work, past=False) as hints,
        opened.reading(contract.topic("dead"), past=False) as letters,
    ):
        await stranger.command("SubmitJob", spec=SPEC, source=items(job_id))
        done = await stranger.over()
        assert done["status"] == "completed"
        true = await hint_of(job_id, hints, contract)
        made = await asyncio.to_thread(installation.count, PROJECTS, job=job_id)

        forged = [json.dumps(each).encode() for each in forgeries(true)]
        await put(opened, work, job_id, [*forged, b"{", b""])
        buried = [told(await letter_about(letters, job_id)) for _ in range(4)]
        # The last of them was behind all that was forged, under the same key.
        undo = await accepted(stranger, await stranger.command("UndoJob"))
        undone = await stranger.over(after=done["version"])

    assert made == ITEMS
    assert [letter["countermand-code"] for letter in buried] == [
        "unknown_operation",
        *["unreadable"] * 3,
    ]
    assert stranger.history[done["version"] + 1]["command_id"] == undo["command_id"], (
        "nothing had happened to the job before"
    )
    # Each project stood as the job had left it: else it would be a conflict.
    assert (undone["status"], undone["counts"]["rolled_back"]) == ("rolled_back", ITEMS)
    assert await asyncio.to_thread(installation.count, PROJECTS, job=job_id) == 0


async def test_forged_work_of_a_job_that_has_not_begun(
    client: Opened, contract: Contract, installation: Installation
) -> None:
    job_id, work = "forged-draft", contract.topic("work", system="annotations")
    async with (
        client as opened,
        listening(opened, contract, job_id) as stranger,
        opened.reading(contract.topic("dead"), past=False) as letters,
    ):
        await stranger.command("OpenJob", spec=SPEC)
        filled = await stranger.command("AppendItems", part=0, source=items(job_id))
        await accepted(stranger, filled)
        # What the engine will send itself once the draft is sealed.
        true = {
            **contract.example("Work"),
            "job_id": job_id,
            "operation": SPEC["operation"],
            "epoch": 0,
            "chunks": [{"chunk": 0, "attempt": 1}],
        }
        await put(opened, work, job_id, [*[json.dumps(true).encode()] * 20, b"and an end"])
        await letter_about(letters, job_id)
        assert await asyncio.to_thread(installation.count, PROJECTS, job=job_id) == 0
        await accepted(stranger, await stranger.command("SealJob", items=ITEMS))
        end = await stranger.over()

    assert (end["status"], end["counts"]["succeeded"]) == ("completed", ITEMS)
    assert await asyncio.to_thread(installation.count, PROJECTS, job=job_id) == ITEMS


async def test_forged_hints_to_look_change_nothing(
    client: Opened, contract: Contract, installation: Installation
) -> None:
    commands = contract.topic("commands")
    async with client as opened, listening(opened, contract, "forged-hints") as stranger:
        await accepted(stranger, await stranger.command("OpenJob", spec=SPEC))
        draft = await installation.get("/api/v1/jobs/forged-hints")
        hint = contract.example("RecordOutcomes")
        for tenant in ("eve", "engine", "local"):
            for job_id in ("forged-hints", "forged-no-such-job"):
                forged = hint | {"job_id": job_id, "tenant": tenant}
                await put(opened, commands, "forged-hints", [json.dumps(forged).encode()] * 5)
        # A command that is refused is answered behind them, with the job's version.
        (answer,) = await stranger.decided([await stranger.command("RetryJob")])
        assert (answer["status"], answer["version"]) == ("refused", draft["version"])

    assert await installation.get("/api/v1/jobs/forged-hints") == draft
    with pytest.raises(urllib.error.HTTPError) as missing:
        await installation.get("/api/v1/jobs/forged-no-such-job")
    with missing.value as answered:
        assert answered.code == 404


@pytest.mark.parametrize("command", ["CancelJob", "UndoJob", "SealJob"])
async def test_nobody_commands_the_jobs_of_another_tenant(
    client: Opened, contract: Contract, installation: Installation, command: str
) -> None:
    job_id = f"forged-{command}"
    async with client as opened, listening(opened, contract, job_id) as stranger:
        await accepted(stranger, await stranger.command("OpenJob", spec=SPEC))
        (answer,) = await stranger.decided([await stranger.command(command, tenant="eve")])
        assert (answer["status"], answer["problem"]["code"]) == ("refused", "job_not_found")
    assert (await installation.get(f"/api/v1/jobs/{job_id}"))["version"] == 1


async def test_forged_outcomes_and_events_change_no_job(
    client: Opened, contract: Contract, installation: Installation
) -> None:
    """Who follows live may be lied to (docs/messages.md says so); what is stored is not."""
    job_id = f"{FORGED}draft"
    async with client as opened, listening(opened, contract, job_id) as stranger:
        await accepted(stranger, await stranger.command("OpenJob", spec=SPEC))
        draft = await installation.get(f"/api/v1/jobs/{job_id}")
        finished = contract.example("JobFinished") | {"job_id": job_id, "version": 2}
        completed = contract.example("ChunksCompleted") | {"job_id": job_id}
        decided = contract.example("CommandDecided") | {"job_id": job_id, "command_id": "forged"}
        events, outcomes = contract.topic("events"), contract.topic("outcomes")
        await put(opened, events, job_id, [json.dumps(finished).encode()])
        await put(
            opened, outcomes, job_id, [json.dumps(each).encode() for each in (completed, decided)]
        )
        lie = await stranger.over()
        assert lie["status"] == finished["status"]
        assert await installation.get(f"/api/v1/jobs/{job_id}") == draft

    async with client as opened, listening(opened, contract, job_id) as truth:
        filled = await truth.command(
            "AppendItems", command_id="true.0", part=0, source=items(job_id)
        )
        sealed = await truth.command("SealJob", command_id="true.1", items=ITEMS)
        assert {said["status"] for said in await truth.decided([filled, sealed])} == {"accepted"}
        end = await truth.over()
        assert (end["status"], end["counts"]["succeeded"]) == ("completed", ITEMS)


async def test_garbage_on_the_topics_of_readers_stops_no_reader(
    client: Opened, contract: Contract, installation: Installation
) -> None:
    job_id = f"{FORGED}garbage"
    garbage = [b"", b"\xff{", b"[]", b'{"type": "job.finished"}', b'{"type": "chunks_failed"}']
    readers = [contract.topic("events"), contract.topic("outcomes")]
    async with client as opened:
        async with opened.reading(contract.topic("dead"), past=False) as letters:
            for topic in readers:
                await put(opened, topic, job_id, garbage)
            # Each topic has kinds that the other does not know, and passes over.
            buried = [told(await letter_about(letters, job_id)) for _ in range(9)]
        assert {letter["countermand-topic"] for letter in buried} == set(readers)
        assert {letter["countermand-code"] for letter in buried} == {"unreadable"}

        async with listening(opened, contract, "beside-garbage") as stranger:
            source = {"kind": "inline", "items": [{"name": "x"}]}
            await stranger.command("SubmitJob", spec=SPEC, source=source)
            end = await stranger.over()
        shown = await asyncio.to_thread(live, f"{installation.url}/api/v1/jobs/beside-garbage")
    assert shown[-1] == f"id: {end['version']}"


async def test_notifications_that_nobody_can_read_stop_no_process(
    client: Opened, contract: Contract, installation: Installation
) -> None:
    job_id = "beside-noise"
    channels = (broadcasts.CHANNEL, decisions.CHANNEL, event_order.CHANNEL, outcomes.CHANNEL)
    engines = {name: service.engine.pid for name, service in installation.services.items()}
    for channel in channels:
        for noise in ("", "noise", "a b c d", "[1]", '{"of": "tomorrow"}'):
            await asyncio.to_thread(installation.notify, channel, noise)
    async with client as opened, listening(opened, contract, job_id) as stranger:
        source = {"kind": "inline", "items": [{"name": "x"}]}
        await stranger.command("SubmitJob", spec=SPEC, source=source)
        end = await stranger.over()
    shown = await asyncio.to_thread(live, f"{installation.url}/api/v1/jobs/{job_id}")
    assert shown[-1] == f"id: {end['version']}"
    assert {name: each.engine.pid for name, each in installation.services.items()} == engines


def live(job: str) -> list[str]:
    """The ids of a job's live stream, which ends with the job."""
    asked = urllib.request.Request(f"{job}/events", headers={"Accept": "text/event-stream"})
    with urllib.request.urlopen(asked, timeout=30) as stream:
        return [line for line in stream.read().decode().splitlines() if line.startswith("id: ")]
