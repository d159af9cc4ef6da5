"""Submissions: what a client says of a job, read from a JSON body or a query string."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from api.bodies import encode, malformed, parse
from api.models import checked, invalid
from api.parameters import Parameters
from api.requests import NewJob
from domain.commands import JobSpec
from domain.options import MAX_CHUNK

ONCE = ("operation", "params", "name", "priority", "chunk_size", "start", "options")
REPEATED = ("tag",)

_BLOCK_ITEMS = 500


@dataclass(frozen=True, slots=True)
class Submission:
    """A job as a client describes it; ``blocks`` are its items as NDJSON.

    None for a draft, and for one whose ``spec`` selects records.
    """

    spec: JobSpec
    blocks: Sequence[bytes] | None


def from_body(text: bytes, depth: int) -> Submission:
    """``{operation, params, items, options, name, tags, priority}``.

    Instead of ``items``: ``draft``, or ``select``; a job that takes its items from another one
    has none of them.

    Raises RequestRefused that points to what is wrong.
    """
    body = parse(text)
    if not isinstance(body, dict):
        raise malformed("it must be an object with operation and items")
    fields = dict(body)
    draft, items = fields.pop("draft", False), fields.pop("items", None)
    spec = checked(JobSpec, fields, depth, whole=NewJob)
    if not isinstance(draft, bool):
        raise invalid("draft must be true or false", "/draft")
    if spec.select is not None:
        if draft or items is not None:
            wrong = "/draft" if draft else "/items"
            raise invalid("select makes the items, once and for all; leave this out", wrong)
        if spec.options.consumed is not None:
            raise invalid("consume makes the items of another job's; leave one out", "/select")
        return Submission(spec, None)
    if not draft and items is None and spec.options.consumed is not None:
        return Submission(spec, None)
    if not draft:
        return Submission(spec, item_blocks(items, depth, "/items"))
    if items is not None:
        raise invalid("a draft's items follow in parts; leave items out", "/items")
    return Submission(spec, None)


def from_query(query: Parameters, depth: int) -> JobSpec:
    """The description of a job whose items are the body; ``params`` and ``options`` are JSON.

    ``chunk_size`` and ``start`` stand for the options of their names.
    """
    params = query.text("params")
    automatic = query.text("chunk_size") == "auto"
    chunk_size = None if automatic else query.integer("chunk_size", 1, MAX_CHUNK)
    single = _present({"chunk_size": chunk_size, "start": query.text("start")})
    whole = query.text("options")
    options = {} if whole is None else parse(whole.encode())
    if not isinstance(options, dict):
        raise invalid('options must be an object, as {"stop_on_error": true}', "/options")
    twice = single.keys() & options.keys()
    if twice:
        name = min(twice)
        raise invalid(f"{name} is said twice; say it in options, or alone", f"/options/{name}")
    fields = {
        "operation": query.text("operation"),
        "params": None if params is None else parse(params.encode()),
        "name": query.given("name"),
        "priority": query.integer("priority", 0, 10),
        "options": {**options, **single} or None,
        "tags": query.texts("tag"),
    }
    return checked(JobSpec, _present(fields), depth)


def items_from_body(text: bytes, depth: int) -> list[bytes]:
    """A body that is a list of items, as blocks of NDJSON."""
    return item_blocks(parse(text), depth, "")


def item_blocks(items: Any, depth: int, pointer: str) -> list[bytes]:
    """A list of items as blocks of NDJSON; ``pointer`` is where the list stands."""
    if not isinstance(items, list):
        raise invalid(
            'items must be a list; to send them later say "draft": true, to stream them '
            "send NDJSON",
            pointer,
        )
    return [
        _block(items[first : first + _BLOCK_ITEMS], first, depth, pointer)
        for first in range(0, len(items), _BLOCK_ITEMS)
    ]


def _block(items: Sequence[Any], first: int, depth: int, pointer: str) -> bytes:
    lines = (
        encode(item, depth, f"{pointer}/{position}")
        for position, item in enumerate(items, start=first)
    )
    return b"\n".join(lines) + b"\n"


async def streamed(blocks: Sequence[bytes]) -> AsyncIterator[bytes]:
    """Blocks that are there already, the way the gateway takes those that arrive."""
    for block in blocks:
        yield block


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
