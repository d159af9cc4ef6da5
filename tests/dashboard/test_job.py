"""A job's page: what is seen of it, and what is done to it, in a browser."""

from __future__ import annotations

import json
import re
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Page, Route, expect

from tests.dashboard.site import ANNA, AWAY, Dashboard, check_accessible, check_fits
from tests.dashboard.test_jobs import HOSTILE, shelves

STATUS: Final = ".job-head h1 + .chip"
TABS: Final = ("overview", "items", "errors", "undo", "audit")


def lines(prefix: str, count: int, missing: int) -> list[dict[str, object]]:
    """Deliveries, of which the first go to shelves that are not there."""
    return [
        {"code": f"{prefix}-{'no' if number < missing else ''}{number}", "amount": 1}
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def failing(dashboard: Dashboard) -> str:
    """A job with two kinds of failures, and a hostile name."""
    mark = uuid.uuid4().hex[:6]
    dashboard.client.settle(dashboard.submit("stock.open", shelves(mark, 40)))
    job = dashboard.submit(
        "stock.add",
        [*lines(mark, 30, 7), *({"code": each, "amount": 1} for each in HOSTILE), {"code": 1}],
        name=HOSTILE[1] + HOSTILE[2] + HOSTILE[3][:3000],
        tags=["<b>", "שלום", HOSTILE[2][:20], "w" * 60],
        options={"chunk_size": 4},
    )
    dashboard.client.settle(job)
    return job


def verb(page: Page, name: str) -> None:
    page.get_by_role("toolbar").get_by_role("button", name=name, exact=True).click()


def test_every_tab_is_accessible_and_fits(dashboard: Dashboard, failing: str) -> None:
    with dashboard.page() as page:
        for tab in TABS:
            page.set_viewport_size({"width": 1280, "height": 800})
            page.goto(f"{dashboard.server.url}/#/jobs/{failing}?tab={tab}")
            expect(page.locator(".tabs a[aria-current]")).to_have_text(tab.capitalize())
            expect(page.locator("main .stack").first).not_to_be_empty()
            page.wait_for_load_state("networkidle") if tab == "items" else None
            check_accessible(page)
            page.set_viewport_size({"width": 360, "height": 700})
            check_fits(page)
            check_accessible(page)
        assert page.locator("main img, main script").count() == 0


def test_it_is_accessible_while_what_is_drawn_is_still_read(
    dashboard: Dashboard, failing: str
) -> None:
    with dashboard.page() as page:
        waiting: list[Route] = []

        def hold(route: Route) -> None:
            waiting.append(route)

        for late in ("progress", "events"):
            page.route(f"**/jobs/{failing}/{late}*", hold)
        page.goto(f"{dashboard.server.url}/#/jobs/{failing}")
        expect(page.locator(".chart").first).to_be_visible()
        check_accessible(page)
        assert waiting


def test_chunks_are_told_of_in_words_and_by_keyboard(dashboard: Dashboard, failing: str) -> None:
    with dashboard.page(f"#/jobs/{failing}") as page:
        heat = page.locator("canvas.heat")
        expect(heat).to_have_attribute(
            "aria-label", re.compile(r"^9 chunks: 2 failed, 2 some failed, 5 done\.")
        )
        slider = page.get_by_label("Chunk", exact=True)
        slider.focus()
        page.keyboard.press("ArrowRight")
        expect(page.locator("p", has_text="Chunk 1 (apply): 4 items from 4")).to_be_visible()
        expect(page.locator(".chart").last).to_have_attribute(
            "aria-label", re.compile("Latency of chunks: mean")
        )


def test_a_group_of_failures_is_edited_and_replayed(dashboard: Dashboard) -> None:
    mark = uuid.uuid4().hex[:6]
    dashboard.client.settle(dashboard.submit("stock.open", shelves(mark, 10)))
    job = dashboard.submit("stock.add", lines(mark, 9, 3))
    assert dashboard.client.settle(job)["counts"]["failed"] == 3
    with dashboard.page(f"#/jobs/{job}?tab=errors") as page:
        page.get_by_role("button", name="Item 0").click()
        expect(page.get_by_role("dialog").locator("pre").first).to_contain_text(f"{mark}-no0")
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Edit and replay").click()
        expect(page.locator("dialog .consequence")).to_contain_text("Re-runs the 3 items")
        page.get_by_label("Merge patch").fill("{")
        page.get_by_role("button", name="replay", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("This is no JSON")
        page.get_by_label("Merge patch").fill(json.dumps({"code": f"{mark}-9"}))
        page.get_by_label("Reason").fill("they meant the last shelf")
        page.get_by_role("button", name="replay", exact=True).click()
        expect(page.locator(STATUS)).to_have_text("completed")
    said = [e for e in dashboard.client.events(job) if e["event"] == "job.retry_started"]
    assert said[0]["reason"] == "they meant the last shelf"


def test_items_are_filtered_and_downloaded(dashboard: Dashboard, failing: str) -> None:
    with dashboard.page(f"#/jobs/{failing}?tab=items") as page:
        page.locator("select[name=status]").select_option("failed")
        expect(page.locator("table.plain tbody tr")).to_have_count(12)
        expect(page.locator("table.plain")).to_contain_text(HOSTILE[0])
        with page.expect_download() as download:
            page.get_by_role("button", name="NDJSON").click()
        text = Path(download.value.path()).read_text(encoding="utf-8")
        assert [json.loads(line)["status"] for line in text.splitlines()] == ["failed"] * 12


def test_a_job_is_paused_resumed_adjusted_and_cancelled(dashboard: Dashboard) -> None:
    job = dashboard.submit("walker.step", [{"ms": 25}] * 2000, options={"chunk_size": 20})
    with dashboard.page(f"#/jobs/{job}") as page:
        status = page.locator(STATUS)
        expect(status).to_have_text("running")
        for name, reason, then in (
            ("pause", "lunch", "paused"),
            ("resume", "lunch is over", "running"),
            ("cancel", "enough", "cancelled"),
        ):
            verb(page, name)
            page.get_by_label("Reason").fill(reason)
            page.get_by_role("dialog").get_by_role("button", name=name, exact=True).click()
            expect(status).to_have_text(then)
            if then == "paused":
                expect(page.locator(".waiting")).to_contain_text("Why it waits (paused)")
    reasons = [e["reason"] for e in dashboard.client.events(job) if e.get("reason")]
    assert reasons == ["lunch", "lunch is over", "enough"]


def test_an_open_job_outlives_its_server_and_misses_nothing(dashboard: Dashboard) -> None:
    # Twelve seconds, in which a page comes on a busy machine as well.
    job = dashboard.submit("walker.step", [{"ms": 15}] * 800, options={"chunk_size": 20})
    with dashboard.page(f"#/jobs/{job}", known=AWAY) as page:
        expect(page.locator("[data-state=live]")).to_have_text("Live")
        expect(page.locator(STATUS)).to_have_text("running")
        dashboard.server.kill_engine()
        expect(page.locator("[data-state=away]")).to_have_text("Reconnecting")
        expect(page.locator("[data-state=live]")).to_have_text("Live")
        expect(page.locator(STATUS)).to_have_text("completed")
        expect(page.locator(".job-head .facts")).to_contain_text("Progress100 %")
        heat = page.locator("canvas.heat")
        expect(heat).to_have_attribute("aria-label", re.compile(r"(?!.*open).*done"))
        kept = [e for e in dashboard.client.events(job) if e["event"] == "job.chunks_closed"]
        done = sum(each["closing"] == "done" for event in kept for each in event["chunks"])
        expect(heat).to_have_attribute("aria-label", re.compile(rf"[ ,]{done} done"))
        page.get_by_role("link", name="Audit").click()
        versions = page.locator("table.plain tbody tr td:first-child")
        expect(versions.first).to_have_text(str(dashboard.client.job(job)["version"]))
        expect(versions.last).to_have_text("1")


def test_a_plan_is_looked_at_and_applied(dashboard: Dashboard) -> None:
    mark = uuid.uuid4().hex[:6]
    dashboard.client.settle(dashboard.submit("stock.open", shelves(mark, 2)))
    job = dashboard.submit("stock.add", lines(mark, 2, 0), options={"dry_run": True})
    dashboard.client.settle(job)
    with dashboard.page(f"#/jobs/{job}?tab=plan") as page:
        expect(page.locator("table.plain")).to_contain_text("amount")
        check_accessible(page)
        page.set_viewport_size({"width": 360, "height": 700})
        check_fits(page)
        check_accessible(page)
        page.get_by_role("button", name="Apply this plan").click()
        page.get_by_role("button", name="apply", exact=True).click()
        page.wait_for_url(re.compile(f"#/jobs/(?!{job})"))
        expect(page.locator(STATUS)).to_have_text("completed")


def test_somebody_else_approves(dashboard: Dashboard) -> None:
    job, other = (
        dashboard.submit("stock.open", shelves(uuid.uuid4().hex[:6], 2_501)) for _ in range(2)
    )
    with dashboard.page(f"#/jobs/{job}", known=["403 (Forbidden)"]) as page:
        expect(page.locator(STATUS)).to_have_text("awaiting approval")
        expect(page.locator(".waiting")).to_be_visible()
        for width in (1280, 360):
            page.set_viewport_size({"width": width, "height": 800})
            check_fits(page)
            check_accessible(page)
        verb(page, "approve")
        page.get_by_role("dialog").get_by_role("button", name="approve").click()
        expect(page.get_by_role("alert")).to_contain_text("ada")
    with dashboard.page(f"#/jobs/{job}", credential=ANNA) as page:
        verb(page, "reject")
        page.get_by_label("Reason").fill("not today")
        page.get_by_role("dialog").get_by_role("button", name="reject").click()
        expect(page.locator(STATUS)).to_have_text("rejected")
        page.goto(f"{dashboard.server.url}/#/jobs/{other}")
        verb(page, "approve")
        expect(page.locator("dialog .consequence")).to_have_text("Lets 2,501 items begin.")
        page.get_by_label("Reason").fill("looked at")
        page.get_by_role("dialog").get_by_role("button", name="approve").click()
        expect(page.locator(STATUS)).to_have_text("completed")
    (approved,) = [e for e in dashboard.client.events(other) if e["event"] == "job.approved"]
    assert (approved["actor"], approved["reason"]) == ("anna", "looked at")


def test_steps_of_a_batch_are_a_graph(dashboard: Dashboard) -> None:
    mark = uuid.uuid4().hex[:6]
    wide = "w" * 64
    steps = [
        {"name": wide, "operation": "stock.open", "items": shelves(mark, 1)},
        {
            "name": "fill",
            "operation": "stock.add",
            "items": shelves(mark, 1),
            "after": [wide],
        },
    ]
    batch = dashboard.client.ask(
        "POST",
        "/api/v1/batches",
        {"name": (HOSTILE[0] + HOSTILE[3])[:4000], "steps": steps},
        key=mark,
        status=202,
    )
    with dashboard.page(f"#/jobs/{batch['job_id']}") as page:
        expect(page.locator("a.node.good")).to_have_count(2)
        assert page.locator("path.edge").count() == 1
        assert page.locator("main img, main script").count() == 0
        check_accessible(page)
        page.set_viewport_size({"width": 360, "height": 700})
        check_fits(page)
        page.get_by_role("link", name="fill").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_text("Part of")).to_be_visible()


def test_who_is_at_a_step_stays_there_while_the_batch_moves_on(dashboard: Dashboard) -> None:
    mark = uuid.uuid4().hex[:6]
    # Long enough for a page to open; what it shows changes while somebody is at it.
    start = {"start_at": (datetime.now(UTC) + timedelta(seconds=6)).isoformat()}
    steps = [
        {"name": "open", "operation": "stock.open", "items": shelves(mark, 1), "options": start},
        {"name": "fill", "operation": "stock.add", "items": shelves(mark, 1), "after": ["open"]},
    ]
    asked = {"name": "Later", "steps": steps}
    batch = dashboard.client.ask("POST", "/api/v1/batches", asked, key=mark, status=202)
    with dashboard.page(f"#/jobs/{batch['job_id']}") as page:
        step = page.get_by_role("link", name="fill")
        step.focus()
        expect(page.locator("a.node.good")).to_have_count(0)
        expect(page.locator("a.node.good")).to_have_count(2)
        expect(step).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.get_by_text("Part of")).to_be_visible()


def test_an_undo_is_looked_at_before_it_is_done_and_the_past_stays(dashboard: Dashboard) -> None:
    mark = uuid.uuid4().hex[:6]
    job = dashboard.submit("stock.open", shelves(mark, 3), name="To undo")
    dashboard.client.settle(job)
    dashboard.client.settle(dashboard.submit("stock.add", shelves(mark, 1)))
    with dashboard.page(f"#/jobs/{job}?tab=undo") as page:
        expect(page.locator("table.plain tbody tr")).to_have_count(1)
        expect(page.locator("table.plain")).to_contain_text("changed after the job")
        page.get_by_role("button", name="Undo this job").click()
        words = page.locator("dialog .consequence")
        expect(words).to_contain_text("Puts back 2 items; 1 item stays")
        page.get_by_role("dialog").get_by_label("Reason").fill("wrong file")
        page.get_by_role("button", name="undo", exact=True).click()
        status = page.locator(STATUS)
        expect(status).to_have_text("rolled back")
        expect(page.locator(".job-head .facts")).to_contain_text("conflict1")
        page.get_by_role("link", name="Audit").click()
        expect(page.locator("table.plain")).to_contain_text("wrong file")
        page.get_by_role("button", name="Verify").click()
        expect(page.locator("main [role=status]")).to_contain_text("sound")
        head = dashboard.client.ask("GET", f"/api/v1/jobs/{job}/hashes")["items"][-1]
        expect(page.locator("table.plain tbody tr").first).to_contain_text(head["hash"][:12])
        slider = page.get_by_label("Version of the job")
        slider.focus()
        page.keyboard.press("Home")
        page.wait_for_url("**at=1*")
        expect(status).to_have_text("pending")
        expect(page.get_by_role("toolbar")).to_have_count(0)
        check_accessible(page)
        page.reload()
        expect(status).to_have_text("pending")
        page.get_by_role("button", name="Now").click()
        expect(status).to_have_text("rolled back")


def test_what_had_no_answer_is_read_again_and_told_of_once(dashboard: Dashboard) -> None:
    job = dashboard.submit("stock.open", shelves(uuid.uuid4().hex[:6], 2))
    dashboard.client.settle(job)
    with dashboard.page("#/jobs", known=["ERR_FAILED"]) as page:
        expect(page.locator("[data-state=live]")).to_have_text("Live")
        # A page is read again a second after its first stream has come, which would hide it.
        page.wait_for_timeout(1500)
        page.route(f"**/api/v1/jobs/{job}", lambda route: route.abort(), times=2)
        page.goto(f"{dashboard.server.url}/#/jobs/{job}")
        expect(page.locator("#notices")).to_contain_text("The page goes on as soon as it does")
        expect(page.locator(STATUS)).to_have_text("completed")
        expect(page.locator(".notice")).to_have_count(1)
        page.route(f"**/jobs/{job}/items?*", lambda route: route.abort(), times=2)
        page.get_by_role("link", name="Items").click()
        expect(page.locator("table.plain tbody tr")).to_have_count(2)


_LISTENING: Final = """() => {
    window.told = [];
    const aloud = "main :is(output, [role=status], [role=alert], [aria-live])";
    new MutationObserver((all) => {
        for (const {target} of all) {
            const place = (target.nodeType === 1 ? target : target.parentElement)?.closest(aloud);
            if (place) told.push(place.textContent);
        }
    }).observe(document.getElementById("main"), {childList: true, subtree: true});
}"""
"""``told`` is what a screen reader reads aloud of a page from now on."""


def test_a_job_that_runs_is_not_read_aloud_without_end(dashboard: Dashboard) -> None:
    mark = uuid.uuid4().hex[:6]
    options = {"chunk_size": 20}
    job = dashboard.submit("walker.step", [{"ms": 10}] * 2000, options=options, tags=[mark])
    with dashboard.page(f"#/jobs/{job}") as page:
        expect(page.locator(STATUS)).to_have_text("running")
        expect(page.locator("canvas.heat")).to_have_attribute("aria-label", re.compile("chunks: "))
        version = page.locator(".travel .quiet").text_content() or ""
        page.evaluate(_LISTENING)
        expect(page.locator(".travel .quiet")).not_to_have_text(version)
        page.wait_for_timeout(2000)
        assert page.evaluate("told") == []
        page.goto(f"{dashboard.server.url}/#/jobs?tag={mark}")
        expect(page.locator(".size")).to_have_text("1 job")
        page.evaluate(_LISTENING)
        with page.expect_response("**/api/v1/jobs?*"):
            dashboard.client.settle(dashboard.submit("stock.open", shelves(mark, 1)))
        page.wait_for_timeout(500)
        assert page.evaluate("told") == []
    dashboard.client.command(job, "cancel", mark)
