"""Pages of large items: they end before their limit, skip nothing, and keep nobody waiting."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api import items, rows
from api.documents import item_document
from domain.outcomes import ItemStatus
from streams.items import ItemView
from tests.api.conftest import Site
from tests.api.test_routes import NDJSON, get, post

SIZES = st.lists(st.sampled_from([10, 200, 900, 1500, 5000]), max_size=30)
KINDS = {"ndjson": rows.json_line(payload=True), "csv": rows.csv_line(payload=True)}


def views_of(sizes: Sequence[int]) -> list[ItemView]:
    lines = (b'"%s"' % (b"x" * (size - 2)) for size in sizes)
    return [ItemView(n, ItemStatus.SUCCEEDED, line=line) for n, line in enumerate(lines)]


async def taken(views: Sequence[ItemView]) -> AsyncGenerator[ItemView, None]:
    for view in views:
        yield view


async def pages(views: Sequence[ItemView], limit: int, *, payload: bool = True) -> list[Any]:
    """All pages, one behind the other, by their cursors."""
    found: list[Any] = []
    after = -1
    while True:
        behind = [view for view in views if view.position > after][: limit + 1]
        answer = await items.page(taken(behind), limit, None, payload=payload)
        assert isinstance(answer.body, bytes)
        found.append(orjson.loads(answer.body))
        if found[-1]["next_cursor"] is None:
            return found
        after = int(found[-1]["next_cursor"])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pages of few bytes, of which some are made at once."""
    with monkeypatch.context() as patched:
        patched.setattr(items, "PAGE_BYTES", 4000)
        patched.setattr(rows, "LARGE", 1000)
        yield


@pytest.mark.usefixtures("small")
def test_cursors_skip_nothing_and_repeat_nothing() -> None:
    @settings(deadline=None)
    @given(SIZES, st.integers(1, 12), st.booleans())
    def check(sizes: list[int], limit: int, payload: bool) -> None:
        views = views_of(sizes)
        found = asyncio.run(pages(views, limit, payload=payload))
        shown = [item for page in found for item in page["items"]]
        assert shown == [item_document(view, payload=payload) for view in views]
        assert all(len(page["items"]) <= limit for page in found)
        assert all(page["items"] for page in found[:-1])
        for page in found:
            whole = orjson.dumps(page["items"])
            assert len(whole) < items.PAGE_BYTES + rows.LARGE + 6000

    check()


async def test_a_page_ends_with_four_megabytes_and_one_has_an_item() -> None:
    views = views_of([1_500_000] * 5 + [100] * 300)
    first, second = await pages(views, 1000)
    assert [len(page["items"]) for page in (first, second)] == [3, 302]
    views = views_of([9_000_000, 10])
    assert [len(page["items"]) for page in await pages(views, 10)] == [1, 1]


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


async def test_large_items_are_written_beside_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    large: set[threading.Thread] = set()
    document = item_document

    def noted(view: ItemView, *, payload: bool) -> dict[str, Any]:
        if len(view.line) > 100_000:
            large.add(threading.current_thread())
        return document(view, payload=payload)

    monkeypatch.setattr(items, "item_document", noted)
    views = views_of([100, 500_000, 100, 100, 900_000])
    await pages(views, 1000)
    assert large
    assert threading.main_thread() not in large


@pytest.mark.parametrize("kind", KINDS)
async def test_so_are_large_lines(kind: str) -> None:
    large: set[threading.Thread] = set()

    def noted(view: ItemView) -> bytes:
        if len(view.line) > 100_000:
            large.add(threading.current_thread())
        return KINDS[kind](view)

    views = views_of([100, 500_000, 100, 100, 900_000])
    blocks = [block async for block in rows.blocks(taken(views), noted, size=rows.sent_size)]
    assert b"".join(blocks) == b"".join(map(KINDS[kind], views))
    assert large
    assert threading.main_thread() not in large
