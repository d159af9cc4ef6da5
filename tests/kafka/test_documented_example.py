"""The example of docs/messages.md, run as it stands: what a newcomer copies must work."""

from __future__ import annotations

import asyncio
import re
import sys
from asyncio.subprocess import PIPE, STDOUT
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.acceptance.commands import environment
from tests.kafka.clients import Client
from tests.kafka.contract import Contract
from tests.kafka.installation import Installation
from tests.kafka.stranger import listening

GUIDE = Path(__file__).parents[2] / "docs" / "messages.md"
PATIENCE = 60

(EXAMPLE,) = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
(JOB,) = re.findall(r'^JOB = "(.*?)"', EXAMPLE, re.MULTILINE)


async def a_project(client: Client, contract: Contract, installation: Installation) -> int:
    """The id of a new project: here, other tests have had the first ones."""
    async with listening(client, contract, "example-project") as stranger:
        spec = {"operation": "annotations.create_projects"}
        source = {"kind": "inline", "items": [{"name": "for the example"}]}
        await stranger.command("SubmitJob", spec=spec, source=source)
        assert (await stranger.over())["status"] == "completed"
    (item,) = (await installation.get("/api/v1/jobs/example-project/items"))["items"]
    made: int = item["result"]["id"]
    return made


async def run(script: str, installation: Installation) -> list[str]:
    """What the script prints, told the address of the broker."""
    variables = environment(KAFKA=installation.bootstrap)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-c", script, stdout=PIPE, stderr=STDOUT, env=variables
    )
    try:
        async with asyncio.timeout(PATIENCE):
            printed, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        raise
    assert process.returncode == 0, printed.decode()
    return printed.decode().splitlines()


@pytest.mark.slow
async def test_the_example_submits_and_has_all_its_answers(
    client: AbstractAsyncContextManager[Client], contract: Contract, installation: Installation
) -> None:
    async with client as opened:
        project = await a_project(opened, contract, installation)
        async with listening(opened, contract, JOB) as stranger:
            script = EXAMPLE.replace('"project_id": 1', f'"project_id": {project}')
            printed = await run(script, installation)
            answers = [line.split() for line in printed]
            commands = ["open_job", *["append_items"] * 5, "seal_job"]
            assert answers == [[command, "accepted"] for command in commands]

            end = await stranger.over()
            assert (end["status"], end["counts"]["succeeded"]) == ("completed", 10_000)

        # The same work again has the same id, and is not done twice.
        assert [line.split() for line in await run(script, installation)] == answers
        assert (await installation.get(f"/api/v1/jobs/{JOB}"))["version"] == end["version"]
