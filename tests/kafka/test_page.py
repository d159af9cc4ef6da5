"""The page Operations over Kafka: lag by partition, and dead letters of producers, sent again."""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager

from playwright.async_api import expect

from tests.kafka.clients import Client
from tests.kafka.contract import Contract
from tests.kafka.installation import PARTITIONS, Installation
from tests.kafka.letters import leave
from tests.kafka.stranger import listening
from tests.services.browser import page_at
from tests.services.switch import need

CODE = "seen_on_the_page"


async def test_letters_are_seen_and_sent_again_on_the_page(
    client: AbstractAsyncContextManager[Client], contract: Contract, installation: Installation
) -> None:
    need("chromium")
    expect.set_options(timeout=20_000)
    async with client as opened, listening(opened, contract, "shown") as stranger:
        spec = {"operation": "annotations.create_projects"}
        source = {"kind": "inline", "items": [{"name": "of a letter"}]}
        submit = stranger.made("SubmitJob", spec=spec, source=source)
        await leave(installation, [json.dumps(submit).encode()], code=CODE)
        async with page_at(f"{installation.url}/#/operations") as page:
            letters = page.get_by_role("region", name="Dead letters")
            row = letters.locator("tr", has_text=CODE)
            await expect(row).to_contain_text("it was too new for the release that met it")
            lag = page.get_by_role("region", name="Partitions and lag")
            commands = lag.locator("tr", has_text="countermand.commands")
            await expect(commands.locator("td").nth(2)).to_have_text(str(PARTITIONS))
            await row.get_by_role("button", name=f"Send {CODE} again").focus()
            await page.keyboard.press("Enter")
            send = page.get_by_role("dialog").get_by_role("button", name="send", exact=True)
            await send.focus()
            await page.keyboard.press("Enter")
            await expect(page.locator("#notices")).to_contain_text("1 letter sent again.")
        done = await stranger.over()
        assert done["status"] == "completed"
