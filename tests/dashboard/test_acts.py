"""What is asked of a job beside pause and resume, each with its consequence and a reason."""

from __future__ import annotations

import uuid
from typing import Any

from playwright.sync_api import Page, expect

from tests.crash.client import JOBS
from tests.dashboard.site import Dashboard, check_accessible
from tests.dashboard.test_job import STATUS, verb
from tests.dashboard.test_jobs import shelves


def act(page: Page, name: str, consequence: str, reason: str) -> None:
    """Ask for it, read what will come of it, say why, and do it."""
    verb(page, name)
    expect(page.locator("dialog .consequence")).to_contain_text(consequence)
    page.get_by_role("dialog").get_by_label("Reason").fill(reason)
    page.get_by_role("dialog").get_by_role("button", name=name, exact=True).click()
    expect(page.get_by_role("dialog")).to_have_count(0)


def reasons(dashboard: Dashboard, job: str) -> list[Any]:
    return [event["reason"] for event in dashboard.client.events(job) if event.get("reason")]


def test_a_job_that_runs_is_made_slower_and_more_urgent(dashboard: Dashboard) -> None:
    job = dashboard.submit("walker.step", [{"ms": 25}] * 2000, options={"chunk_size": 20})
    with dashboard.page(f"#/jobs/{job}") as page:
        verb(page, "adjust")
        expect(page.locator("dialog .consequence")).to_contain_text("what is settled stays")
        page.get_by_label("Rate").fill("40")
        page.get_by_label("Concurrency").fill("1")
        page.get_by_label("Priority").fill("9")
        page.get_by_label("Reason").fill("the provider asks for it")
        check_accessible(page)
        page.get_by_role("button", name="adjust", exact=True).last.click()
        figures = page.locator("main .panel", has=page.get_by_role("heading", name="Figures"))
        expect(figures).to_contain_text("40/s")
        act(page, "cancel", "will not be attempted", "seen enough")
        expect(page.locator(STATUS)).to_have_text("cancelled")
    said = dashboard.client.job(job)
    assert (said["priority"], said["caps"]["rate"], said["caps"]["concurrency"]) == (9, 40, 1)
    assert reasons(dashboard, job) == ["the provider asks for it", "seen enough"]


def test_a_job_at_rest_is_held_released_shredded_and_archived(dashboard: Dashboard) -> None:
    job = dashboard.submit("stock.open", shelves(uuid.uuid4().hex[:6], 2))
    dashboard.client.settle(job)
    with dashboard.page(f"#/jobs/{job}") as page:
        verbs = page.get_by_role("toolbar")
        act(page, "hold", "Keeps it from being shredded and archived", "case 17")
        expect(page.locator(".waiting")).to_contain_text("Held")
        expect(verbs.get_by_role("button", name="shred")).to_have_count(0)
        act(page, "release", "Lets it be shredded and archived again", "closed")
        verb(page, "shred")
        page.get_by_role("dialog").get_by_role("button", name="shred").click()
        expect(page.get_by_role("alert")).to_have_text("Say why: this needs a reason.")
        page.keyboard.press("Escape")
        act(page, "shred", "nobody reads the bodies of 2 items again", "a customer asked")
        expect(page.locator(".waiting")).to_contain_text("a customer asked")
        act(page, "archive", "puts it away for good".capitalize(), "it is old")
        expect(page.locator(STATUS)).to_have_text("archived")
        page.get_by_role("link", name="Items").click()
        expect(page.locator("table.plain tbody tr").first).to_contain_text("shredded")
    assert reasons(dashboard, job) == ["case 17", "closed", "a customer asked", "it is old"]


def test_an_undo_by_force_goes_over_what_others_wrote(dashboard: Dashboard) -> None:
    mark = uuid.uuid4().hex[:6]
    job = dashboard.submit("stock.open", shelves(mark, 3))
    dashboard.client.settle(job)
    dashboard.client.settle(dashboard.submit("stock.add", shelves(mark, 2)))
    with dashboard.page(f"#/jobs/{job}?tab=undo") as page:
        expect(page.locator("table.plain tbody tr")).to_have_count(2)
        page.get_by_label("over what others have written since").check()
        expect(page.get_by_text("Nothing is in the way.")).to_be_visible()
        page.get_by_role("button", name="Undo this job").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.locator(".consequence")).to_contain_text("Puts back 3 items")
        dialog.get_by_role("button", name="undo", exact=True).click()
        expect(page.get_by_role("alert")).to_have_text("Say why: this needs a reason.")
        dialog.get_by_label("Reason").fill("they were wrong as well")
        dialog.get_by_role("button", name="undo", exact=True).click()
        expect(page.locator(STATUS)).to_have_text("rolled back")
    (begun,) = [e for e in dashboard.client.events(job) if e["event"] == "job.undo_started"]
    assert (begun["force"], begun["reason"]) == (True, "they were wrong as well")
    assert dashboard.client.job(job)["counts"]["rolled_back"] == 3


def draft(dashboard: Dashboard, operation: str, items: list[Any]) -> str:
    """A job whose items are there, and whose seal is not."""
    ask, mark = dashboard.client.ask, uuid.uuid4().hex
    made = ask("POST", JOBS, {"operation": operation, "draft": True}, key=mark, status=202)
    job = str(made["job_id"])
    ask("POST", f"{JOBS}/{job}/items?part=0", items, status=202)
    return job


def test_items_of_a_draft_are_edited_and_left_out_and_it_is_sealed(dashboard: Dashboard) -> None:
    mark = uuid.uuid4().hex[:6]
    job = draft(dashboard, "stock.open", shelves(mark, 3))
    with dashboard.page(f"#/jobs/{job}?tab=items") as page:
        dialog = page.get_by_role("dialog")
        page.get_by_role("button", name="1", exact=True).click()
        dialog.get_by_role("button", name="Edit", exact=True).click()
        expect(dialog.locator(".consequence")).to_contain_text("Gives this one item the body below")
        dialog.get_by_label("Body").fill(f'{{"code": "{mark}-other", "amount": 5}}')
        dialog.get_by_label("Reason").fill("a slip of the pen")
        check_accessible(page)
        dialog.get_by_role("button", name="edit", exact=True).click()
        expect(page.locator("table.plain tbody tr").nth(1)).to_contain_text(f"{mark}-other")
        page.get_by_role("button", name="2", exact=True).click()
        dialog.get_by_role("button", name="Leave out").click()
        expect(dialog.locator(".consequence")).to_contain_text("nothing brings it back")
        dialog.get_by_label("Reason").fill("sold")
        dialog.get_by_role("button", name="leave out", exact=True).click()
        expect(page.locator("table.plain tbody tr").nth(2)).to_contain_text("skipped")
        verb(page, "seal")
        expect(dialog.locator(".consequence")).to_contain_text("Works the 3 items that it has")
        dialog.get_by_role("button", name="seal", exact=True).click()
        expect(page.locator(STATUS)).to_have_text("completed")
    assert reasons(dashboard, job) == ["a slip of the pen", "sold"]
    sent = [each["status"] for each in dashboard.client.items(job)]
    assert sent == ["succeeded", "succeeded", "skipped"]


def test_a_part_that_nobody_has_seen_is_not_sealed(dashboard: Dashboard) -> None:
    mark = uuid.uuid4().hex[:6]
    job = draft(dashboard, "stock.open", shelves(mark, 1))
    with dashboard.page(f"#/jobs/{job}", known=["422 (Unprocessable Entity)"]) as page:
        verb(page, "seal")
        more = shelves(f"{mark}-more", 1)
        dashboard.client.ask("POST", f"{JOBS}/{job}/items?part=1", more, status=202)
        page.get_by_role("dialog").get_by_role("button", name="seal", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("2")
    assert dashboard.client.job(job)["status"] == "draft"


def test_what_a_stop_has_left_is_worked_instead_of_what_failed(dashboard: Dashboard) -> None:
    options = {"chunk_size": 1, "stop_on_error": True, "rate": 20}
    job = dashboard.submit("walker.step", [{"ms": "no"}, *[{"ms": 0}] * 20], options=options)
    left = dashboard.client.settle(job)["counts"]["skipped"]
    assert left
    with dashboard.page(f"#/jobs/{job}") as page:
        verb(page, "retry")
        words = page.locator("dialog .consequence")
        expect(words).to_contain_text("Re-runs 1 failed item")
        page.get_by_label("what was left unattempted, instead of what has failed").check()
        expect(words).to_contain_text(f"Works what was left unattempted of {left} skipped")
        page.get_by_label("Reason").fill("it was the first one only")
        page.get_by_role("dialog").get_by_role("button", name="retry", exact=True).click()
        expect(page.locator(STATUS)).to_have_text("completed with errors")
    counts = dashboard.client.job(job)["counts"]
    assert (counts["failed"], counts["skipped"]) == (1, 0)
