"""Systems: files of the annotation platform in and out, its validation and its reports."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.dashboard.site import LOSING, TENANT, Dashboard, check_accessible, check_fits
from tests.dashboard.test_jobs import HOSTILE
from tests.unit.streams.identity.signing import token

LETTERS = [
    {
        "content": "Ada wrote to Charles.",
        "annotations": [{"start_char": 0, "end_char": 3, "label": "PERSON"}],
    },
    {
        "content": "".join(HOSTILE),
        "annotations": [{"start_char": 1, "end_char": 3, "label": HOSTILE[0]}],
    },
    {
        "content": "Grace answered.",
        "annotations": [{"start_char": 0, "end_char": 99, "label": "PERSON"}],
    },
]
OPERATIONS = "Imports, exports and other operations"


def kept(page: Page, button: str) -> tuple[str, str]:
    """The name and the text of the file that a button of the operations brings."""
    with page.expect_download() as download:
        page.get_by_role("region", name=OPERATIONS).get_by_role("button", name=button).click()
    path = Path(download.value.path())
    return download.value.suggested_filename, path.read_text(encoding="utf-8")


def test_files_go_in_and_out_of_a_project(dashboard: Dashboard, tmp_path: Path) -> None:
    name = f"{uuid.uuid4().hex[:6]} {HOSTILE[0]}"
    file = tmp_path / "letters.jsonl"
    file.write_text("".join(f"{json.dumps(each)}\n" for each in LETTERS), encoding="utf-8")
    with dashboard.page("#/systems") as page:
        page.get_by_role("button", name="New project").click()
        page.get_by_role("dialog").get_by_label("Name").fill(name)
        page.get_by_role("button", name="create", exact=True).click()
        page.wait_for_url("**/#/systems/annotations?project=*")
        expect(page.locator(".project select")).to_contain_text(name)

        panel = page.get_by_role("region", name="Import a file")
        panel.get_by_role("button", name="Import", exact=True).click()
        expect(panel.get_by_role("alert")).to_have_text("Choose a file first.")
        panel.get_by_label("File of texts").set_input_files(file)
        panel.get_by_role("button", name="Import", exact=True).click()
        expect(page.locator("#notices")).to_contain_text("2 texts taken, 1 piece rejected.")
        listed = page.get_by_role("region", name=OPERATIONS).locator("tbody tr")
        expect(listed.first.locator(".chip")).to_have_text("completed")
        listed.first.get_by_role("button", name="Report").click()
        expect(page.get_by_role("dialog")).to_contain_text("span_out_of_range 1")
        expect(page.get_by_role("dialog").locator("tbody tr")).to_have_count(1)
        page.get_by_role("button", name="Close").click()
        _, rejects = kept(page, "Rejects of")
        assert json.loads(rejects)["content"] == "Grace answered."

        panel = page.get_by_role("region", name="Export a file")
        panel.get_by_label("Written as").select_option("conll")
        panel.get_by_role("button", name="What is lost").click()
        expect(listed).to_have_count(2)
        expect(listed.first.locator(".chip")).to_have_text("completed")
        panel.get_by_label("Written as").select_option("jsonl")
        panel.get_by_role("button", name="Export", exact=True).click()
        expect(listed).to_have_count(3)
        named, text = kept(page, "Download of")
        assert named.endswith(".jsonl")
        assert [json.loads(line)["content"] for line in text.splitlines()] == [
            each["content"] for each in LETTERS[:2]
        ]

        checks = page.get_by_role("region", name="Validation", exact=True)
        checks.get_by_role("button", name="Validate all annotations").click()
        expect(checks.locator("tbody")).to_contain_text("cut_word")
        reports = page.get_by_role("region", name="Reports", exact=True)
        reports.get_by_label("Report").select_option("activity")
        expect(reports.locator("tbody")).to_contain_text("ada")
        with page.expect_download() as download:
            reports.get_by_role("button", name="CSV").click()
        assert download.value.suggested_filename.endswith("-activity.csv")
        assert page.locator("main img, main script").count() == 0
        check_accessible(page)
        page.set_viewport_size({"width": 360, "height": 700})
        check_fits(page)
        check_accessible(page)


def test_names_of_projects_and_labels_are_shown_as_they_are(dashboard: Dashboard) -> None:
    mark = uuid.uuid4().hex[:6]
    for number, hostile in enumerate(HOSTILE):
        ask, key = dashboard.client.ask, f"{mark}-{number}"
        name = f"{mark} {hostile}"[:200]
        made = ask("POST", "/api/v1/projects", {"name": name}, key=key, status=201)
        where = f"/api/v1/projects/{made['project_id']}"
        ask("POST", f"{where}/labels", {"name": hostile[:200]}, key=f"{key}-label", status=201)
        text = ask("POST", f"{where}/texts", {"content": hostile}, key=f"{key}-text", status=201)
        span = {"text_id": text["text_id"], "start_char": 0, "end_char": 3, "label": hostile[:200]}
        body = {"project_id": made["project_id"], "annotations": [span]}
        ask("POST", "/api/v1/batch/annotations/create", body, key=f"{key}-bulk", status=202)
        place = f"#/systems/annotations?project={made['project_id']}"
        with dashboard.page(place, width=360) as page:
            operations = page.get_by_role("region", name=OPERATIONS)
            expect(operations.locator("tbody .chip")).to_have_text("completed")
            expect(page.locator(".project select")).to_contain_text(name.strip())
            assert page.locator("main img, main script").count() == 0
            check_fits(page)
            page.set_viewport_size({"width": 1280, "height": 800})
            check_fits(page)


def test_a_system_without_a_place_of_its_own_says_what_it_can_do(dashboard: Dashboard) -> None:
    with dashboard.page("#/systems/stock") as page:
        expect(page.locator(".tabs a[aria-current]")).to_have_text("stock")
        expect(page.get_by_role("region", name="Operations of stock")).to_contain_text("stock.add")
        check_accessible(page)
        page.get_by_role("link", name="Submit stock.add").click()
        page.wait_for_url("**/#/submit?operation=stock.add")


def _project(dashboard: Dashboard, name: str, **member: str) -> int:
    """A project of ada's, and of somebody else who is a member of it."""
    ask = dashboard.client.ask
    made = ask("POST", "/api/v1/projects", {"name": name}, key=name, status=201)
    number = int(made["project_id"])
    if member:
        where = f"/api/v1/projects/{number}/members"
        ask("POST", where, member, key=f"{name}-member", status=201)
    return number


def test_an_import_whose_answer_is_lost_is_done_once(dashboard: Dashboard, tmp_path: Path) -> None:
    number = _project(dashboard, uuid.uuid4().hex)
    file = tmp_path / "letters.jsonl"
    file.write_text(f"{json.dumps(LETTERS[0])}\n", encoding="utf-8")
    with dashboard.page(f"#/systems/annotations?project={number}", script=LOSING) as page:
        panel = page.get_by_role("region", name="Import a file")
        panel.get_by_label("File of texts").set_input_files(file)
        page.evaluate("window.lose = '/import'")
        panel.get_by_role("button", name="Import", exact=True).click()
        expect(panel.get_by_role("alert")).to_contain_text("it is not known whether it arrived")
        panel.get_by_role("button", name="Import", exact=True).click()
        expect(page.locator("#notices")).to_contain_text("1 text taken")
    path = f"/api/v1/batch/operations?project_id={number}"
    assert dashboard.client.ask("GET", path)["total"] == 1


@pytest.mark.parametrize(("seconds", "made"), [(90, 1), (130, 2)])
def test_an_export_that_is_wanted_anew_long_after_a_lost_answer_is_made_anew(
    dashboard: Dashboard, seconds: int, made: int
) -> None:
    key = uuid.uuid4().hex
    number = _project(dashboard, key)
    where = f"/api/v1/projects/{number}/texts"
    dashboard.client.ask("POST", where, {"content": "Ada"}, key=f"{key}-text", status=201)
    with dashboard.page(f"#/systems/annotations?project={number}", script=LOSING) as page:
        panel = page.get_by_role("region", name="Export a file")
        page.evaluate("window.lose = '/export'")
        panel.get_by_role("button", name="Export", exact=True).click()
        expect(panel.get_by_role("alert")).to_contain_text("Press again within two minutes")
        page.evaluate(f"const now = Date.now; Date.now = () => now() + {seconds * 1000}")
        panel.get_by_role("button", name="Export", exact=True).click()
        expect(page.locator("#notices")).to_contain_text("The export has begun")
        listed = page.get_by_role("region", name=OPERATIONS).locator("tbody tr")
        expect(listed).to_have_count(made)


def test_what_is_not_done_once_is_not_said_to_be(dashboard: Dashboard) -> None:
    with dashboard.page("#/systems", script=LOSING) as page:
        page.get_by_role("button", name="New project").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Name").fill(uuid.uuid4().hex)
        page.evaluate("window.lose = '/projects'")
        dialog.get_by_role("button", name="create", exact=True).click()
        said = dialog.get_by_role("alert")
        expect(said).to_contain_text("it is not known whether it arrived")
        expect(said).to_contain_text("Look before you press again.")
        expect(said).not_to_contain_text("done once")


def test_a_validation_that_is_clicked_twice_is_one_job(dashboard: Dashboard) -> None:
    ask, key = dashboard.client.ask, uuid.uuid4().hex
    number = _project(dashboard, key)
    where = f"/api/v1/projects/{number}"
    ask("POST", f"{where}/labels", {"name": "PERSON"}, key=f"{key}-label", status=201)
    text = ask("POST", f"{where}/texts", {"content": "Ada"}, key=f"{key}-text", status=201)
    span = {"text_id": text["text_id"], "start_char": 0, "end_char": 3, "label": "PERSON"}
    body = {"project_id": number, "annotations": [span]}
    ask("POST", "/api/v1/batch/annotations/create", body, key=f"{key}-bulk", status=202)
    with dashboard.page(f"#/systems/annotations?project={number}") as page:
        operations = page.get_by_role("region", name=OPERATIONS)
        expect(operations.locator("tbody .chip")).to_have_text("completed")
        begin = page.get_by_role("button", name="Validate all annotations")
        begin.dblclick()
        checks = page.get_by_role("region", name="Validation", exact=True)
        expect(checks.locator(".chip")).to_have_text("completed")
        # A second click that comes when the first one is answered.
        begin.dispatch_event("click", {"detail": 2})
        page.wait_for_timeout(500)
    listed = dashboard.client.ask("GET", "/api/v1/jobs?operation=annotations.validate")["items"]
    assert [each["params"]["project_id"] for each in listed].count(number) == 1


def test_a_project_that_is_not_there_is_no_other_one(dashboard: Dashboard) -> None:
    _project(dashboard, uuid.uuid4().hex)
    with dashboard.page("#/systems/annotations?project=999999", known=["404 (Not Found)"]) as page:
        expect(page.get_by_text("There is no project 999999, or it is not yours.")).to_be_visible()
        expect(page.locator(".project select")).to_have_value("")
        expect(page.get_by_role("region", name="Import a file")).to_have_count(0)
        check_accessible(page)


def test_a_project_beyond_the_first_ones_is_shown(dashboard: Dashboard) -> None:
    name = uuid.uuid4().hex
    number = _project(dashboard, name)

    def without(route: Route) -> None:
        said = route.fetch().json()
        said["items"] = [each for each in said["items"] if each["project_id"] != number]
        route.fulfill(json=said)

    with dashboard.page("#/operations") as page:
        page.route("**/api/v1/projects?limit=500", without)
        page.goto(f"{dashboard.server.url}/#/systems/annotations?project={number}")
        expect(page.locator(".project select")).to_have_value(str(number))
        expect(page.locator(".project select option:checked")).to_contain_text(name)
        expect(page.get_by_role("region", name="Import a file")).to_be_visible()


def test_who_is_a_member_of_a_project_alone_comes_to_it(dashboard: Dashboard) -> None:
    name = uuid.uuid4().hex
    _project(dashboard, name, subject=name, role="manager")
    who = token(sub=name, tenant=TENANT, roles=["member"])
    with dashboard.page(credential=who) as page:
        expect(page.locator("#bar nav a")).to_have_text(["Systems"])
        expect(page.locator(".project select")).to_contain_text(name)
        expect(page.get_by_role("region", name="Import a file")).to_be_visible()
        expect(page.locator("#bar .live")).to_have_text("Off")
        check_accessible(page)


def test_what_is_rolled_back_is_not_offered_to_be_cancelled(dashboard: Dashboard) -> None:
    number = _project(dashboard, uuid.uuid4().hex)
    body = {"project_id": number, "ids": [999_999]}
    path = "/api/v1/batch/annotations/delete"
    dashboard.client.ask("DELETE", path, body, key=uuid.uuid4().hex, status=202)

    def going(route: Route) -> None:
        said = route.fetch().json()
        said["items"][0]["status"] = "rolling_back"
        route.fulfill(json=said)

    with dashboard.page("#/operations") as page:
        page.route("**/api/v1/batch/operations?*", going)
        page.goto(f"{dashboard.server.url}/#/systems/annotations?project={number}")
        row = page.get_by_role("region", name=OPERATIONS).locator("tbody tr")
        expect(row.locator(".chip")).to_have_text("rolling back")
        expect(row.get_by_role("button", name="Cancel")).to_have_count(0)


def test_an_answer_does_not_overtake_a_later_one(dashboard: Dashboard) -> None:
    number = _project(dashboard, uuid.uuid4().hex)
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    with dashboard.page(f"#/systems/annotations?project={number}") as page:
        reports = page.get_by_role("region", name="Reports", exact=True)
        choice, facts = reports.locator("select").first, reports.locator(".facts")
        expect(facts).not_to_be_empty()
        first = facts.inner_text()
        with page.expect_response("**/reports/trend*"):
            choice.select_option("trend")
        expect(facts).not_to_have_text(first, use_inner_text=True)
        trend = facts.inner_text()
        page.route("**/reports/summary*", hold)
        with page.expect_request("**/reports/summary*"):
            choice.select_option("summary")
        choice.select_option("trend")
        page.wait_for_timeout(1000)
        with page.expect_response("**/reports/summary*"):
            held[0].continue_()
        page.wait_for_timeout(1000)
        expect(facts).to_have_text(trend, use_inner_text=True)
