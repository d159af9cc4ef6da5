"""Pages of large items: they end before their limit, skip nothing, and keep nobody waiting."""

from __future__ import annotations

import asyncio
import io
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api import item_pages, items, rows
from api.documents import item_document
from domain.outcomes import ItemStatus
from streams.items import ItemView
from tests.api.conftest import Site
from tests.api.test_routes import NDJSON, get, post

SIZES = st.sampled_from([10, 200, 900, 1500, 5000])
KINDS = {"ndjson": rows.json_line(payload=True), "csv": rows.csv_line(payload=True)}
RESULT = 200_000


def views_of(sizes: Sequence[int]) -> list[ItemView]:
    """Items as large as that."""
    return [view_of(position, size, 10) for position, size in enumerate(sizes)]


def view_of(position: int, sent: int, result: int) -> ItemView:
    return ItemView(position, ItemStatus.SUCCEEDED, "x" * result, line=b'"%s"' % (b"x" * sent))


def answered(sizes: Sequence[int]) -> list[ItemView]:
    """Items of which nothing is asked that was sent, with results as large as that."""
    return [
        ItemView(position, ItemStatus.SUCCEEDED, "x" * size) for position, size in enumerate(sizes)
    ]


def planned(sizes: Sequence[int]) -> list[ItemView]:
    """Items of a dry run, with changes as large as that."""
    changes = ([{"table": "notes", "after": {"text": "x" * size}}] for size in sizes)
    return [
        ItemView(position, ItemStatus.PLANNED, changes=found)
        for position, found in enumerate(changes)
    ]


def large(view: ItemView) -> bool:
    return max(map(len, (view.line, orjson.dumps(view.result), orjson.dumps(view.changes)))) > 9_999


class Noted:
    """Where items were written."""

    def __init__(self) -> None:
        self.large: Counter[bool] = Counter()
        """How many large ones, by whether it was in the event loop."""
        self.small: Counter[bool] = Counter()

    def note(self, view: ItemView) -> None:
        kind = self.large if large(view) else self.small
        kind[threading.current_thread() is threading.main_thread()] += 1


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> Noted:
    """Where the items of pages are written."""
    found = Noted()
    document = item_document

    def noting(view: ItemView, *, payload: bool) -> dict[str, Any]:
        found.note(view)
        return document(view, payload=payload)

    monkeypatch.setattr(items, "item_document", noting)
    return found


async def taken(views: Sequence[ItemView]) -> AsyncGenerator[ItemView, None]:
    for view in views:
        yield view


async def page_of(views: Sequence[ItemView], limit: int, *, payload: bool) -> Any:
    """A page as callers read it."""
    answer = await items.page(taken(views), limit, None, payload=payload)
    assert isinstance(answer.body, bytes)
    return orjson.loads(answer.body)


async def pages(views: Sequence[ItemView], limit: int, *, payload: bool = True) -> list[Any]:
    """All pages, one behind the other, by their cursors."""
    found: list[Any] = []
    after = -1
    while True:
        behind = [view for view in views if view.position > after][: limit + 1]
        found.append(await page_of(behind, limit, payload=payload))
        if found[-1]["next_cursor"] is None:
            return found
        after = int(found[-1]["next_cursor"])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pages of few bytes, of which some are made at once."""
    with monkeypatch.context() as patched:
        patched.setattr(item_pages, "BYTES", 4000)
        patched.setattr(rows, "LARGE", 1000)
        patched.setattr(rows, "BESIDE", 2000)
        yield


@pytest.mark.usefixtures("small")
def test_cursors_skip_nothing_and_repeat_nothing() -> None:
    @settings(deadline=None)
    @given(st.lists(st.tuples(SIZES, SIZES), max_size=30), st.integers(1, 12), st.booleans())
    def check(sizes: list[tuple[int, int]], limit: int, payload: bool) -> None:
        views = [view_of(n, sent, result) for n, (sent, result) in enumerate(sizes)]
        found = asyncio.run(pages(views, limit, payload=payload))
        shown = [item for page in found for item in page["items"]]
        assert shown == [item_document(view, payload=payload) for view in views]
        assert all(len(page["items"]) <= limit for page in found)
        assert all(page["items"] for page in found[:-1])
        for page in found:
            whole = orjson.dumps(page["items"])
            assert len(whole) < 4000 + rows.BESIDE + 11_000

    check()


async def test_a_page_ends_with_four_megabytes_and_one_has_an_item() -> None:
    views = views_of([1_500_000] * 5 + [100] * 300)
    first, second = await pages(views, 1000)
    assert [len(page["items"]) for page in (first, second)] == [3, 302]
    views = views_of([9_000_000, 10])
    assert [len(page["items"]) for page in await pages(views, 10)] == [1, 1]


@pytest.mark.parametrize("made", [answered, planned])
async def test_so_does_a_page_of_large_results_or_changes(
    made: Callable[[Sequence[int]], list[ItemView]], noted: Noted
) -> None:
    found = await pages(made([RESULT] * 150), 100, payload=False)
    assert [len(page["items"]) for page in found] == [20] * 7 + [10]
    assert noted.large[False] == 150
    assert not noted.large[True]


async def test_large_results_behind_small_ones_are_noticed_on_the_way(noted: Noted) -> None:
    found = await pages(answered([10] * 250 + [RESULT] * 100), 1000, payload=False)
    assert [len(page["items"]) for page in found] == [270, 20, 20, 20, 20]
    assert noted.large[True] == 1
    assert noted.small[False] == 1


async def test_a_page_of_small_items_is_written_in_few_calls_in_the_loop(
    monkeypatch: pytest.MonkeyPatch, noted: Noted
) -> None:
    calls: list[int] = []
    write = rows.Writer.write

    async def counted(self: rows.Writer[Any]) -> list[bytes]:
        written = await write(self)
        calls.append(len(written))
        return written

    monkeypatch.setattr(rows.Writer, "write", counted)
    (page,) = await pages(answered([10] * 1000), 1000, payload=False)
    assert len(page["items"]) == 1000
    assert calls == [1, *[100] * 9, 99]
    assert noted.small == {False: 1, True: 999}


async def test_many_that_are_large_together_are_written_beside_the_loop(noted: Noted) -> None:
    (page,) = await pages(answered([1000] * 500), 1000, payload=False)
    assert len(page["items"]) == 500
    assert noted.small == {False: 500}


async def test_what_has_no_room_is_not_written(noted: Noted) -> None:
    views = answered([RESULT] * 3)
    assert (await page_of(views, 1, payload=False))["next_cursor"] == "0"
    assert noted.large == {False: 1}


async def test_a_page_without_what_was_sent_is_as_long_as_it_was_asked_for(site: Site) -> None:
    lines = b"".join(b'{"n":%d,"pad":"%s"}\n' % (n, b"x" * 900_000) for n in range(8))
    query = {"operation": "test.double"}
    body = io.BytesIO(lines)
    job = await post(site, "/api/v1/jobs", params=query, data=body, headers=NDJSON)
    path = job["links"]["items"]
    assert len((await get(site, path, params={"limit": 8}))["items"]) == 8
    seen, cursor = [], "0"
    while cursor is not None:
        page = await get(site, path, params={"limit": 8, "include": "item", "cursor": cursor})
        assert 1 <= len(page["items"]) <= 5
        seen += [item["item"]["n"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert seen == [*range(1, 8)]


async def test_large_items_are_written_beside_the_event_loop(noted: Noted) -> None:
    await pages(views_of([100, 500_000, 100, 100, 900_000]), 1000)
    assert noted.large == {False: 2}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("made", [views_of, answered, planned])
async def test_so_are_large_lines(
    kind: str, made: Callable[[Sequence[int]], list[ItemView]]
) -> None:
    noted = Noted()

    def line(view: ItemView) -> bytes:
        noted.note(view)
        return KINDS[kind](view)

    views = made([RESULT] * 120)
    blocks = [block async for block in rows.blocks(taken(views), line, size=rows.sent_size)]
    assert b"".join(blocks) == b"".join(map(KINDS[kind], views))
    assert noted.large == {False: 120}


async def test_what_was_sent_of_large_items_does_not_gather() -> None:
    taken_so_far = -1
    ahead: list[int] = []

    async def source() -> AsyncGenerator[ItemView, None]:
        nonlocal taken_so_far
        for view in views_of([10] * 101 + [RESULT] * 50):
            taken_so_far = view.position
            yield view

    def line(view: ItemView) -> bytes:
        if large(view):
            ahead.append(taken_so_far - view.position)
        return KINDS["ndjson"](view)

    [block async for block in rows.blocks(source(), line, size=rows.sent_size)]
    assert len(ahead) == 50
    assert max(ahead) == 1


async def test_blocks_have_the_lines_of_all_rows_in_order() -> None:
    views = answered([10] * 250 + [RESULT, 10] * 5 + [5000] * 40 + [10] * 101)
    line = rows.json_line(payload=False)
    blocks = [block async for block in rows.blocks(taken(views), line, b"head\n")]
    assert b"".join(blocks) == b"head\n" + b"".join(map(line, views))
