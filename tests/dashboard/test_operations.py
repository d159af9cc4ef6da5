"""Operations: health, workers, partitions, limits, connections and webhooks, in a browser.

Dead letters and their redrive need a broker that others write to: tests/kafka/test_page.py.
"""

from __future__ import annotations

import json
import uuid

from playwright.sync_api import Locator, Page, Route, expect

from tests.dashboard.site import Dashboard, check_accessible, check_fits
from tests.dashboard.test_jobs import HOSTILE, shelves
from tests.services.receiver import WEBHOOKS, receiving


def region(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


def test_the_installation_is_told_of_and_limited(dashboard: Dashboard) -> None:
    dashboard.client.settle(dashboard.submit("stock.open", shelves(uuid.uuid4().hex[:6], 1)))
    with dashboard.page("#/operations") as page:
        expect(page.get_by_text("ready", exact=True)).to_be_visible()
        expect(region(page, "Workers").locator("tbody tr")).to_have_count(1)
        commands = region(page, "Partitions and lag").locator("tr", has_text="countermand.commands")
        expect(commands).to_contain_text("countermand-coordinator")
        expect(commands.locator("td").nth(3)).not_to_have_text("0")
        expect(page.get_by_text("Every message could be handled.")).to_be_visible()
        page.get_by_text("All that is counted").focus()
        page.keyboard.press("Enter")
        expect(region(page, "Metrics")).to_contain_text("countermand_events_appended_total")
        panel = page.locator(".panel", has=page.get_by_role("heading", name="Connections"))
        expect(panel).to_contain_text("streams1")
        check_accessible(page)
        page.set_viewport_size({"width": 360, "height": 700})
        check_fits(page)
        page.get_by_role("button", name="Set a limit").click()
        page.get_by_label("Name", exact=True).fill("queue:tortoise")
        page.get_by_label("Concurrency").fill("4")
        page.get_by_role("button", name="set", exact=True).click()
        expect(page.get_by_role("region", name="Limits")).to_contain_text("queue:tortoise")
    (limit,) = dashboard.client.ask("GET", "/api/v1/limits")["items"]
    assert json.dumps(limit).count("queue:tortoise") == 1


def test_dead_deliveries_are_sent_again(dashboard: Dashboard) -> None:
    tag = uuid.uuid4().hex[:6]
    with receiving() as receiver:
        receiver.status = 410
        wanted = {"url": f"{receiver.url}?{HOSTILE[3][:900]}", "events": ["*"], "tags": [tag]}
        made = dashboard.client.ask("POST", WEBHOOKS, wanted, key=tag, status=201)
        hook = f"{WEBHOOKS}/{made['webhook_id']}"
        job = dashboard.submit("stock.open", shelves(tag, 1), tags=[tag], name=HOSTILE[0])
        dashboard.client.settle(job)
        with dashboard.page("#/operations", width=360) as page:
            row = region(page, "Webhooks").locator("tr", has_text=receiver.url)
            expect(row).to_contain_text("disabled")
            check_fits(page)
            check_accessible(page)
            dead = dashboard.client.ask("GET", f"{hook}/deliveries?state=dead")["items"]
            receiver.status = 204
            receiver.got.clear()
            row.get_by_role("button", name="Enable").focus()
            page.keyboard.press("Enter")
            expect(row).to_contain_text("enabled")
            row.get_by_role("button", name="Replay the dead").focus()
            page.keyboard.press("Enter")
            expect(page.locator("dialog .consequence")).to_contain_text("Sends")
            page.get_by_role("dialog").get_by_role("button", name="replay", exact=True).focus()
            page.keyboard.press("Enter")
            expect(page.get_by_role("dialog")).to_have_count(0)
            expect(row.get_by_role("button", name="Replay the dead")).to_have_count(0)
        places = {(each["job_id"], each["version"]) for each in dead}
        assert {job_id for job_id, _ in places} == {job}
        receiver.has_all(places, made["secret"], 20.0)
        dashboard.client.ask("DELETE", hook)


def test_what_is_still_read_is_given_up_with_the_page(dashboard: Dashboard) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    with dashboard.page("#/jobs") as page:
        page.route("**/metrics", hold)
        with page.expect_request("**/metrics"):
            page.get_by_role("link", name="Operations").click()
        with page.expect_event("requestfailed", lambda said: said.url.endswith("/metrics")):
            page.get_by_role("link", name="Jobs").click()
    assert held


def test_who_is_at_something_stays_there_while_it_goes_on(dashboard: Dashboard) -> None:
    ask, mark = dashboard.client.ask, uuid.uuid4().hex[:6]
    with dashboard.page("#/operations") as page:
        limits = page.locator(".panel", has=page.get_by_role("heading", name="Limits"))
        page.get_by_text("All that is counted").click()
        expect(region(page, "Metrics")).to_be_visible()
        button = limits.get_by_role("button", name="Set a limit")
        button.focus()
        ask("POST", "/api/v1/limits/queue:courier", {"concurrency": 3}, key=mark)
        expect(limits).to_contain_text("queue:courier")
        expect(button).to_be_focused()
        expect(region(page, "Metrics")).to_be_visible()
        button.click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Name", exact=True).fill("queue:courier")
        dialog.get_by_label("Concurrency").press_sequentially("1e")
        dialog.get_by_role("button", name="set", exact=True).click()
        expect(dialog.get_by_role("alert")).to_contain_text("Concurrency")
    (limit,) = [e for e in ask("GET", "/api/v1/limits")["items"] if e["name"] == "queue:courier"]
    assert limit["concurrency"] == 3
