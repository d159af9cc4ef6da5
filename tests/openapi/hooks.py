"""Hooks: what schemathesis is told of our API that a document has no words for."""

from __future__ import annotations

import json
from typing import Any
from zlib import crc32

import schemathesis

KINDS = (
    "annotations.create_labels",
    "annotations.create_projects",
    "annotations.update_labels",
    "annotations.delete_labels",
)
"""Operations that are there: of random names none is, and every submit would end with that."""


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Where a page may be had, no live stream is opened: it lasts as long as its job.

    Nobody waits long for jobs either, most of which are drafts or wait for others.
    """
    answered = case.operation.definition.raw["responses"].get("200", {})
    if "text/event-stream" in answered.get("content", {}):
        case.headers["Accept"] = "application/json"
    if str(case.headers.get("Prefer", "")).startswith("wait="):
        case.headers["Prefer"] = "wait=1"


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """A job of a name that could be one becomes a job of an operation that is there."""
    steps = body.get("steps") if isinstance(body, dict) else None
    for each in (body, *(steps if isinstance(steps, list) else ())):
        name = each.get("operation") if isinstance(each, dict) else None
        if isinstance(name, str) and 1 <= len(name) <= 200:
            each["operation"] = KINDS[crc32(name.encode()) % len(KINDS)]
    return body


@schemathesis.serializer("application/x-ndjson")
def lines(context: Any, value: Any) -> bytes:
    """Lines as they are; anything else is one of them."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    return json.dumps(value).encode() + b"\n"
