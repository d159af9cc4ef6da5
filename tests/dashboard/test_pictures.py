"""Pictures of each page in both themes, as docs/dashboard.md shows them.

They are looked at by people: ``PICTURES=docs/dashboard`` keeps those of a run there. Each run makes
them all, so that none can be of a page that is no more.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Page, expect

from tests.dashboard.site import THEMES, Dashboard, check_fits
from tests.dashboard.test_job import lines
from tests.dashboard.test_jobs import shelves

PHONE: Final = (390, 780)
"""Pixels across and down."""
KEPT: Final = Path(__file__).parents[2] / "docs" / "dashboard"
ON_A_PHONE: Final = ("jobs", "job", "operations")
DOCUMENT: Final = KEPT.with_suffix(".md")


def story(dashboard: Dashboard) -> tuple[str, str]:
    """A tenant's morning: a delivery that half fails, a count, and an undo."""
    mark = uuid.uuid4().hex[:4]
    for number in range(3):
        name = f"Open aisle {number + 1}"
        opened = dashboard.submit(
            "stock.open", shelves(f"{mark}-{number}", 400), name=name, tags=["spring"]
        )
        dashboard.client.settle(opened)
    failing = dashboard.submit(
        "stock.add",
        [*lines(f"{mark}-0", 350, 0), *lines(f"{mark}-9", 9, 9), {"code": 1}],
        name="Delivery of Monday",
        tags=["spring", "delivery"],
        options={"chunk_size": 5, "rate": 200},
    )
    dashboard.client.settle(failing)
    dashboard.client.settle(dashboard.submit("stock.add", shelves(f"{mark}-1", 3), name="Recount"))
    return opened, failing


def plan(dashboard: Dashboard) -> str:
    """A dry run that has found what would change, and what would fail."""
    mark = uuid.uuid4().hex[:4]
    dashboard.client.settle(dashboard.submit("stock.open", shelves(mark, 12)))
    deliveries = [*lines(mark, 9, 2), {"code": 1}]
    job = dashboard.submit(
        "stock.add", deliveries, name="Delivery of Tuesday", options={"dry_run": True}
    )
    dashboard.client.settle(job)
    return job


def project(dashboard: Dashboard) -> int:
    """A project whose annotations came by a bulk operation."""
    ask = dashboard.client.ask
    made = ask("POST", "/api/v1/projects", {"name": "Letters"}, key="letters", status=201)
    number: int = made["project_id"]
    where = f"/api/v1/projects/{number}"
    text: Any = {"content": "Ada wrote to Charles, and Grace answered."}
    text = ask("POST", f"{where}/texts", text, key="text", status=201)
    ask("POST", f"{where}/labels", {"name": "PERSON"}, key="label", status=201)
    spans = [{"start_char": at, "end_char": at + 3, "label": "PERSON"} for at in (0, 13, 26)]
    body = {
        "project_id": number,
        "annotations": [{"text_id": text["text_id"], **each} for each in spans],
    }
    ask("POST", "/api/v1/batch/annotations/create", body, key="bulk", status=202)
    return number


def test_each_page_has_a_picture_in_both_themes(dashboard: Dashboard, tmp_path: Path) -> None:
    opened, failing = story(dashboard)
    letters = project(dashboard)
    waiting = dashboard.submit("stock.open", shelves(uuid.uuid4().hex[:4], 2501), name="Move in")
    pages = {
        "jobs": ("#/jobs?tag=spring", "tr[data-job] .chip"),
        "job": (f"#/jobs/{failing}", ".chart svg"),
        "items": (f"#/jobs/{failing}?tab=items&status=failed", "table.plain tbody tr button"),
        "errors": (f"#/jobs/{failing}?tab=errors", ".group"),
        "undo": (f"#/jobs/{opened}?tab=undo", ".stack .facts"),
        "audit": (f"#/jobs/{failing}?tab=audit&at=3", "table.plain tbody tr"),
        "plan": (f"#/jobs/{plan(dashboard)}?tab=plan", "del"),
        "approval": (f"#/jobs/{waiting}", ".waiting"),
        "submit": ("#/submit?operation=stock.add", ".drop-zone"),
        "systems": (f"#/systems/annotations?project={letters}", "tbody .chip"),
        "operations": ("#/operations", "[aria-label=Workers] tbody tr"),
    }
    folder = Path(os.environ.get("PICTURES", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    for theme in THEMES:
        with dashboard.page(width=1100, height=760, theme=theme) as page:
            for name, (where, seen) in pages.items():
                page.goto(f"{dashboard.server.url}/{where}")
                expect(page.locator("[data-state=live]")).to_be_visible()
                expect(page.locator(f"main {seen}").first).to_be_visible()
                check_fits(page)
                _take(page, folder / f"{name}-{theme}.png")
        _on_a_phone(dashboard, theme, pages, folder)
        _signing_in(dashboard, theme, folder)
    names = [*pages, "sign-in", *(f"phone-{name}" for name in ON_A_PHONE)]
    made = {f"{name}-{theme}.png" for name in names for theme in THEMES}
    assert {each.name for each in KEPT.glob("*.png")} == made
    assert all((KEPT / name).stat().st_size < 200_000 for name in made)
    shown = DOCUMENT.read_text(encoding="utf-8")
    assert all(f"dashboard/{name}-light.png" in shown for name in names)


def _on_a_phone(
    dashboard: Dashboard, theme: str, pages: Mapping[str, tuple[str, str]], folder: Path
) -> None:
    width, height = PHONE
    with dashboard.page(width=width, height=height, theme=theme, phone=True) as page:
        for name in ON_A_PHONE:
            where, seen = pages[name]
            page.goto(f"{dashboard.server.url}/{where}")
            expect(page.locator(f"main {seen}").first).to_be_visible()
            check_fits(page)
            _take(page, folder / f"phone-{name}-{theme}.png")


def _signing_in(dashboard: Dashboard, theme: str, folder: Path) -> None:
    known = ["401 (Unauthorized)"]
    with dashboard.page(credential="", known=known, width=1100, height=420, theme=theme) as page:
        expect(page.get_by_label("Token or API key")).to_be_visible()
        _take(page, folder / f"sign-in-{theme}.png")


def _take(page: Page, path: Path) -> None:
    page.wait_for_load_state("networkidle") if "operations" in path.name else None
    page.screenshot(path=path, animations="disabled", caret="hide")
    assert path.read_bytes().startswith(b"\x89PNG")
