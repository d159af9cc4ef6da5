"""What is asked of a job beside pause and resume, each with its consequence and a reason."""

from __future__ import annotations

import re
import uuid
from typing import Any

from playwright.sync_api import Page, Route, expect

from tests.crash.client import BATCHES, JOBS
from tests.dashboard.site import LOSING, ROUNDING, Dashboard, Held, check_accessible
from tests.dashboard.test_job import STATUS, lines, verb
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
        force = page.get_by_label("over what others have written since")
        force.check()
        expect(page.get_by_text("Nothing is in the way.")).to_be_visible()
        expect(force).to_be_focused()
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


def test_an_undo_does_what_its_preview_has_said(dashboard: Dashboard) -> None:
    mark = uuid.uuid4().hex[:6]
    job = dashboard.submit("stock.open", shelves(mark, 3))
    dashboard.client.settle(job)
    dashboard.client.settle(dashboard.submit("stock.add", shelves(mark, 2)))
    held = Held()
    with dashboard.page(f"#/jobs/{job}?tab=undo") as page:
        expect(page.locator("table.plain tbody tr")).to_have_count(2)
        page.route(re.compile("undo-preview.*force=true"), held.keep)
        page.get_by_label("over what others have written since").check()
        held.wait(page)
        page.get_by_role("button", name="Undo this job").click()
        dialog = page.get_by_role("dialog")
        words = "Puts back 1 item; 2 items stay as others have written since."
        expect(dialog.locator(".consequence")).to_have_text(words)
        dialog.get_by_role("button", name="undo", exact=True).click()
        expect(dialog).to_have_count(0)
    assert dashboard.client.settle(job)["counts"]["rolled_back"] == 1
    (begun,) = [e for e in dashboard.client.events(job) if e["event"] == "job.undo_started"]
    assert not begun.get("force")


def test_what_was_seen_is_undone_and_not_an_undo_that_came_since(dashboard: Dashboard) -> None:
    mark = uuid.uuid4().hex[:6]
    job = dashboard.submit("stock.open", shelves(mark, 2))
    dashboard.client.settle(job)
    held = Held()
    known = ["412 (Precondition Failed)"]
    with dashboard.page(f"#/jobs/{job}?tab=undo", known=known) as page:
        expect(page.get_by_role("button", name="Undo this job")).to_be_visible()
        expect(page.locator("[data-state=live]")).to_have_text("Live")
        page.route("**/undo-preview?*", held.keep)
        dashboard.other.command(job, "undo", mark)
        expect(page.locator(STATUS)).to_have_text("rolled back")
        page.get_by_role("button", name="Undo this job").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.locator(".consequence")).to_contain_text("Puts back 2 items")
        dialog.get_by_role("button", name="undo", exact=True).click()
        expect(dialog.get_by_role("alert")).not_to_be_empty()
    undone = dashboard.client.settle(job)
    assert undone["status"] == "rolled_back"
    begun = [e for e in dashboard.client.events(job) if e["event"] == "job.undo_started"]
    assert len(begun) == 1


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


def test_a_verb_is_asked_of_the_job_as_it_is_when_it_is_pressed(dashboard: Dashboard) -> None:
    options = {"chunk_size": 2, "rate": 40}
    job = dashboard.submit("walker.step", [{"ms": 0}] * 2000, options=options)
    with dashboard.page(f"#/jobs/{job}") as page:
        figures = page.locator(".job-head .facts")
        expect(page.locator(STATUS)).to_have_text("running")
        expect(figures).to_contain_text(re.compile(r"succeeded[1-9]\d"))
        seen = re.search(r"succeeded(\d+)", figures.text_content() or "")
        assert seen
        verb(page, "pause")
        said = re.search(r"(\d+) done stay", page.locator("dialog .consequence").inner_text())
        assert said
        assert int(said[1]) >= int(seen[1])
        page.keyboard.press("Escape")
        act(page, "cancel", "will not be attempted", "seen enough")
        expect(page.locator(STATUS)).to_have_text("cancelled")


def test_an_adjustment_leaves_what_somebody_else_has_adjusted(dashboard: Dashboard) -> None:
    options = {"chunk_size": 20, "rate": 40}
    job = dashboard.submit("walker.step", [{"ms": 25}] * 2000, options=options)
    with dashboard.page(f"#/jobs/{job}") as page:
        verb(page, "adjust")
        expect(page.get_by_label("Rate")).to_have_value("40")
        dashboard.other.ask("POST", f"{JOBS}/{job}/adjust", {"rate": 50}, status=202)
        page.get_by_label("Priority").fill("9")
        page.get_by_role("button", name="adjust", exact=True).last.click()
        expect(page.get_by_role("dialog")).to_have_count(0)
        said = dashboard.client.job(job)
        assert (said["priority"], said["caps"]["rate"]) == (9, 50)
        act(page, "cancel", "will not be attempted", "seen enough")


def test_a_mistyped_number_lifts_no_cap_and_an_emptied_priority_is_none(
    dashboard: Dashboard,
) -> None:
    options = {"chunk_size": 20, "rate": 40}
    job = dashboard.submit("walker.step", [{"ms": 25}] * 2000, options=options)
    with dashboard.page(f"#/jobs/{job}") as page:
        verb(page, "adjust")
        for name in ("Rate", "Priority"):
            was = page.get_by_label(name).input_value()
            page.get_by_label(name).fill("")
            page.get_by_label(name).press_sequentially("4e" if name == "Rate" else "")
            page.get_by_role("button", name="adjust", exact=True).last.click()
            expect(page.get_by_role("alert")).to_contain_text(name)
            page.get_by_label(name).fill(was)
        page.keyboard.press("Escape")
        said = dashboard.client.job(job)
        assert (said["priority"], said["caps"]["rate"]) == (5, 40)
        act(page, "cancel", "will not be attempted", "seen enough")


def test_a_batch_is_undone_from_its_page(dashboard: Dashboard) -> None:
    mark = uuid.uuid4().hex[:6]
    steps = [
        {"name": "open", "operation": "stock.open", "items": shelves(mark, 2)},
        {"name": "fill", "operation": "stock.add", "items": shelves(mark, 2), "after": ["open"]},
    ]
    asked = {"name": "To undo", "steps": steps}
    batch = dashboard.client.ask("POST", BATCHES, asked, key=mark, status=202)["job_id"]
    dashboard.client.settle(batch)
    with dashboard.page(f"#/jobs/{batch}") as page:
        expect(page.locator("a.node.good")).to_have_count(2)
        expect(page.get_by_role("link", name="Undo", exact=True)).to_have_count(0)
        act(page, "undo", "Puts back what 4 items changed", "the wrong shelves")
        expect(page.locator(STATUS)).to_have_text("rolled back")
    assert reasons(dashboard, batch) == ["the wrong shelves"]


def test_a_verb_whose_answer_is_lost_is_done_once(dashboard: Dashboard) -> None:
    job = dashboard.submit("stock.open", shelves(uuid.uuid4().hex[:6], 2))
    dashboard.client.settle(job)
    with dashboard.page(f"#/jobs/{job}?tab=undo", script=LOSING) as page:
        page.get_by_role("button", name="Undo this job").click()
        page.evaluate("window.lose = '/undo'")
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("button", name="undo", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("it is not known whether it arrived")
        dialog.get_by_role("button", name="undo", exact=True).click()
        expect(dialog).to_have_count(0)
        expect(page.locator(STATUS)).to_have_text("rolled back")
    begun = [e for e in dashboard.client.events(job) if e["event"] == "job.undo_started"]
    assert len(begun) == 1


def test_whole_numbers_of_any_length_are_edited_as_they_are(dashboard: Dashboard) -> None:
    mark, long = uuid.uuid4().hex[:6], 2**53 + 1
    job = dashboard.submit("stock.add", [{"code": mark, "amount": long}])
    dashboard.client.settle(job)
    with dashboard.page(f"#/jobs/{job}?tab=items") as page:
        expect(page.locator("table.plain tbody")).to_contain_text(str(long))
        page.get_by_role("button", name="0", exact=True).click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("button", name="Edit and replay").click()
        body = dialog.get_by_label("Body")
        expect(body).to_have_value(re.compile(str(long)))
        body.fill(f'{{"code": "{mark}-other", "amount": {long}}}')
        dialog.get_by_role("button", name="replay", exact=True).click()
        expect(dialog).to_have_count(0)
        dashboard.client.settle(job)
    item = dashboard.client.ask("GET", f"{JOBS}/{job}/items/0")["item"]
    assert item == {"code": f"{mark}-other", "amount": long}


def test_a_browser_that_rounds_shows_an_item_and_lets_nobody_edit_it(
    dashboard: Dashboard,
) -> None:
    long = 2**53 + 1
    job = dashboard.submit("stock.add", [{"code": uuid.uuid4().hex[:6], "amount": long}])
    dashboard.client.settle(job)
    with dashboard.page(f"#/jobs/{job}?tab=items", script=ROUNDING) as page:
        expect(page.locator("table.plain tbody")).to_contain_text(str(long - 1))
        page.get_by_role("button", name="0", exact=True).click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("button", name="Edit and replay").click()
        expect(page.locator("#notices")).to_contain_text("would be changed by this browser")
        expect(dialog).to_have_count(0)


def test_records_of_a_plan_are_shown_by_ids_of_any_length(dashboard: Dashboard) -> None:
    mark, long = uuid.uuid4().hex[:6], 2**62 + 1
    dashboard.client.settle(dashboard.submit("stock.open", shelves(mark, 1)))
    job = dashboard.submit("stock.add", shelves(mark, 1), options={"dry_run": True})
    dashboard.client.settle(job)

    def lengthen(route: Route) -> None:
        said = route.fetch().json()
        for item in said.get("items", [said]):
            for change in item["changes"] or []:
                change["id"] = long
        route.fulfill(json=said)

    def move(route: Route) -> None:
        said = route.fetch().json()
        said["changed"] = [{"table": "shelves", "record": long, "planned": 1, "version": 2}]
        route.fulfill(json=said)

    with dashboard.page("#/jobs") as page:
        page.route(re.compile(rf"/jobs/{job}/items[?/]"), lengthen)
        page.route(f"**/jobs/{job}/plan", move)
        page.goto(f"{dashboard.server.url}/#/jobs/{job}?tab=plan")
        expect(page.locator("table.plain tbody")).to_contain_text(f"shelves/{long}")
        expect(page.locator(".bad-words").last).to_contain_text(f"shelves/{long} changed since")
        page.get_by_role("link", name="Items").click()
        page.get_by_role("button", name="0", exact=True).click()
        expect(page.get_by_role("dialog").get_by_role("region", name="Changes")).to_contain_text(
            f"shelves/{long}"
        )


def test_a_plan_is_not_applied_from_the_past(dashboard: Dashboard) -> None:
    mark = uuid.uuid4().hex[:6]
    dashboard.client.settle(dashboard.submit("stock.open", shelves(mark, 2)))
    job = dashboard.submit("stock.add", lines(mark, 2, 0), options={"dry_run": True})
    version = dashboard.client.settle(job)["version"]
    with dashboard.page(f"#/jobs/{job}?tab=plan&at={version}") as page:
        expect(page.get_by_text("Would be done")).to_be_visible()
        expect(page.get_by_role("button", name="Apply this plan")).to_have_count(0)
        page.get_by_role("button", name="Now").click()
        expect(page.get_by_role("button", name="Apply this plan")).to_be_visible()


def test_a_dialog_goes_with_the_page_that_it_is_about(dashboard: Dashboard) -> None:
    first, second = (
        dashboard.submit("stock.open", shelves(uuid.uuid4().hex[:6], 1)) for _ in range(2)
    )
    for job in (first, second):
        dashboard.client.settle(job)
    with dashboard.page(f"#/jobs/{first}") as page:
        expect(page.locator(".id")).to_have_text(first)
        page.goto(f"{dashboard.server.url}/#/jobs/{second}")
        expect(page.locator(".id")).to_have_text(second)
        verb(page, "hold")
        expect(page.get_by_role("dialog")).to_be_visible()
        page.go_back()
        expect(page.locator(".id")).to_have_text(first)
        expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_dialog_does_not_open_over_another_job(dashboard: Dashboard) -> None:
    options = {"chunk_size": 1, "stop_on_error": True, "rate": 20}
    first = dashboard.submit("walker.step", [{"ms": "no"}, *[{"ms": 0}] * 20], options=options)
    second = dashboard.submit("stock.open", shelves(uuid.uuid4().hex[:6], 1))
    for job in (first, second):
        dashboard.client.settle(job)
    held = Held()
    with dashboard.page(f"#/jobs/{first}") as page:
        page.route("**/items?status=unattempted*", held.keep)
        verb(page, "retry")
        held.wait(page)
        page.goto(f"{dashboard.server.url}/#/jobs/{second}")
        expect(page.locator(".id")).to_have_text(second)
        held.routes[0].continue_()
        page.wait_for_timeout(1000)
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(page.locator(".notice")).to_have_count(0)


def test_who_has_closed_a_dialog_is_told_that_it_was_refused(dashboard: Dashboard) -> None:
    job = dashboard.submit("stock.open", shelves(uuid.uuid4().hex[:6], 1))
    dashboard.client.settle(job)
    held = Held()
    with dashboard.page(f"#/jobs/{job}", known=["409 (Conflict)"]) as page:
        page.route("**/hold", held.keep)
        verb(page, "hold")
        page.get_by_role("dialog").get_by_role("button", name="hold", exact=True).click()
        held.wait(page)
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        held.routes[0].fulfill(status=409, json={"detail": "It is held already."})
        expect(page.locator("#notices")).to_contain_text("It is held already.")
