"""Submit, and how pages are fetched, in a browser."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import expect

from tests.crash.client import JOBS
from tests.dashboard.site import (
    BREAKING,
    LOSING,
    ROUNDING,
    Dashboard,
    Held,
    check_accessible,
    check_fits,
    module,
    wait_listed,
)
from tests.dashboard.test_jobs import HOSTILE


def test_a_file_is_looked_at_tried_and_applied(dashboard: Dashboard, tmp_path: Path) -> None:
    mark = uuid.uuid4().hex[:6]
    file = tmp_path / "shelves.csv"
    file.write_text(
        f'code;amount\r\n{mark}-1;1\r\n"{HOSTILE[0]}";2\r\n{mark}-3;many\r\n{HOSTILE[1]};4\r\n{HOSTILE[2]};5\r\n{HOSTILE[3]};6\r\n',
        encoding="utf-8",
    )
    with dashboard.page("#/submit?operation=stock.open") as page:
        page.get_by_label("File", exact=True).set_input_files(file)
        rows = page.locator(".drop-zone tbody tr")
        expect(rows).to_have_count(6)
        expect(rows.nth(1)).to_contain_text(HOSTILE[0])
        expect(page.locator(".drop-zone")).to_contain_text("CSV")
        check_accessible(page)
        page.set_viewport_size({"width": 360, "height": 700})
        check_fits(page)
        check_accessible(page)
        assert page.locator("main img, main script").count() == 0
        page.get_by_label("Name", exact=True).fill(HOSTILE[0])
        page.get_by_label("Tags").fill(mark)
        page.get_by_role("button", name="Dry run first").click()
        page.wait_for_url("**tab=plan")
        expect(page.get_by_text("Would fail")).to_be_visible()
        page.get_by_role("button", name="Apply this plan").click()
        page.get_by_role("button", name="apply", exact=True).click()
        expect(page.locator(".job-head h1 + .chip")).to_have_text("completed")
        job = page.url.rpartition("/")[2]
    counts = dashboard.client.job(job)["counts"]
    assert (counts["succeeded"], counts["skipped"]) == (5, 1)


def test_an_item_is_typed_into_the_form_of_its_schema(dashboard: Dashboard) -> None:
    mark = uuid.uuid4().hex[:6]
    with dashboard.page("#/submit?operation=stock.open") as page:
        page.get_by_role("button", name="Submit without a dry run").click()
        expect(page.get_by_role("alert")).to_contain_text("There is no item yet")
        page.get_by_label("Code", exact=True).fill(mark)
        page.get_by_label("Amount", exact=True).fill("7")
        page.get_by_role("button", name="Add this item").focus()
        page.keyboard.press("Enter")
        expect(page.locator("p", has_text="1 item by hand")).to_be_visible()
        page.get_by_role("button", name="Submit without a dry run").click()
        expect(page.locator(".job-head h1 + .chip")).to_have_text("completed")
        job = page.url.rpartition("/")[2]
    assert [each["status"] for each in dashboard.client.items(job)] == ["succeeded"]
    assert dashboard.client.job(job)["operation"] == "stock.open"


def test_an_update_by_the_form_has_what_was_filled_in_alone(dashboard: Dashboard) -> None:
    with dashboard.page("#/submit?operation=annotations.update_images") as page:
        page.locator("input[name=id]").fill("7")
        page.locator("input[name=file_name]").fill("a.png")
        page.get_by_role("button", name="Add this item").click()
        expect(page.locator("p", has_text="1 item by hand")).to_be_visible()
        page.get_by_role("button", name="Submit without a dry run").click()
        page.wait_for_url("**/#/jobs/*")
        job = page.url.rpartition("/")[2]
    sent = dashboard.client.ask("GET", f"{JOBS}/{job}/items/0")["item"]
    assert sent == {"id": 7, "file_name": "a.png"}


def test_a_form_tells_what_is_left_open_from_what_is_false(dashboard: Dashboard) -> None:
    schema = {
        "required": ["sure"],
        "properties": {
            "sure": {"type": "boolean"},
            "active": {"anyOf": [{"type": "boolean"}, {"type": "null"}], "default": None},
            "level": {"enum": [1, 2], "type": "integer", "default": 1},
            "kind": {"enum": ["a", "b"], "type": "string", "default": "b"},
            "more": {"type": "object", "default": {}},
        },
    }
    with dashboard.page("#/submit") as page:
        read = page.evaluate(
            """async ({where, schema}) => {
                const {schemaForm} = await import(where), {drawn, read} = schemaForm(schema);
                const first = read(), given = {active: "false", level: "2", kind: "a"};
                for (const [name, label] of Object.entries(given)) {
                    const options = [...drawn.querySelectorAll(`[name=${name}] option`)];
                    options.find((each) => each.textContent === label).selected = true;
                }
                return [first, read()];
            }""",
            {"where": module(page, "submit/schema-form.js"), "schema": schema},
        )
    assert read == [
        {"sure": False},
        {"sure": False, "active": False, "level": 2, "kind": "a"},
    ]


@pytest.mark.parametrize("is_taken", [True, False], ids=["taken", "refused"])
def test_who_has_gone_on_before_a_submit_is_answered_is_told_of_it(
    dashboard: Dashboard, is_taken: bool
) -> None:
    held = Held()
    with dashboard.page(
        "#/submit?operation=stock.open", known=["422 (Unprocessable Entity)"]
    ) as page:
        page.get_by_label("Code", exact=True).fill(uuid.uuid4().hex[:6])
        page.get_by_label("Amount", exact=True).fill("7")
        page.get_by_role("button", name="Add this item").click()
        page.route("**/api/v1/jobs?*", held.keep)
        page.get_by_role("button", name="Submit without a dry run").click()
        held.wait(page)
        page.get_by_role("link", name="Operations").click()
        expect(page.get_by_role("heading", name="Health")).to_be_visible()
        if is_taken:
            held.routes[0].continue_()
        else:
            held.routes[0].fulfill(status=422, json={"detail": "It is too much."})
        words = "was submitted." if is_taken else "It is too much."
        expect(page.locator("#notices")).to_contain_text(words)
        assert page.url.endswith("#/operations")


def test_what_a_file_is_and_what_its_cells_are(dashboard: Dashboard) -> None:
    with dashboard.page("#/submit") as page:
        found = page.evaluate(
            """async ({where, table, lines, cells}) => {
                const {kindOf, csvItems, lineItems, typed} = await import(where);
                return [
                    kindOf("[1]"), kindOf(" {}"), kindOf("a,b"), kindOf("x", "x.jsonl"),
                    csvItems(table), lineItems(lines, false), cells.map(typed),
                ];
            }""",
            {
                "where": module(page, "submit/files.js"),
                "table": 'a,b\n"1,2","say ""no"""\n\n3,007',
                "lines": '{"a": 1}\n{"b',
                "cells": ["1", "1.0", "-2.5", "", "true", "1e3", "9007199254740993"],
            },
        )
    assert found[:4] == ["json", "ndjson", "csv", "ndjson"]
    assert found[4] == [{"a": "1,2", "b": 'say "no"'}, {"a": 3, "b": "007"}]
    assert found[5] == [{"a": 1}]
    assert found[6] == [1, "1.0", -2.5, "", True, "1e3", "9007199254740993"]


@pytest.mark.parametrize("losing", [LOSING, BREAKING], ids=["none of it", "its beginning"])
def test_a_submit_whose_answer_is_lost_is_one_job(
    dashboard: Dashboard, tmp_path: Path, losing: str
) -> None:
    mark = uuid.uuid4().hex[:6]
    file = tmp_path / "shelves.csv"
    file.write_text(f"code,amount\n{mark}-file,1\n", encoding="utf-8")
    for tag in ("hand", "file"):
        with dashboard.page("#/submit?operation=stock.open", script=losing) as page:
            if tag == "file":
                page.get_by_label("File", exact=True).set_input_files(file)
                expect(page.locator(".drop-zone tbody tr")).to_have_count(1)
            else:
                page.get_by_label("Code", exact=True).fill(f"{mark}-hand")
                page.get_by_label("Amount", exact=True).fill("7")
                page.get_by_role("button", name="Add this item").click()
            page.get_by_label("Tags").fill(mark + tag)
            page.evaluate("window.lose = '/jobs?'")
            page.get_by_role("button", name="Submit without a dry run").click()
            expect(page.get_by_role("alert")).to_contain_text("it is not known whether it arrived")
            page.get_by_role("button", name="Submit without a dry run").click()
            expect(page.locator(".job-head h1 + .chip")).to_have_text("completed")
            job = page.url.rpartition("/")[2]
        wait_listed(dashboard.client, [job])
        listed = dashboard.client.ask("GET", f"{JOBS}?tag={mark}{tag}")["items"]
        assert [each["job_id"] for each in listed] == [job]


_REFUSED: Final = {
    "a,b\n1,2\n1,2,3": "Line 3 has 3 cells for 2 columns",
    'a,b\n"1\n1",2\n3,4,5': "Line 4 has 3 cells for 2 columns",
    "a,b,a\n1,2,3": 'Two columns are called "a"',
    'a,b\n1,2\n"3,4\n5,6': "The row that begins in line 3 ends within quotes",
}
"""Files of CSV from which something would be left out, and what is said of them."""


@pytest.mark.parametrize("text", _REFUSED)
def test_csv_of_which_something_would_be_lost_is_refused(
    dashboard: Dashboard, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "a.csv"
    file.write_text(text, encoding="utf-8")
    with dashboard.page("#/submit?operation=stock.open") as page:
        page.get_by_label("File", exact=True).set_input_files(file)
        expect(page.locator("#notices")).to_contain_text(_REFUSED[text])
        # What is said of the file is there for 20 seconds, and in nobody's way.
        page.get_by_role("button", name="Submit without a dry run").click(timeout=10_000)
        expect(page.get_by_role("alert")).to_contain_text("There is no item yet")


def test_what_has_the_focus_lies_under_no_notice(dashboard: Dashboard) -> None:
    with dashboard.page("#/submit?operation=stock.open") as page:
        last = page.get_by_role("button", name="Dry run first")
        expect(last).to_be_visible()
        page.evaluate(
            """async (where) => {
                const {notice} = await import(where);
                for (const line of [1, 2, 3, 4]) notice(`${line} ${"said and read ".repeat(6)}`);
            }""",
            module(page, "parts/dom.js"),
        )
        page.keyboard.press("Shift+Tab")
        for _ in range(20):
            if last.evaluate("each => each === document.activeElement"):
                break
            page.keyboard.press("Shift+Tab")
        seen = """each => {
            const {left, top, width, height} = each.getBoundingClientRect();
            return document.elementFromPoint(left + width / 2, top + height / 2) === each;
        }"""
        assert last.evaluate("each => each === document.activeElement")
        assert last.evaluate(seen)


def test_files_in_another_encoding_are_refused(dashboard: Dashboard, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes("code,amount\nMünchen,1\n".encode("latin-1"))
    with dashboard.page("#/submit?operation=stock.open") as page:
        page.get_by_label("File", exact=True).set_input_files(file)
        expect(page.locator("#notices")).to_contain_text("not in UTF-8")


def test_whole_numbers_of_any_length_are_sent_as_they_are(dashboard: Dashboard) -> None:
    text = '[{"a": 9007199254740993, "b": [-12345678901234567890, 1.5, "1234567890123456"]}]'
    with dashboard.page("#/submit?operation=stock.open") as page:
        sent = page.evaluate(
            """async ({where, text}) => {
                const {asLines} = await import(where);
                return (await asLines(new File([text], "a.json"), "json")).text();
            }""",
            {"where": module(page, "submit/files.js"), "text": text},
        )
        assert sent == f"{text[1:-1]}\n".replace(": ", ":").replace(", ", ",")
        page.get_by_label("Code", exact=True).fill("long")
        page.get_by_label("Amount", exact=True).fill("9007199254740993")
        page.get_by_role("button", name="Add this item").click()
        expect(page.get_by_role("region", name="1 item by hand")).to_contain_text(
            "9007199254740993"
        )


def test_a_browser_that_rounds_refuses_whatever_it_would_change(dashboard: Dashboard) -> None:
    texts = ["9007199254740993", "12345678901234567890123", f"[{'9' * 400}]", "1.2345678901234567"]
    with dashboard.page("#/jobs", script=ROUNDING) as page:
        kept = page.evaluate(
            """async ({where, texts}) => {
                const {exact} = await import(where);
                return texts.map((text) => { try { return exact(text); } catch { return null; } });
            }""",
            {"where": module(page, "parts/words.js"), "texts": texts},
        )
    assert kept == [None, None, None, 1.2345678901234567]


def test_a_page_that_the_server_has_no_more_is_said_to_be_loaded_again(
    dashboard: Dashboard,
) -> None:
    with dashboard.page("#/jobs", known=["404 (Not Found)"]) as page:
        expect(page.get_by_role("region", name="List of jobs")).to_be_visible()
        page.route("**/pages/operations.js", lambda route: route.fulfill(status=404))
        page.get_by_role("link", name="Operations").click()
        page.get_by_role("button", name="Load the page again").click()
        expect(page.get_by_text("This page could not be fetched")).to_be_visible()
        page.unroute("**/pages/operations.js")
        page.get_by_role("button", name="Load the page again").click()
        expect(page.get_by_text("ready", exact=True)).to_be_visible()
