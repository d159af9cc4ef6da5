"""Pages: the codes of refusals and the API itself, for people, with nothing from elsewhere."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

import api
from api.codes import OF_HTTP, REMEDIES, catalogue
from api.pages import joined, tag, words
from api.problem_page import markdown
from api.problems import CODES
from tests.api.conftest import Site
from tests.api.contract import DOCUMENT, operations

FILE = Path(__file__).parents[2] / "docs" / "problems.md"
SOURCES = sorted(Path(api.__file__).parent.rglob("*.py"))


def said_in_the_code() -> Iterator[tuple[str, int, str]]:
    """Where a refusal is made with a status and a code, and which they are."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or len(node.args) < 2:
                continue
            name = (
                node.func.attr
                if isinstance(node.func, ast.Attribute)
                else getattr(node.func, "id", "")
            )
            match name, node.args[0], node.args[1]:
                case (("refused" | "Problem"), ast.Constant(int(status)), ast.Constant(str(code))):
                    yield path.name, status, code
                case "_forbidden", ast.Constant(str(code)), _:
                    yield path.name, 403, code


def test_every_refusal_in_the_code_is_listed_with_its_status() -> None:
    known = catalogue()
    found = list(said_in_the_code())
    assert len(found) > 20
    for where, status, code in found:
        assert known[code].status == status, f"{code} in {where}"


def test_every_code_has_words_and_a_remedy() -> None:
    for code in catalogue().values():
        assert code.about.endswith("."), code
        assert code.remedy.endswith("."), code
    assert set(OF_HTTP) == set(CODES.values())
    assert set(REMEDIES) <= set(catalogue())


def test_the_file_is_what_the_code_says() -> None:
    assert FILE.read_text() == markdown(), (
        "the codes have changed: run `.venv/bin/python -m api.problem_page > docs/problems.md`"
    )


class Reader(HTMLParser):
    """What a page has: the ids, the addresses that it fetches or leads to, and its elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        if tag not in ("meta", "link"):
            self.open.append(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id":
                self.ids.append(value or "")
            elif name in ("href", "src"):
                self.addresses.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("path", ["/docs", "/problems"])
async def test_a_page_is_whole_and_needs_nothing_from_elsewhere(site: Site, path: str) -> None:
    async with site.client.get(path) as response:
        assert (response.status, response.content_type) == (200, "text/html")
        policy = response.headers["Content-Security-Policy"]
        page = Reader(await response.text())
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert page.elements.isdisjoint({"script", "style", "iframe", "img", "form", "object"})
    assert not any(name == "style" or name.startswith("on") for name in page.attributes)
    for address in page.addresses:
        where, _, anchor = address.partition("#")
        assert where in ("", "/docs", "/problems", "/docs/style.css", "/api/v1/openapi.json")
        if not where:
            assert anchor in page.ids, address
    async with site.client.get("/docs/style.css") as response:
        assert (response.status, response.content_type) == (200, "text/css")
        assert "url(" not in await response.text()


async def test_the_page_of_problems_has_every_code_at_its_anchor(site: Site) -> None:
    async with site.client.get("/problems") as response:
        page = Reader(await response.text())
    assert set(page.ids) == set(catalogue())


async def test_the_page_of_the_api_has_every_operation_and_schema(site: Site) -> None:
    async with site.client.get("/docs") as response:
        page = Reader(await response.text())
    named = {said["operationId"] for _, _, said in operations()}
    assert set(page.ids) == named | set(DOCUMENT["components"]["schemas"])


def test_what_is_no_markup_is_escaped() -> None:
    assert tag("p", "<b>", tag("i", "&"), class_='"x"') == (
        '<p class="&quot;x&quot;">&lt;b&gt;<i>&amp;</i></p>'
    )
    assert words("a `<b>` c") == "a <code>&lt;b&gt;</code> c"
    assert joined(["<", tag("code", ">")]) == "&lt;<code>&gt;</code>"
