"""docs/annotations.md and docs/reports.md, run as they stand: what somebody copies must work."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

from streams.bootstrap import embedded
from streams.settings import Settings
from tests.api.annotations.conftest import REGISTRY
from tests.api.shop import Shop

DOCS = Path(__file__).parents[3] / "docs"
GUIDE = "".join((DOCS / name).read_text() for name in ("annotations.md", "reports.md"))
SCRIPTS = re.findall(r"^```sh\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
ADDRESS = "http://127.0.0.1:8080"


async def _run(shop: Shop, script: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-euc",
        script.replace(ADDRESS, f"http://127.0.0.1:{shop.port}"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0
    return printed.decode()


async def test_the_guides_do_what_they_say(tmp_path: Path) -> None:
    def start() -> Any:
        return embedded(Settings(data_dir=tmp_path), REGISTRY)

    async with Shop(start) as shop:
        for script in SCRIPTS:
            printed = await _run(shop, script)
            assert "urn:countermand:problem" not in printed, printed
        (made,) = (await shop.get("/api/v1/projects/1/annotations", params={"limit": 1}))["items"]
    assert (made["selected_text"], made["confidence_score"], made["version"]) == ("Ada", 1, 2)
