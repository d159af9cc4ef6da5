"""The list of jobs: live, filtered, of any length, by keyboard, and with verbs for many."""

from __future__ import annotations

import time
import uuid
from typing import Any, Final

import pytest
from playwright.sync_api import expect

from tests.crash.client import JOBS
from tests.dashboard.site import (
    ADA,
    ANNA,
    AWAY,
    LOSING,
    TENANT,
    TOKEN,
    Dashboard,
    Held,
    check_accessible,
    check_fits,
    module,
    wait_listed,
)
from tests.unit.streams.identity.signing import token

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


def test_an_answer_to_a_former_token_signs_nobody_out(dashboard: Dashboard) -> None:
    held = Held()
    job = dashboard.submit("stock.open", shelves(uuid.uuid4().hex[:6], 1))
    dashboard.client.settle(job)
    with dashboard.page(f"#/jobs/{job}", known=["401 (Unauthorized)"]) as page:
        page.get_by_role("toolbar").get_by_role("button", name="hold").click()
        page.route("**/hold", held.keep)
        page.get_by_role("dialog").get_by_role("button", name="hold", exact=True).click()
        held.wait(page)
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("Token or API key").fill(ANNA)
        page.keyboard.press("Enter")
        expect(page.get_by_text("anna · local")).to_be_visible()
        held.routes[0].fulfill(status=401, json={"detail": "It has ended."})
        page.wait_for_timeout(500)
        expect(page.get_by_text("anna · local")).to_be_visible()
        expect(page.get_by_role("heading", name="Sign in")).to_have_count(0)


def test_a_stream_of_a_former_token_is_not_opened(dashboard: Dashboard) -> None:
    held = Held()
    with dashboard.page(credential="", known=["401 (Unauthorized)"]) as page:
        page.route("**/events/ticket", held.keep, times=1)
        for who in (ADA, ANNA):
            page.get_by_label("Token or API key").fill(who)
            page.keyboard.press("Enter")
            if who == ADA:
                held.wait(page)
                page.get_by_role("button", name="Sign out").click()
        live = page.locator("[data-state=live]")
        expect(live).to_have_text("Live")
        held.routes[0].fulfill(status=401, json={"detail": "It has ended."})
        page.wait_for_timeout(500)
        expect(live).to_have_text("Live")
        expect(page.get_by_text("anna · local")).to_be_visible()


def test_a_proxy_before_the_server_knows_the_page_by_its_cookie(dashboard: Dashboard) -> None:
    with dashboard.page("#/jobs", script="document.cookie = 'gate=open'") as page:
        # One that the reload breaks off was never sent, and has no cookie.
        expect(page.locator("[data-state=live]")).to_have_text("Live")
        with page.expect_response("**/api/v1/jobs?*") as answered:
            page.reload()
        assert answered.value.request.all_headers().get("cookie") == "gate=open"
        expect(page.locator("[data-state=live]")).to_have_text("Live")


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


def test_of_several_jobs_those_without_an_answer_are_told_again(dashboard: Dashboard) -> None:
    mark = uuid.uuid4().hex[:6]
    jobs = [
        dashboard.submit("stock.open", shelves(f"{mark}-{each}", 1), tags=[mark])
        for each in range(2)
    ]
    for job in jobs:
        dashboard.client.settle(job)
    wait_listed(dashboard.client, jobs)
    with dashboard.page(f"#/jobs?tag={mark}", script=LOSING) as page:
        asked: list[str] = []
        page.on("request", lambda said: asked.append(said.url) if said.method == "POST" else None)
        expect(page.locator("tr .chip.good")).to_have_count(2)
        page.get_by_label("Select all that are loaded").check()
        page.get_by_role("toolbar").get_by_role("button", name="archive").click()
        dialog = page.get_by_role("dialog")
        page.evaluate("window.lose = '/archive'")
        dialog.get_by_role("button", name="archive", exact=True).click()
        expect(dialog.get_by_role("alert")).to_contain_text("1 job gave no answer.")
        expect(page.locator("#notices")).to_contain_text("archive: 1 job told.")
        dialog.get_by_role("button", name="archive", exact=True).click()
        expect(dialog).to_have_count(0)
        expect(page.get_by_text("jobs selected")).to_be_hidden()
    assert sum(url.endswith("/archive") for url in asked) == 3
    for job in jobs:
        told = [event["event"] for event in dashboard.client.events(job)]
        assert told.count("job.archived") == 1


def _settled(dashboard: Dashboard, mark: str, count: int) -> list[str]:
    """Jobs at rest that the list shows by their tag."""
    jobs = [
        dashboard.submit("stock.open", shelves(f"{mark}-{each}", 1), tags=[mark])
        for each in range(count)
    ]
    for job in jobs:
        dashboard.client.settle(job)
    wait_listed(dashboard.client, jobs)
    return jobs


def test_of_several_jobs_those_that_are_to_come_back_later_stay(dashboard: Dashboard) -> None:
    mark = uuid.uuid4().hex[:6]
    jobs = _settled(dashboard, mark, 5)
    with dashboard.page(f"#/jobs?tag={mark}", known=["429 (Too Many Requests)"]) as page:
        expect(page.locator("tr .chip.good")).to_have_count(5)
        page.get_by_label("Select all that are loaded").check()
        page.get_by_role("toolbar").get_by_role("button", name="archive").click()
        said = {"detail": "Come back in 31 s."}
        page.route("**/archive", lambda route: route.fulfill(status=429, json=said), times=2)
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("button", name="archive", exact=True).click()
        expect(dialog.get_by_role("alert")).to_contain_text("2 jobs gave no answer.")
        expect(dialog.get_by_role("alert")).to_contain_text("Come back in 31 s.")
        expect(page.locator("#notices")).to_contain_text("archive: 3 jobs told.")
        dialog.get_by_role("button", name="archive", exact=True).click()
        expect(dialog).to_have_count(0)
    assert [dashboard.client.job(job)["status"] for job in jobs] == ["archived"] * 5


def test_back_keeps_further_ones_of_several_jobs_from_being_told(dashboard: Dashboard) -> None:
    mark = uuid.uuid4().hex[:6]
    jobs = _settled(dashboard, mark, 10)
    held = Held()
    with dashboard.page(f"#/jobs?tag={mark}") as page:
        expect(page.locator("tr .chip.good")).to_have_count(10)
        page.get_by_label("Select all that are loaded").check()
        page.get_by_role("toolbar").get_by_role("button", name="archive").click()
        page.route("**/archive", held.keep)
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("button", name="archive", exact=True).click()
        held.wait(page, 6)
        dialog.get_by_role("button", name="Back").click()
        expect(dialog).to_have_count(0)
        for route in held.routes:
            route.continue_()
        expect(page.locator("#notices")).to_contain_text("archive: 6 jobs told.")
        expect(page.get_by_text("10 jobs selected")).to_be_visible()
    told = [dashboard.client.settle(job)["status"] for job in jobs]
    assert (told.count("archived"), told.count("completed")) == (6, 4)


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


_ASLEEP: Final = """
let hidden = false;
Object.defineProperty(document, "hidden", { get: () => hidden });
window.look = (away) => { hidden = away; document.dispatchEvent(new Event("visibilitychange")); };
const later = window.setTimeout;
window.setTimeout = (act, wait, ...rest) => later(act, wait === 30_000 ? 50 : wait, ...rest);
"""
"""A tab that ``look(true)`` hides; half a minute is over soon."""


def _streams(dashboard: Dashboard) -> int:
    return int(dashboard.client.ask("GET", "/api/v1/connections")["streams"])


def test_a_hidden_tab_leaves_its_connection_to_others_and_misses_nothing(
    dashboard: Dashboard,
) -> None:
    ask, mark = dashboard.client.ask, uuid.uuid4().hex
    wanted = {"operation": "stock.open", "draft": True, "tags": [mark[:6]]}
    job = ask("POST", JOBS, wanted, key=mark, status=202)["job_id"]
    wait_listed(dashboard.client, [job])
    with dashboard.page(f"#/jobs?tag={mark[:6]}", script=_ASLEEP) as page:
        expect(page.locator("[data-state=live]")).to_have_text("Live")
        before = _streams(dashboard)
        page.evaluate("look(true)")
        expect(page.locator("[data-state=away]")).to_have_text("Reconnecting")
        until = time.monotonic() + 20.0
        while _streams(dashboard) >= before:
            assert time.monotonic() < until, "the stream stays open"
            time.sleep(0.1)
        dashboard.client.command(job, "cancel", mark)
        dashboard.client.settle(job)
        page.evaluate("look(false)")
        expect(page.locator("[data-state=live]")).to_have_text("Live")
        expect(page.locator("tr .chip")).to_have_text("cancelled")


_SLEEPING: Final = """
const now = Date.now, every = window.setInterval, Own = window.EventSource;
window.slept = 0;
window.streams = [];
Date.now = () => now() + window.slept;
window.setInterval = (act, wait) => every(act, wait === 20_000 ? window.beat : wait);
window.EventSource = class extends Own {
  constructor(where) { super(where); window.streams.push(this); }
};
"""
"""A machine that may have ``slept`` for some milliseconds, as ``beat`` of them notices or not."""


@pytest.mark.parametrize(
    ("slept", "is_noticed"),
    [(0, False), (3_600_000, False), (3_600_000, True)],
    ids=["it breaks", "it has broken in the sleep", "it is dead without a word"],
)
def test_after_a_sleep_of_the_machine_it_is_read_again(
    dashboard: Dashboard, slept: int, is_noticed: bool
) -> None:
    mark = uuid.uuid4().hex[:6]
    script = f"window.beat = {100 if is_noticed else 3_600_000};{_SLEEPING}"
    with dashboard.page(f"#/jobs?tag={mark}", script=script) as page:
        expect(page.locator("[data-state=live]")).to_have_text("Live")
        dashboard.submit("stock.open", shelves(mark, 1), tags=[mark])
        expect(page.locator("tr .chip.good")).to_have_text("completed")
        with page.expect_request("**/api/v1/events?*") as asked:
            page.evaluate(f"window.slept = {slept}")
            if not is_noticed:
                page.evaluate("streams.at(-1).dispatchEvent(new Event('error'))")
        assert ("last_event_id" in asked.value.url) == (slept == 0)
        expect(page.locator("[data-state=live]")).to_have_text("Live")


def test_a_page_that_was_read_before_an_event_does_not_take_it_back(dashboard: Dashboard) -> None:
    with dashboard.page("#/jobs") as page:
        shown = page.evaluate(
            """async (where) => {
                const {Pager} = await import(where);
                const job = {job_id: "a", version: 1, status: "running", counts: {}, percent: 0};
                let answer;
                const pager = new Pager(() => new Promise((done) => { answer = done; }), () => {});
                pager.load(0);
                const event = {job_id: "a", version: 7, status: "completed", counts: {}, at: "now"};
                pager.update(new Map([["a", event]]));
                answer({items: [job], next_cursor: null});
                await pager.load(0);
                return pager.at(0).status;
            }""",
            module(page, "jobs/pager.js"),
        )
    assert shown == "completed"


def test_whoever_filters_stays_at_the_field(dashboard: Dashboard) -> None:
    with dashboard.page("#/jobs?q=nothing+like+it") as page:
        expect(page.get_by_text("No job is like this.")).to_be_visible()
        search = page.get_by_label("Search names")
        search.focus()
        search.press("Control+A")
        search.press("Delete")
        page.wait_for_url("**/#/jobs")
        expect(page.locator("tr[data-job]").first).to_be_visible()
        expect(search).to_be_focused()
        page.keyboard.type("x")
        page.wait_for_url("**/#/jobs?q=x")
        clear = page.get_by_role("button", name="Clear", exact=True)
        clear.focus()
        page.keyboard.press("Enter")
        page.wait_for_url("**/#/jobs")
        expect(search).to_have_value("")
        expect(clear).to_be_focused()
        page.get_by_role("link", name="Operations").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Health")).to_be_visible()
        expect(page.locator("main")).to_be_focused()


def test_filters_are_those_of_the_list_on_the_way_back_and_forth(dashboard: Dashboard) -> None:
    with dashboard.page("#/jobs") as page:
        search, tag = page.get_by_label("Search names"), page.get_by_label("Tag")
        search.fill("nothing like it")
        page.wait_for_url("**/#/jobs?q=nothing+like+it")
        page.goto(f"{dashboard.server.url}/#/jobs?tag=other")
        expect(tag).to_have_value("other")
        expect(search).to_have_value("")
        page.go_back()
        expect(search).to_have_value("nothing like it")
        expect(tag).to_have_value("")
        page.go_forward()
        expect(tag).to_have_value("other")
        expect(search).to_have_value("")


def test_who_may_see_no_jobs_comes_to_what_they_may_see(dashboard: Dashboard) -> None:
    with dashboard.page(credential=token(sub="omar", tenant=TENANT, roles=["operator"])) as page:
        expect(page.get_by_role("region", name="Workers").locator("tbody tr")).to_have_count(1)
        expect(page.locator("#bar nav a")).to_have_text(["Operations"])
        expect(page.locator("#bar .live")).to_have_text("Off")


def test_who_signs_out_is_asked_for_what_they_signed_in_with(dashboard: Dashboard) -> None:
    with dashboard.page("#/operations") as page:
        said: dict[str, Any] = {
            "mode": "named",
            "tenant": "local",
            "actor": "ada",
            "permissions": ["operate"],
            "projects": {},
            "expires_at": None,
        }
        page.route("**/api/v1/me", lambda route: route.fulfill(json=said))
        page.reload()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("Your name")).to_be_visible()
