from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console, RenderableType

from streams.cli import render
from streams.cli.following import LineView, merged
from streams.cli.output import plain
from tests.cli.contract_server import counts, job


def drawn(renderable: RenderableType, width: int = 160) -> str:
    page = io.StringIO()
    Console(file=page, width=width, highlight=False).print(renderable)
    return page.getvalue()


def test_counts_name_what_is_not_zero() -> None:
    counted: Any = counts(succeeded=9863, conflict=137)

    assert render.counts_line(counted) == "9,863 succeeded, 137 conflict"
    assert render.counts_line(counts()) == "no items"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.4, "0:00"), (7, "0:07"), (725, "12:05"), (12000, "3:20:00")]
)
def test_a_duration_reads_like_a_clock(seconds: float, shown: str) -> None:
    assert render.duration(seconds) == shown


def test_progress_fits_on_a_line() -> None:
    document: Any = job(
        percent=63.21, items_per_second=8200.4, eta_seconds=12.0, counts=counts(pending=1)
    )

    assert render.progress_line(document) == "running 63.2 % | 1 pending | 8,200/s | ETA 0:12"


def test_what_is_unknown_is_left_out() -> None:
    document: Any = job(percent=None)

    assert render.progress_line(document) == "running  | 10 pending"
    assert "None" not in drawn(render.live_view(document))


def test_a_bar_shows_name_status_and_all_counts() -> None:
    document: Any = job(name="clean up", percent=40.0, counts=counts(succeeded=4, pending=6))
    page = drawn(render.live_view(document), width=100)

    for part in ("clean up", "running", "40.0 %", "succeeded 4", "failed 0", "pending 6"):
        assert part in page


@pytest.mark.parametrize("width", [60, 80, 120, 160])
def test_a_table_of_jobs_never_cuts_an_id(width: int) -> None:
    many: Any = counts(succeeded=19107, failed=193, skipped=30700, rolled_back=1, conflict=1)
    document: Any = job(
        "0192f7a1-7c1d-7e30-8f6e-2f6a4d1c9b11",
        name="x" * 300,
        operation="annotations.create_projects",
        status="completed_with_errors",
        counts=many,
    )

    page = drawn(render.job_table([document], width), width)

    assert "0192f7a1-7c1d-7e30-8f6e-2f6a4d1c9b11" in page
    assert max(map(len, page.splitlines())) <= width


def test_an_item_without_a_result_shows_none() -> None:
    done: Any = {"position": 0, "status": "rolled_back", "result": None, "error": None}

    assert "null" not in drawn(render.item_table([done]))


def test_names_cannot_steer_the_terminal() -> None:
    evil = "\x1b[2J[bold]red[/bold]\x9b1m"
    document: Any = job(name=evil, tags=[evil], params={"a": evil})
    pages = [
        drawn(render.job_table([document])),
        drawn(render.job_details(document)),
        drawn(render.live_view(document), width=200),
        render.progress_line(document),
    ]

    for page in pages:
        assert "\x1b" not in page
        assert "\x9b" not in page
    assert "[bold]red[/bold]" in pages[0], "what looks like our markup is text"


def test_plain_keeps_lines_and_tabs() -> None:
    assert plain("a\tb\nc\rd") == "a\tb\nc\N{REPLACEMENT CHARACTER}d"


def test_the_largest_group_of_errors_comes_first() -> None:
    groups: Any = [
        {"code": "rare", "signature": "a", "count": 2, "samples": [{"item": 4}]},
        {
            "code": "common",
            "signature": "[b]",
            "count": 1500,
            "samples": [{"item": n} for n in range(9)],
        },
    ]
    page = drawn(render.error_table(groups))

    assert page.index("common") < page.index("rare")
    assert "1,500" in page
    assert "0, 1, 2" in page
    assert "[b]" in page


def _group(signature: str, *messages: tuple[str, str]) -> Any:
    samples = [
        {"item": n, "message": message, "pointer": pointer}
        for n, (message, pointer) in enumerate(messages, 4)
    ]
    return {"code": "c", "signature": signature, "count": 900, "samples": samples}


def test_a_group_of_errors_tells_what_one_item_was_told_and_where() -> None:
    group = _group("no label …", ("no label 7", "/x"), ("no label 8", "/y"))
    page = drawn(render.error_table([group]))
    assert "item 4: no label 7 (at /x)" in page
    assert "no label 8" not in page
    page = drawn(render.error_table([_group("required", ("required", "/x"), ("required", "/y"))]))
    assert "item 4: required (at /x)" in page


def test_a_group_of_errors_says_nothing_twice() -> None:
    for told in (("too long", ""), ("", "")):
        page = drawn(render.error_table([_group("too long", told)]))
        assert page.count("too long") == 1
        assert "item 4" not in page
    page = drawn(render.error_table([_group("… is gone", ("a/1 is gone", "a/1"))]))
    assert page.count("a/1") == 1


def test_what_an_item_was_told_is_one_line_of_bounded_length() -> None:
    group = _group("s", ("first\nitem 9: forged " + "x" * 3000, "/x"))
    (told,) = [line for line in render._what_they_share(group).split("\n") if "item" in line]
    assert told.startswith("item 4: first item 9: forged")
    assert len(told) < 250


def test_an_item_that_is_not_done_says_why_once() -> None:
    items: Any = [
        {
            "position": 7,
            "status": "conflict",
            "result": None,
            "error": {"code": "conflict", "message": "a/1 was changed by x", "pointer": "a/1"},
        },
        {
            "position": 9,
            "status": "failed",
            "result": None,
            "error": {"code": "late", "message": "too late", "pointer": "/when"},
        },
        {"position": 8, "status": "succeeded", "result": {"id": 1}, "error": None},
    ]
    page = drawn(render.item_table(items))

    assert "conflict    a/1 was changed by x " in page
    assert "late: too late (at /when)" in page
    assert '{"id": 1}' in page


def test_a_long_result_is_cut() -> None:
    assert len(render.compact({"text": "x" * 1000})) == 200


def test_an_event_is_a_line() -> None:
    line = render.event_line(
        {
            "version": 3,
            "at": "2025-06-01T12:00:00+00:00",
            "event": "job.paused",
            "status": "paused",
            "counts": counts(pending=1),
            "actor": "ann",
            "epoch": 1,
            "reason": "prices",
        }
    )

    assert line.startswith("v3  2025-06-01 ")
    assert line.endswith("job.paused  paused  1 pending  by ann  (prices)")


def test_lines_come_with_each_status_and_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    now = 100.0
    view = LineView(clock=lambda: now)
    running: Any = job()
    view.show(running, None)
    for done in range(5):
        now += 1.5
        moved: Any = job(percent=10.0 * done)
        view.show(moved, None)
    last: Any = job(status="completed", percent=100.0)
    view.show(last, None)
    view.show(last, None)

    shown = [line.split(" | ")[0] for line in capsys.readouterr().out.splitlines()]
    assert shown == [
        "notes.create running 0.0 %",
        "notes.create running 30.0 %",
        "notes.create completed 100.0 %",
    ]


def test_an_event_that_cannot_tell_the_percent_leaves_it() -> None:
    document: Any = job(percent=50.0, eta_seconds=1.0)
    news = {"status": "paused", "percent": None, "eta_seconds": None, "actor": "ann"}

    after = merged(document, news)

    assert (after["status"], after["percent"], after["eta_seconds"]) == ("paused", 50.0, None)
    assert "actor" not in after
