"""Any producer: what the AsyncAPI document says is enough to submit, to follow and to replay."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from tests.audit import comparing
from tests.kafka.clients import Client
from tests.kafka.contract import Contract
from tests.kafka.installation import Installation
from tests.kafka.replaying import replayed, stored_jobs
from tests.kafka.retelling import Retold, send_again
from tests.kafka.stranger import Stranger, listening

ITEMS = 10_000
PART = 2_000
WRONG = range(4_000, 5_000)
"""Two whole chunks, so that failure events are told as well."""
SPEC = {"operation": "annotations.create_projects", "options": {"chunk_size": 500}}


def named(*names: str) -> dict[str, Any]:
    return {"kind": "inline", "items": [{"name": name} for name in names]}


async def submit_in_parts(stranger: Stranger) -> list[str]:
    names = ["" if n in WRONG else f"{stranger.job_id}-{n}" for n in range(ITEMS)]
    commands = [await stranger.command("OpenJob", spec=SPEC)]
    for part, first in enumerate(range(0, ITEMS, PART)):
        source = named(*names[first : first + PART])
        commands.append(await stranger.command("AppendItems", part=part, source=source))
    commands.append(await stranger.command("SealJob", items=ITEMS))
    return commands


async def accepted(stranger: Stranger, *commands: str) -> None:
    answers = await stranger.decided(commands)
    assert {(said["status"], said["problem"]) for said in answers} == {("accepted", None)}


@pytest.mark.slow
async def test_ten_thousand_items_by_the_document_alone(
    any_client: AbstractAsyncContextManager[Client], contract: Contract
) -> None:
    job_id = f"parts-{type(any_client).__name__}"
    good = ITEMS - len(WRONG)
    async with any_client as client, listening(client, contract, job_id) as stranger:
        await accepted(stranger, *await submit_in_parts(stranger))
        await stranger.told_of(ITEMS)
        assert (stranger.items("succeeded"), stranger.items("failed")) == (good, len(WRONG))
        assert stranger.kinds == {"command_decided", "chunks_completed", "chunks_failed"}
        done = await stranger.over()
        assert (done["status"], done["counts"]["succeeded"]) == ("completed_with_errors", good)

        await accepted(stranger, await stranger.command("RetryJob"))
        retried = await stranger.over(after=done["version"])
        assert (retried["status"], retried["counts"]["failed"]) == (done["status"], len(WRONG))

        await accepted(stranger, await stranger.command("UndoJob"))
        undone = await stranger.over(after=retried["version"])
        assert (undone["status"], undone["counts"]["rolled_back"]) == ("rolled_back", good)
        assert sorted(stranger.history) == list(range(1, undone["version"] + 1))


async def test_one_message_submits_what_fits_into_it(
    any_client: AbstractAsyncContextManager[Client], contract: Contract
) -> None:
    job_id = f"whole-{type(any_client).__name__}"
    async with any_client as client, listening(client, contract, job_id) as stranger:
        whole = {"spec": {**SPEC, "name": "Zeitzeugen, 1. Teil"}, "source": named("a", "b")}
        await accepted(stranger, await stranger.command("SubmitJob", **whole))
        assert (await stranger.over())["status"] == "completed"

        same = await stranger.command("SubmitJob", **whole)
        other = await stranger.command("SubmitJob", spec=SPEC, source=named("c"))
        again, refused = await stranger.decided([same, other])
        assert (again["status"], refused["problem"]["code"]) == ("accepted", "idempotency_conflict")


@pytest.mark.parametrize("command", ["PauseJob", "CancelJob"])
async def test_a_draft_is_left_as_it_was_commanded(
    client: AbstractAsyncContextManager[Client], contract: Contract, command: str
) -> None:
    """Jobs at rest in other ways, for the replay behind this."""
    async with client as opened, listening(opened, contract, f"draft-{command}") as stranger:
        await accepted(
            stranger,
            await stranger.command("OpenJob", spec=SPEC),
            await stranger.command("AppendItems", part=0, source=named("a", "b", "c")),
        )
        (answer,) = await stranger.decided([await stranger.command(command, reason="no more")])
        possible = {"PauseJob": "refused", "CancelJob": "accepted"}
        assert answer["status"] == possible[command]


async def test_the_topic_replays_into_what_is_stored(
    any_client: AbstractAsyncContextManager[Client],
    contract: Contract,
    installation: Installation,
) -> None:
    job_id = f"replayed-{type(any_client).__name__}"
    async with any_client as client:
        async with listening(client, contract, job_id) as stranger:
            await accepted(
                stranger, await stranger.command("SubmitJob", spec=SPEC, source=named("", "b"))
            )
            done = await stranger.over()
            await accepted(stranger, await stranger.command("RetryJob"))
            retried = await stranger.over(after=done["version"])
            await accepted(stranger, await stranger.command("UndoJob"))
            await stranger.over(after=retried["version"])
        stored = stored_jobs(installation.database)
        retold = Retold(contract)
        async with client.reading(contract.topic("events"), past=True) as reader:
            await retold.read_to(reader, {job.id: job.version for job in stored.values()})
            again = await send_again(client, retold.messages[::5])
            await retold.read_repetitions(reader, again)

    # Others may have used this broker before, with a database of their own.
    for job_id, job in stored.items():
        told = retold.job(job_id)
        assert comparing.of_fold(told) == comparing.of_job(job), job_id
        shown = await installation.get(f"/api/v1/jobs/{job_id}")
        assert (shown["status"], shown["version"]) == (told.status, retold.version(job_id))
        assert shown["counts"] == {**told.counts, "total": sum(told.counts.values())}
    ours = replayed(retold.messages)
    assert {job_id: ours[job_id] for job_id in stored} == stored


async def test_who_comes_too_late_for_the_topic_is_told_the_same_by_the_api(
    client: AbstractAsyncContextManager[Client], contract: Contract, installation: Installation
) -> None:
    job_id = "told-later"
    async with client as opened, listening(opened, contract, job_id) as stranger:
        source = named("", "b")
        await accepted(stranger, await stranger.command("SubmitJob", spec=SPEC, source=source))
        await stranger.over()

    older = [event for event in await _all_events(installation) if event["job_id"] == job_id]

    fields = ("version", "position", "status", "actor", "command_id")
    assert [[each["event"], *(each[name] for name in fields)] for each in older] == [
        [each["type"], *(each[name] for name in fields)]
        for _, each in sorted(stranger.history.items())
    ]


async def _all_events(installation: Installation) -> list[dict[str, Any]]:
    """Those of the tenant from the first one on, page by page."""
    found: list[dict[str, Any]] = []
    page: dict[str, Any] = {"position": 0, "more": True}
    while page["more"]:
        page = await installation.get(f"/api/v1/events?after={page['position']}&limit=50")
        found += page["items"]
    return found
