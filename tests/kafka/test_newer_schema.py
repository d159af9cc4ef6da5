"""Messages of a newer schema are held on the dead-letter topic, whole, and sent again later."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from streams.deadletters import Letter, Listed, Tally
from streams.redriving import BATCH, Lister, Run, list_all, redrive_all
from tests.acceptance.commands import COMMAND, asked, countermand, environment
from tests.kafka.clients import Client, Message, Reader
from tests.kafka.contract import Contract
from tests.kafka.installation import Installation
from tests.kafka.letters import leave, letter_about, told
from tests.kafka.stranger import listening

SPEC = {"operation": "annotations.create_projects"}
SOURCE = {"kind": "inline", "items": [{"name": "of tomorrow"}]}
CODE = "unsupported_version"

Opened = AbstractAsyncContextManager[Client]


async def redrive(
    installation: Installation, code: str, *, limit: int | None = None, from_start: bool = False
) -> tuple[int, int, bool]:
    """What was sent and left, and whether there is more."""
    run = Run(code=code, systems=["annotations"], limit=limit, from_start=from_start)
    found = await redrive_all(installation.kafka.url, run)
    return found.sent, found.left, found.more


async def command(
    installation: Installation, *options: str, verb: Sequence[str] = ("redrive", "--code", CODE)
) -> dict[str, Any]:
    """What the verb says that it did."""
    ended = await asyncio.to_thread(
        countermand, "topics", *verb, "--json", *options, **installation.environment
    )
    assert ended.returncode == 0, ended.stderr
    said: dict[str, Any] = json.loads(ended.stdout)
    return said


async def test_a_command_of_a_newer_schema_is_held_as_it_came(
    client: Opened, contract: Contract, installation: Installation
) -> None:
    commands, dead = contract.topic("commands"), contract.topic("dead")
    async with client as opened, listening(opened, contract, "newer") as stranger:
        newer = {**stranger.made("OpenJob", spec=SPEC), "schema_version": 99, "beyond": [1]}
        # Blanks and order of its own: what is kept are the bytes, not what they mean.
        value = json.dumps(newer, indent=3).encode()
        headers = [("traceparent", b"00-1"), ("blob", b"\xff\x00")]
        async with opened.reading(dead, past=False) as letters:
            await opened.send(Message(commands, b"newer", value, headers))
            letter = await letter_about(letters, "newer")
            (held,) = await stranger.decided([newer["command_id"]])

            assert (letter.key, letter.value) == (b"newer", value)
            assert list(letter.headers)[:2] == headers
            contract.check_headers("DeadLetter", told(letter))
            assert told(letter)["countermand-code"] == CODE
            assert told(letter)["countermand-topic"] == commands
            assert (held["status"], held["problem"]["code"]) == ("held", CODE)

            # It is too new still: held once more, and not sent round and round.
            waiting = await command(installation, "--dry-run")
            assert waiting["sent"] >= 1, "others of this broker may wait as well"
            assert waiting | {"sent": 1} == {"sent": 1, "left": 0, "more": False, "dry_run": True}
            for _ in range(2):
                assert (await command(installation))["sent"] >= 1
                again = await letter_about(letters, "newer")
                assert (again.value, list(again.headers)[:2]) == (value, headers)


async def test_work_of_a_newer_schema_is_held_and_the_job_is_worked_all_the_same(
    client: Opened, contract: Contract, installation: Installation
) -> None:
    """A message of work is a hint: what waits for its chunk is found in the database."""
    job_id, work = "newer-work", contract.topic("work", system="annotations")
    async with (
        client as opened,
        listening(opened, contract, job_id) as stranger,
        opened.reading(contract.topic("dead"), past=False) as letters,
    ):
        filled = [
            await stranger.command("OpenJob", spec=SPEC),
            await stranger.command("AppendItems", part=0, source=SOURCE),
        ]
        assert {said["status"] for said in await stranger.decided(filled)} == {"accepted"}
        own = {"job_id": job_id, "operation": SPEC["operation"], "epoch": 0}
        newer = {**contract.example("Work"), **own, "chunks": [{"chunk": 0, "attempt": 1}]}
        value = json.dumps({**newer, "schema_version": 99, "beyond": [1]}, indent=3).encode()
        await opened.send(Message(work, job_id.encode(), value))
        letter = await letter_about(letters, job_id)
        await stranger.command("SealJob", items=1)
        done = await stranger.over()

    assert (letter.value, told(letter)["countermand-code"]) == (value, CODE)
    assert told(letter)["countermand-topic"] == work
    assert (done["status"], done["counts"]["succeeded"]) == ("completed", 1)


async def test_letters_that_are_listed_again_are_read_once(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Letter] = []
    add = Tally.add

    def noting(tally: Tally, letter: Letter) -> None:
        read.append(letter)
        add(tally, letter)

    monkeypatch.setattr(Tally, "add", noting)
    lister = Lister(installation.kafka.url)
    value = json.dumps({"job_id": "listed"}).encode()
    for number in (2 * BATCH, 3, 0):
        await lister.list_all()
        read.clear()
        await leave(installation, [value] * number, code="listed")
        listed = await lister.list_all()
        assert [letter.key for letter in read] == [b"listed"] * number
        # The latest of a group, and the order of equal ones, are of the partition that came last.
        assert _counts(listed) == _counts(await list_all(installation.kafka.url))


def _counts(listed: Listed) -> tuple[dict[tuple[str, str], int], int]:
    return {(one.code, one.topic): one.letters for one in listed.groups}, listed.others


async def test_after_the_upgrade_letters_take_effect_once(
    client: Opened, contract: Contract, installation: Installation
) -> None:
    code = "read_since_the_upgrade"
    async with client as opened, listening(opened, contract, "upgraded") as stranger:
        submit = stranger.made("SubmitJob", spec=SPEC, source=SOURCE)
        # Twice: its sender was in doubt.
        await leave(installation, [json.dumps(submit).encode()] * 2, code=code)
        await leave(installation, [json.dumps(submit).encode()], code=code, topic="work.of.nobody")
        await leave(installation, [json.dumps(submit).encode()], code="another_code")

        groups = (await command(installation, verb=("letters",)))["groups"]
        listed = {(each["topic"], each["letters"]) for each in groups if each["code"] == code}
        assert listed == {(contract.topic("commands"), 2), ("work.of.nobody", 1)}
        assert await redrive(installation, code, limit=1) == (1, 0, True)
        done = await stranger.over()
        assert done["status"] == "completed"
        assert await redrive(installation, code) == (1, 1, False)
        assert await redrive(installation, code) == (0, 0, False)
        assert await redrive(installation, code, from_start=True) == (2, 1, False)

        # The job's commands are in order, so this one comes behind all of them.
        answers = await stranger.decided([submit["command_id"], await stranger.command("RetryJob")])
        assert [answer["status"] for answer in answers] == ["accepted", "refused"]
        assert answers[1]["version"] == done["version"], "nothing has changed it since"


async def heard_again(reader: Reader, prefix: str, seen: Counter[str], until: int) -> None:
    """Count the commands that come with such an id, until so many different ones have come."""
    while len(seen) < until:
        command_id = json.loads((await reader.next()).value or b"{}").get("command_id", "")
        if command_id.startswith(prefix):
            seen[command_id] += 1


@pytest.mark.crash
async def test_a_run_that_is_killed_loses_nothing_and_is_gone_on_with(
    client: Opened, contract: Contract, installation: Installation
) -> None:
    count, code = 600, "killed_half_way"
    hint = {**contract.example("RecordOutcomes"), "job_id": "hinted-at"}
    values = [json.dumps({**hint, "command_id": f"hint.{n}"}).encode() for n in range(count)]
    await leave(installation, values, code=code)
    seen: Counter[str] = Counter()
    async with client as opened, opened.reading(contract.topic("commands"), past=False) as reader:
        process = await asyncio.create_subprocess_exec(
            *(*COMMAND, "topics", "redrive", "--code", code),
            env=environment(**installation.environment),
        )
        try:
            await heard_again(reader, "hint.", seen, until=3 * BATCH)
        finally:
            process.kill()
        assert await process.wait() < 0, "it was to be killed half way"
        rest, _, _ = await redrive(installation, code)
        await heard_again(reader, "hint.", seen, until=count)

    assert 0 < rest < count - BATCH
    assert seen.total() - count <= BATCH, "only what was sent since the last commit comes again"


@pytest.mark.parametrize(
    ("broker", "code", "status", "remedy"),
    [
        ("memory://", CODE, 2, "set COUNTERMAND_BROKER to kafka://HOST:PORT"),
        ("kafka://127.0.0.1:9", CODE, 3, "start one, or mend COUNTERMAND_BROKER"),
        ("kafka://127.0.0.1:9", "No code!", 2, "words such as unsupported_version"),
    ],
    ids=["embedded", "away", "code"],
)
def test_what_stands_in_the_way_is_said(broker: str, code: str, status: int, remedy: str) -> None:
    ended = asked("topics", "redrive", "--code", code, COUNTERMAND_BROKER=broker)
    assert ended.returncode == status
    assert ended.stderr.startswith("countermand: ")
    assert remedy in ended.stderr
