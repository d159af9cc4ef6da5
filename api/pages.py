"""Pages: HTML that the server writes itself, for people with a browser and no network.

There is no script in any of them and nothing from elsewhere, so the policy of contents can
forbid both; the one style sheet is a file of the server's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from importlib.resources import files

from aiohttp import web

DOCS = "/docs"
STYLE = f"{DOCS}/style.css"
_EMPTY = frozenset({"link", "meta"})


class Markup(str):
    """Text that is HTML already; any other text is escaped."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: str) -> Markup:
    """An element; ``class_`` stands for the attribute ``class``."""
    said = "".join(
        f' {key.rstrip("_")}="{escape(value)}"' for key, value in attributes.items() if value
    )
    if name in _EMPTY:
        return Markup(f"<{name}{said}>")
    return Markup(f"<{name}{said}>{joined(children)}</{name}>")


def joined(children: Iterable[str]) -> Markup:
    """Elements and texts, one after another."""
    return Markup("".join(each if isinstance(each, Markup) else escape(each) for each in children))


def words(text: str) -> Markup:
    """A sentence in which code stands between backticks."""
    parts = text.split("`")
    return joined(tag("code", part) if number % 2 else part for number, part in enumerate(parts))


def table(head: Iterable[str], rows: Iterable[Markup]) -> Markup:
    """A table; the rows are elements of their own."""
    return tag(
        "table",
        tag("thead", tag("tr", *(tag("th", name, scope="col") for name in head))),
        tag("tbody", *rows),
    )


def page(title: str, *content: str) -> str:
    """A whole document."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{title} - Countermand"),
        tag("link", rel="stylesheet", href=STYLE),
    )
    body = tag("body", tag("main", tag("h1", title), *content))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def shown(document: str) -> web.Response:
    """The answer with a document; its policy is that of pages."""
    return web.Response(text=document, content_type="text/html", charset="utf-8")


def style() -> web.Response:
    """The one style sheet."""
    text = files("api").joinpath("pages.css").read_text(encoding="utf-8")
    return web.Response(text=text, content_type="text/css", charset="utf-8")
