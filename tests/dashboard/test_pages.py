"""Submit, in a browser."""

from __future__ import annotations

import uuid
from pathlib import Path

from playwright.sync_api import expect

from tests.dashboard.site import Dashboard, check_accessible, check_fits
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


def test_what_a_file_is_and_what_its_cells_are(dashboard: Dashboard) -> None:
    with dashboard.page("#/submit") as page:
        digest = page.locator("script[type=module]").get_attribute("src")
        assert digest
        found = page.evaluate(
            """async ({where, table, lines, cells}) => {
                const {kindOf, csvItems, lineItems, typed} = await import(where);
                return [
                    kindOf("[1]"), kindOf(" {}"), kindOf("a,b"), kindOf("x", "x.jsonl"),
                    csvItems(table), lineItems(lines, false), cells.map(typed),
                ];
            }""",
            {
                "where": digest.replace("app.js", "submit/files.js"),
                "table": 'a,b\n"1,2","say ""no"""\n\n3,007',
                "lines": '{"a": 1}\n{"b',
                "cells": ["1", "1.0", "-2.5", "", "true", "1e3", "9007199254740993"],
            },
        )
    assert found[:4] == ["json", "ndjson", "csv", "ndjson"]
    assert found[4] == [{"a": "1,2", "b": 'say "no"'}, {"a": 3, "b": "007"}]
    assert found[5] == [{"a": 1}]
    assert found[6] == [1, "1.0", -2.5, "", True, "1e3", "9007199254740993"]
