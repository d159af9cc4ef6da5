"""The list of jobs: live, filtered, of any length, by keyboard, and with verbs for many."""

from __future__ import annotations

import uuid
from typing import Final

from playwright.sync_api import expect

from tests.crash.client import JOBS
from tests.dashboard.site import (
    ADA,
    AWAY,
    TOKEN,
    Dashboard,
    check_accessible,
    check_fits,
    wait_listed,
)

HOSTILE: Final = (
    "<img src=x onerror=alert(1)><script>alert(2)</script>",
    "\u202eright to left\u202c שלום عليكم",
    "👩🏽‍🚒" * 40,
    "w" * 4000,
)


def shelves(prefix: str, count: int) -> list[dict[str, object]]:
    return [{"code": f"{prefix}-{number}", "amount": 1} for number in range(count)]


def test_nobody_sees_jobs_before_they_have_signed_in(dashboard: Dashboard) -> None:
    with dashboard.page(credential="", known=["401 (Unauthorized)"]) as page:
        page.get_by_label("Token or API key").fill("no token")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).not_to_be_empty()
        page.get_by_label("Token or API key").fill(ADA)
        page.keyboard.press("Enter")
        expect(page.get_by_text("ada · local")).to_be_visible()
        expect(page.locator("[data-state=live]")).to_have_text("Live")
        assert ADA not in page.url
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        assert page.evaluate(f"sessionStorage.getItem('{TOKEN}')") is None
        check_accessible(page)


def test_a_job_comes_by_itself_and_is_seen_to_its_end(dashboard: Dashboard) -> None:
    with dashboard.page("#/jobs?tag=seen") as page:
        expect(page.locator("[data-state=live]")).to_be_visible()
        expect(page.get_by_text("No job is like this.")).to_be_visible()
        # It would run for long, and so does until it was seen.
        slow = {"chunk_size": 20, "rate": 5}
        job = dashboard.submit(
            "walker.step", [{"ms": 3}] * 400, name="Walk", tags=["seen"], options=slow
        )
        row = page.locator(f"tr[data-job='{job}']")
        expect(row.locator(".chip")).to_have_text("running")
        dashboard.client.ask("POST", f"{JOBS}/{job}/adjust", {"lift": ["rate"]}, status=202)
        expect(row.locator(".chip")).to_have_text("completed")
        expect(row.locator(".done")).to_have_text("100 % of 400")
        expect(row.locator("[role=img]")).to_have_attribute("aria-label", "100 %: 400 succeeded")


def test_names_are_shown_as_they_are_and_break_nothing(dashboard: Dashboard) -> None:
    for name in HOSTILE:
        job = dashboard.submit("stock.open", shelves(name[:5], 1), name=name, tags=["hostile"])
        dashboard.client.settle(job)
    for width in (1280, 360):
        with dashboard.page("#/jobs?tag=hostile", width=width) as page:
            expect(page.locator("tr[data-job]")).to_have_count(len(HOSTILE))
            shown = page.locator("tr[data-job] th a bdi").all_text_contents()
            assert sorted(shown) == sorted(HOSTILE)
            assert page.locator("main img, main script").count() == 0
            check_fits(page)
            check_accessible(page)
            page.get_by_label("Select all that are loaded").check()
            page.get_by_role("toolbar").get_by_role("button", name="archive").click()
            expect(page.locator("dialog .short bdi")).to_have_count(len(HOSTILE))
            check_fits(page)


def test_filters_stand_in_the_address(dashboard: Dashboard) -> None:
    dashboard.client.settle(dashboard.submit("stock.open", shelves("f", 2), name="Filter me"))
    with dashboard.page() as page:
        page.get_by_label("Search names").fill("filter ME")
        page.wait_for_url("**/#/jobs?q=filter+ME")
        page.get_by_label("System").select_option("stock")
        page.get_by_text("Status", exact=True).first.click()
        page.get_by_role("checkbox", name="completed", exact=True).check()
        page.get_by_label("From").fill("2020-01-01T00:00")
        expect(page.locator("tr[data-job]")).to_have_count(1)
        address = page.url
        for part in ("system=stock", "status=completed", "created_after=2020"):
            assert part in address
        page.reload()
        expect(page.locator("tr[data-job]")).to_have_count(1)
        expect(page.get_by_label("Search names")).to_have_value("filter ME")
        page.get_by_label("System").select_option("walker")
        expect(page.get_by_text("No job is like this.")).to_be_visible()
        page.get_by_role("button", name="Clear").click()
        page.wait_for_url("**/#/jobs")


def test_failed_items_of_several_jobs_are_retried_by_keyboard_alone(dashboard: Dashboard) -> None:
    mark = uuid.uuid4().hex[:6]
    jobs = [
        dashboard.submit("stock.add", shelves(f"{mark}-{each}", 3), name="Add", tags=[mark])
        for each in range(2)
    ]
    assert [dashboard.client.settle(job)["status"] for job in jobs] == ["failed", "failed"]
    opened = [*shelves(f"{mark}-0", 3), *shelves(f"{mark}-1", 2)]
    dashboard.client.settle(dashboard.submit("stock.open", opened))
    with dashboard.page(f"#/jobs?tag={mark}") as page:
        expect(page.locator("tr[data-job]")).to_have_count(2)
        page.get_by_label("Select all that are loaded").focus()
        page.keyboard.press("Space")
        expect(page.get_by_text("2 jobs selected")).to_be_visible()
        page.get_by_role("button", name="retry").focus()
        page.keyboard.press("Enter")
        words = page.locator("dialog .consequence")
        expect(words).to_have_text("Retry of 2 jobs: re-runs 6 failed items, leaves 0 done.")
        check_accessible(page)
        page.get_by_label("Reason").fill("the shelves are there now")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("tr .chip.good")).to_have_count(1)
        expect(page.locator("tr .chip.warn")).to_have_count(1)
    retried = [e for e in dashboard.client.events(jobs[0]) if e["event"] == "job.retry_started"]
    assert [e["reason"] for e in retried] == ["the shelves are there now"]


def test_a_list_is_read_as_far_as_one_looks(dashboard: Dashboard) -> None:
    mark = uuid.uuid4().hex[:6]
    count = 130
    for number in range(count):
        dashboard.submit("stock.open", shelves(f"{mark}{number}", 1), name=f"{mark} {number}")
    with dashboard.page(f"#/jobs?q={mark}") as page:
        expect(page.locator(f"tr[data-job]:has-text('{mark} {count - 1}')")).to_be_visible()
        page.locator("tr[data-job] a").first.focus()
        page.keyboard.press("ArrowDown")
        assert page.evaluate("document.activeElement.textContent") == f"{mark} {count - 2}"
        # Each time the end of what is known is reached, more of it becomes known.
        expect(page.locator(".size")).to_have_text("100+ jobs")
        page.locator(".list").evaluate("each => each.scrollTo(0, each.scrollHeight)")
        expect(page.locator(".size")).to_have_text(f"{count} jobs")
        page.locator(".list").evaluate("each => each.scrollTo(0, each.scrollHeight)")
        expect(page.locator(f"tr[data-job]:has-text('{mark} 0')").last).to_be_visible()
        assert page.locator("tr[data-job]").count() < 60


_LATE_STREAM: Final = """
const own = window.fetch;
window.asked = new Promise((tell) => {
  window.fetch = async (where, how) => {
    if (String(where).endsWith("/ticket")) {
      await new Promise((come) => { window.come = come; tell(); });
    }
    return own(where, how);
  };
});
"""


def test_what_happens_before_the_stream_is_there_is_seen_as_well(dashboard: Dashboard) -> None:
    ask, mark = dashboard.client.ask, uuid.uuid4().hex
    wanted = {"operation": "stock.open", "draft": True, "tags": [mark[:6]]}
    job = ask("POST", JOBS, wanted, key=mark, status=202)["job_id"]
    wait_listed(dashboard.client, [job])
    with dashboard.page(f"#/jobs?tag={mark[:6]}", script=_LATE_STREAM) as page:
        chip = page.locator("tr .chip")
        page.evaluate("() => window.asked")
        expect(chip).to_have_text("draft")
        dashboard.client.command(job, "cancel", mark)
        page.evaluate("window.come()")
        expect(chip).to_have_text("cancelled")


def test_a_page_outlives_its_server_and_misses_nothing(dashboard: Dashboard) -> None:
    steps = [{"ms": 4}] * 800
    with dashboard.page("#/jobs?tag=outlived", known=AWAY) as page:
        expect(page.locator("[data-state=live]")).to_have_text("Live")
        job = dashboard.submit("walker.step", steps, tags=["outlived"], options={"chunk_size": 20})
        row = page.locator(f"tr[data-job='{job}']")
        expect(row).to_be_visible()
        dashboard.server.kill_engine()
        expect(page.locator("[data-state=away]")).to_have_text("Reconnecting")
        expect(page.locator("[data-state=live]")).to_have_text("Live")
        expect(row.locator(".chip")).to_have_text("completed")
        expect(row.locator(".done")).to_have_text("100 % of 800")


def test_each_state_of_the_stream_is_seen_and_has_a_colour_of_its_own(dashboard: Dashboard) -> None:
    with dashboard.page() as page:
        expect(page.locator("[data-state=live]")).to_have_text("Live")
        looks = page.evaluate(
            """() => ["live", "away", "off"].map((state) => {
                const shown = document.querySelector("#bar .live");
                shown.dataset.state = state;
                return [shown.getBoundingClientRect().width > 20,
                    getComputedStyle(shown, "::before").backgroundColor];
            })"""
        )
    assert all(seen for seen, _ in looks)
    assert len({colour for _, colour in looks}) == 3
