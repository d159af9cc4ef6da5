"""Asked: what the query of a list says, by kind of record, and which record a path names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from aiohttp import web

from api.parameters import MAX_ID, Parameters, wrong
from api.problems import refused
from domain.systems.annotations.kinds import Kind
from domain.systems.annotations.roles import ProjectRole
from streams.systems.annotations.reading import FILTERS

PAGE: Final = 100
MAX_PAGE: Final = 500
MAX_OFFSET: Final = 1_000_000_000
MAX_WORDS: Final = 200

Read = Callable[[Parameters, str], Any]


def _id(query: Parameters, name: str) -> Any:
    return query.integer(name, 1, MAX_ID)


def _share(query: Parameters, name: str) -> Any:
    return query.number(name, 0, 1)


def _moment(query: Parameters, name: str) -> Any:
    moment = query.moment(name)
    return None if moment is None else moment.timestamp()


def words(query: Parameters, name: str) -> str | None:
    """Text to look for; raises RequestRefused for what no database keeps."""
    text = query.text(name)
    if text is not None and (len(text) > MAX_WORDS or "\0" in text):
        raise wrong(f"{name} has {MAX_WORDS} characters at most, and no NUL", name)
    return text


def _sought(query: Parameters, name: str) -> Any:
    """Words that something has in it, as everything has those that are none."""
    return words(query, name) if query.given(name) else None


def _role(query: Parameters, name: str) -> Any:
    return query.choice(name, list(ProjectRole))


READ: Final[Mapping[str, Read]] = {
    "q": _sought,
    "subject": words,
    "created_by": words,
    "role": _role,
    "text_id": _id,
    "image_id": _id,
    "label_id": _id,
    "confidence_min": _share,
    "confidence_max": _share,
    "created_after": _moment,
    "created_before": _moment,
}
"""How each filter of a list is read."""


def listed(request: web.Request, kind: Kind) -> tuple[dict[str, Any], int, int]:
    """The filters of a list, its limit and its offset."""
    known = FILTERS[kind.name]
    query = Parameters(request, (*known, "limit", "offset"))
    read = {name: READ[name](query, name) for name in known}
    limit, offset = paging(query)
    return {name: value for name, value in read.items() if value is not None}, limit, offset


def paging(query: Parameters) -> tuple[int, int]:
    """How many a page has, and how many are passed over before it."""
    limit = query.integer("limit", 1, MAX_PAGE) or PAGE
    return limit, query.integer("offset", 0, MAX_OFFSET) or 0


def number(request: web.Request, name: str) -> int:
    """The id in a path; no record has one of more than 64 bits."""
    text = request.match_info[name]
    if int(text) > MAX_ID:
        raise refused(404, "record_not_found", f"nothing has the id {text}; check it")
    return int(text)
