"""Every page and every action by keyboard alone."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Final

import pytest
from playwright.sync_api import Page, expect

from tests.crash.client import JOBS
from tests.dashboard.keys import LISTENING, Keys, check_keyboard
from tests.dashboard.site import ANNA, Dashboard, wait_listed
from tests.dashboard.test_acts import draft, reasons
from tests.dashboard.test_job import STATUS, lines
from tests.dashboard.test_jobs import shelves

OTHER = {"hold": "release", "release": "hold"}
"""What may be asked when a verb has been obeyed."""


def _views(dashboard: Dashboard) -> list[tuple[str, str]]:
    """Addresses of all views, and what is on each and not on the one before it."""
    mark = uuid.uuid4().hex[:6]
    dashboard.client.settle(dashboard.submit("stock.open", shelves(mark, 60), tags=[mark]))
    failing = dashboard.submit("stock.add", lines(mark, 60, 3), tags=[mark])
    planned = dashboard.submit("stock.add", lines(mark, 3, 0), options={"dry_run": True})
    opened = draft(dashboard, "stock.open", shelves(f"{mark}-d", 2))
    waiting = dashboard.submit("stock.open", shelves(f"{mark}-w", 2501))
    dashboard.client.settle(failing)
    dashboard.client.settle(planned)
    wait_listed(dashboard.client, [failing])
    return [
        (f"jobs?tag={mark}", "tr[data-job]"),
        (f"jobs/{failing}", ".chart"),
        (f"jobs/{failing}?at=2", ".travel.past"),
        (f"jobs/{failing}?tab=items", "tbody tr:nth-child(50)"),
        (f"jobs/{failing}?tab=errors", ".group"),
        (f"jobs/{failing}?tab=undo", ".tick"),
        (f"jobs/{failing}?tab=audit", "[aria-label='Audit trail']"),
        (f"jobs/{planned}?tab=plan", "[aria-label=Changes]"),
        (f"jobs/{opened}", "button:text-is('seal')"),
        (f"jobs/{waiting}", "button:text-is('approve')"),
        ("submit?operation=stock.add", ".drop-zone"),
        ("systems", ".tabs a"),
        ("operations", "[aria-label=Workers]"),
    ]


def test_tab_comes_to_all_that_can_be_clicked(dashboard: Dashboard) -> None:
    views = _views(dashboard)
    with dashboard.page(f"#/{views[0][0]}", script=LISTENING) as page:
        for where, there in views:
            page.goto(f"{dashboard.server.url}/#/{where}")
            expect(page.locator(f"main {there}").first).to_be_visible()
            check_keyboard(page)
        page.goto(f"{dashboard.server.url}/#/{views[3][0]}")
        Keys(page).press(page.get_by_role("button", name="0", exact=True))
        expect(page.get_by_role("dialog")).to_be_visible()
        check_keyboard(page)


def test_whoever_is_at_something_stays_there_while_the_job_goes_on(dashboard: Dashboard) -> None:
    mark = uuid.uuid4().hex[:6]
    dashboard.client.settle(dashboard.submit("stock.open", shelves(mark, 9)))
    failing = dashboard.submit("stock.add", lines(mark, 9, 3))
    planned = dashboard.submit("stock.add", lines(mark, 3, 0), options={"dry_run": True})
    dashboard.client.settle(failing)
    dashboard.client.settle(planned)
    at = [
        (failing, "items", "items", "2"),
        (failing, "errors", "errors", "Edit and replay"),
        (failing, "undo", "undo-preview", "Undo this job"),
        (planned, "plan", "plan", "Apply this plan"),
    ]
    with dashboard.page("#/jobs") as page:
        for job, tab, read, name in at:
            page.goto(f"{dashboard.server.url}/#/jobs/{job}?tab={tab}")
            button = page.locator("main").get_by_role("button", name=name, exact=True)
            expect(button).to_be_visible()
            button.focus()
            here = button.element_handle()
            for verb in ("hold", "release"):
                with page.expect_response(lambda said, read=read: f"/{read}" in said.url):
                    dashboard.client.ask(
                        "POST", f"{JOBS}/{job}/{verb}", {"reason": "a case"}, status=202
                    )
                expect(page.get_by_role("toolbar")).to_contain_text(OTHER[verb])
                page.evaluate("new Promise((drawn) => setTimeout(drawn, 200))")
                assert page.evaluate("(here) => here === document.activeElement", here), tab


def test_a_job_is_submitted_tried_applied_and_undone(dashboard: Dashboard) -> None:
    mark = uuid.uuid4().hex[:6]
    with dashboard.page("#/jobs") as page:
        keys = Keys(page)
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        page.goto(f"{dashboard.server.url}/#/systems")
        keys.press(page.get_by_role("link", name="Submit", exact=True))
        expect(page.get_by_role("heading", name="Parameters")).to_be_visible()
        keys.write(page.get_by_label("Operation"), "stock.open")
        keys.write(page.get_by_label("Code", exact=True), mark)
        keys.write(page.get_by_label("Amount", exact=True), "7")
        keys.press(page.get_by_role("button", name="Add this item"))
        keys.press(page.get_by_role("button", name="Dry run first"))
        keys.press(page.get_by_role("button", name="Apply this plan"))
        keys.confirm("apply")
        expect(page.locator(STATUS)).to_have_text("completed")
        job = page.url.rpartition("/")[2]
        keys.verb("hold", "case 3")
        keys.verb("release", "closed")
        keys.press(page.get_by_role("link", name="undo…"))
        keys.press(page.get_by_label("over what others have written"), "Space")
        keys.press(page.get_by_role("button", name="Undo this job"))
        keys.confirm("undo", "not this shelf")
        expect(page.locator(STATUS)).to_have_text("rolled back")
        keys.press(page.get_by_role("link", name="Audit"))
        keys.press(page.get_by_role("button", name="Verify"))
        expect(page.locator("main [role=status]")).to_contain_text("sound")
        keys.press(page.get_by_label("Version of the job"), "Home")
        expect(page.locator(STATUS)).to_have_text("pending")
        keys.press(page.get_by_role("button", name="Now"))
        keys.verb("shred", "it was a trial")
        keys.verb("archive", "as was all of it")
        expect(page.locator(STATUS)).to_have_text("archived")
    said = ["case 3", "closed", "not this shelf", "it was a trial", "as was all of it"]
    assert reasons(dashboard, job) == said


def test_a_job_that_runs_is_steered_and_tried_again(dashboard: Dashboard) -> None:
    job = dashboard.submit("walker.step", [{"ms": 25}] * 2000, options={"chunk_size": 20})
    with dashboard.page(f"#/jobs/{job}") as page:
        keys, dialog = Keys(page), page.get_by_role("dialog")
        keys.verb("pause", "lunch")
        expect(page.locator(STATUS)).to_have_text("paused")
        keys.press(page.get_by_role("button", name="adjust"))
        keys.write(dialog.get_by_label("Priority"), "9")
        keys.confirm("adjust", "hurry")
        keys.verb("resume", "lunch is over")
        expect(page.locator(STATUS)).to_have_text("running")
        keys.press(page.get_by_role("button", name="cancel"))
        keys.press(dialog.get_by_label("let what is in flight end first"), "Space")
        keys.confirm("cancel", "enough")
        expect(page.locator(STATUS)).to_have_text("cancelled")
        keys.press(page.get_by_role("button", name="retry"))
        expect(dialog.get_by_label("what was left unattempted")).to_be_checked()
        keys.confirm("retry", "go on")
        expect(page.locator(STATUS)).to_have_text("running")
        keys.verb("cancel", "enough again")
        expect(page.locator(STATUS)).to_have_text("cancelled")
    said = ["lunch", "hurry", "lunch is over", "enough", "go on", "enough again"]
    assert list(dict.fromkeys(reasons(dashboard, job))) == said


def _many_items(dashboard: Dashboard) -> str:
    job = dashboard.submit("stock.open", shelves(uuid.uuid4().hex[:6], 51))
    dashboard.client.settle(job)
    return f"jobs/{job}?tab=items"


def _much_in_the_way(dashboard: Dashboard) -> str:
    many = shelves(uuid.uuid4().hex[:6], 101)
    job = dashboard.submit("stock.open", many)
    dashboard.client.settle(job)
    dashboard.client.settle(dashboard.submit("stock.add", many))
    return f"jobs/{job}?tab=undo"


def _many_events(dashboard: Dashboard) -> str:
    job = dashboard.submit("stock.open", shelves(uuid.uuid4().hex[:6], 1))
    dashboard.client.settle(job)
    for verb in ["hold", "release"] * 51:
        path = f"{JOBS}/{job}/{verb}"
        dashboard.client.ask("POST", path, {"reason": "a case"}, status=202)
    return f"jobs/{job}?tab=audit"


def _many_operations(dashboard: Dashboard) -> str:
    ask, mark = dashboard.client.ask, uuid.uuid4().hex
    made = ask("POST", "/api/v1/projects", {"name": mark}, key=mark, status=201)
    body = {"project_id": made["project_id"], "ids": [999_999]}
    for each in range(21):
        ask("DELETE", "/api/v1/batch/annotations/delete", body, key=f"{mark}-{each}", status=202)
    return f"systems/annotations?project={made['project_id']}"


_LISTS: Final[dict[str, tuple[Callable[[Dashboard], str], str, str, str]]] = {
    "items": (_many_items, "Items", "Later", "Earlier"),
    "what is in the way": (_much_in_the_way, "What would stay as it is", "Later", "Earlier"),
    "events": (_many_events, "Audit trail", "Earlier", "Later"),
    "operations": (_many_operations, "Operations", "Earlier ones", "Later ones"),
}
"""Lists of more than a page: how there is one, its region, and the ways to its end and back."""


@pytest.mark.parametrize("which", _LISTS)
def test_whoever_pages_through_a_list_stays_at_the_button(dashboard: Dashboard, which: str) -> None:
    make, name, on, back = _LISTS[which]
    with dashboard.page(f"#/{make(dashboard)}") as page:
        first = page.get_by_role("region", name=name, exact=True).locator("tbody tr").first
        for words in (on, back):
            before = first.inner_text()
            button = page.get_by_role("button", name=words, exact=True)
            button.press("Enter")
            expect(first).not_to_have_text(before, use_inner_text=True)
            expect(button).to_be_focused()
            expect(button).to_have_attribute("aria-disabled", "true")


def _item(page: Page, number: int) -> None:
    Keys(page).press(page.get_by_role("button", name=str(number), exact=True))


def test_failed_items_are_edited_and_replayed(dashboard: Dashboard) -> None:
    mark = uuid.uuid4().hex[:6]
    dashboard.client.settle(dashboard.submit("stock.open", shelves(mark, 9)))
    job = dashboard.submit("stock.add", lines(mark, 9, 3))
    dashboard.client.settle(job)
    with dashboard.page(f"#/jobs/{job}") as page:
        keys, dialog = Keys(page), page.get_by_role("dialog")
        keys.press(page.get_by_role("link", name="Items"))
        keys.write(page.locator("select[name=status]"), "failed")
        expect(page.locator("table.plain tbody tr")).to_have_count(3)
        with page.expect_download():
            keys.press(page.get_by_role("button", name="CSV"))
        _item(page, 0)
        keys.press(dialog.get_by_role("button", name="Edit and replay"))
        keys.write(dialog.get_by_label("Body"), f'{{"code": "{mark}-7", "amount": 2}}')
        keys.confirm("replay", "one")
        expect(page.locator("table.plain tbody tr")).to_have_count(2)
        keys.press(page.get_by_role("link", name="Errors"))
        keys.press(page.get_by_role("button", name="Replay as they are"))
        keys.confirm("replay", "again")
        # The same two are there before and after it; between the two the group is gone.
        dashboard.client.settle(job)
        keys.press(page.get_by_role("link", name="Overview"))
        keys.press(page.get_by_role("link", name="Errors"))
        expect(page.locator(".group")).to_contain_text("2 items")
        keys.press(page.get_by_role("button", name="Edit and replay"))
        keys.write(dialog.get_by_label("Merge patch"), f'{{"code": "{mark}-8"}}')
        keys.confirm("replay", "all")
        expect(page.locator(STATUS)).to_have_text("completed")
    assert reasons(dashboard, job) == ["one", "again", "all"]


def test_a_draft_is_edited_and_sealed_and_somebody_else_approves(dashboard: Dashboard) -> None:
    mark = uuid.uuid4().hex[:6]
    job = draft(dashboard, "stock.open", shelves(mark, 2502))
    with dashboard.page(f"#/jobs/{job}?tab=items") as page:
        keys, dialog = Keys(page), page.get_by_role("dialog")
        _item(page, 0)
        keys.press(dialog.get_by_role("button", name="Edit", exact=True))
        keys.write(dialog.get_by_label("Body"), f'{{"code": "{mark}", "amount": 2}}')
        keys.confirm("edit", "a slip")
        _item(page, 1)
        keys.press(dialog.get_by_role("button", name="Leave out"))
        keys.confirm("leave out", "sold")
        keys.verb("seal")
        expect(page.locator(STATUS)).to_have_text("awaiting approval")
    with dashboard.page(f"#/jobs/{job}", credential=ANNA) as page:
        Keys(page).verb("reject", "not today")
        expect(page.locator(STATUS)).to_have_text("rejected")
    assert reasons(dashboard, job)[:2] == ["a slip", "sold"]
    assert reasons(dashboard, job)[-1] == "not today"
