"""The guides to the platform, run as they stand: what somebody copies must work."""

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
ADDRESS = "http://127.0.0.1:8080"


def _scripts(name: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```$", (DOCS / name).read_text(), re.MULTILINE | re.DOTALL)


async def _run(shop: Shop, script: str, folder: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-euc",
        script.replace(ADDRESS, f"http://127.0.0.1:{shop.port}"),
        cwd=folder,
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
        for script in _scripts("annotations.md"):
            printed = await _run(shop, script, tmp_path)
            assert "urn:countermand:problem" not in printed, printed
        page = await shop.get("/api/v1/projects/1/annotations", params={"limit": 1})
        (made,) = page["items"]
    assert (made["selected_text"], made["confidence_score"], made["version"]) == ("Ada", 1, 2)


async def test_the_guide_to_importing_does_what_it_says(tmp_path: Path) -> None:
    def start() -> Any:
        return embedded(Settings(data_dir=tmp_path / "data"), REGISTRY)

    async with Shop(start) as shop:
        for script in _scripts("importing.md"):
            printed = await _run(shop, script, tmp_path)
            assert "urn:countermand:problem" not in printed, printed
        operations = await shop.get("/api/v1/batch/operations")
        accepted = [
            (await shop.get(f"/api/v1/batch/operations/{each}/import"))["file"]["accepted"]
            for each in (1, 2, 3, 4, 5)
        ]
    assert (operations["total"], accepted) == (5, [1, 1, 1, 1, 1])


async def test_the_guide_to_exporting_does_what_it_says(tmp_path: Path) -> None:
    def start() -> Any:
        return embedded(Settings(data_dir=tmp_path / "data"), REGISTRY)

    async with Shop(start) as shop:
        (script,) = _scripts("exporting.md")
        printed = await _run(shop, script, tmp_path)
        assert "urn:countermand:problem" not in printed, printed
        lost = (await shop.get("/api/v1/batch/operations/2/export"))["export"]["losses"]
    assert [each["code"] for each in lost] == ["key", "span_confidence"]
    assert "PERSON" in (tmp_path / "letters.csv").read_text()


async def test_the_guide_from_other_tools_brings_all_over(tmp_path: Path) -> None:
    def start() -> Any:
        return embedded(Settings(data_dir=tmp_path / "data"), REGISTRY)

    async with Shop(start) as shop:
        printed = [
            await _run(shop, script, tmp_path)
            for script in _scripts("from-doccano-and-label-studio.md")
        ]
        assert "urn:countermand:problem" not in "".join(printed)
        totals = {
            kind: (await shop.get(f"/api/v1/projects/1/{kind}"))["total"]
            for kind in ("texts", "labels", "annotations")
        }
        jobs = await _listed(shop, "annotations.validate", "annotations.update")
        validated = jobs["annotations.validate"]["job_id"]
        issues = await shop.get(f"/api/v1/jobs/{validated}/issues")
        edited = jobs["annotations.update"]["job_id"]
        undone = await shop.get(f"/api/v1/jobs/{edited}")
    assert totals == {"texts": 3, "labels": 2, "annotations": 6}
    assert (issues["score"], issues["items"], issues["rules"]) == (1.0, 6, [])
    assert (undone["status"], undone["counts"]["rolled_back"]) == ("rolled_back", 4)


async def _listed(shop: Shop, *operations: str) -> dict[str, Any]:
    """The latest job of each operation; the list comes a little behind the jobs."""
    async with asyncio.timeout(30):
        while True:
            jobs = {job["operation"]: job for job in (await shop.get("/api/v1/jobs"))["items"]}
            if jobs.keys() >= set(operations):
                return jobs
            await asyncio.sleep(0.02)
