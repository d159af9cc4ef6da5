"""Hooks: what schemathesis is told of our API that a document has no words for."""

from __future__ import annotations

import json
from typing import Any
from zlib import crc32

import schemathesis
from schemathesis.generation.meta import CoverageScenario

KINDS = (
    "annotations.create_labels",
    "annotations.create_projects",
    "annotations.update_labels",
    "annotations.delete_labels",
)
"""Operations that are there: of random names none is, and every submit would end with that."""


CONDITIONS = {304: "If-None-Match", 412: "If-Match"}
"""What is only said to who has sent a header, and has the document speak of it."""
_EVENTS = "text/event-stream"
STREAMED = 1.0
"""A live stream that does not end is read for so many seconds, or for twenty events."""


@schemathesis.hook
def before_load_schema(context: Any, raw_schema: dict[str, Any]) -> None:
    """Event by event, live streams are what the document says of one (`itemSchema` in 3.2)."""
    for path in raw_schema["paths"].values():
        for operation in path.values():
            stream = _answer(operation).get(_EVENTS)
            if stream is not None:
                stream["itemSchema"] = stream.pop("x-item-schema")
                del stream["schema"]


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Half of those who may have a live stream or a page ask for the page.

    Nobody waits long for jobs, most of which are drafts or wait for others.
    """
    if _EVENTS in _answer(case.operation.definition.raw):
        is_live = crc32(repr((case.path_parameters, case.query)).encode()) % 2
        case.headers["Accept"] = _EVENTS if is_live else "application/json"
        if is_live:
            kwargs["timeout"] = STREAMED
    if _misses_authorization(case):
        # The run's own would be sent instead.
        for headers in (case.headers, kwargs.get("headers", {})):
            headers.pop("Authorization", None)
    if str(case.headers.get("Prefer", "")).startswith("wait="):
        case.headers["Prefer"] = "wait=1"


def _misses_authorization(case: Any) -> bool:
    """Whether the case is that nobody says who they are."""
    data = None if case.meta is None else case.meta.phase.data
    is_missing = getattr(data, "scenario", None) == CoverageScenario.MISSING_PARAMETER
    return is_missing and str(getattr(data, "parameter", "")).lower() == "authorization"


@schemathesis.check
def conditional_answer(context: Any, response: Any, case: Any) -> None:
    """What hangs on a condition is answered to who made one, where the document has it.

    The version that a body names is a condition as the header is.
    """
    header = CONDITIONS.get(response.status_code)
    if header is None:
        return
    told = {each["name"] for each in case.operation.definition.raw.get("parameters", ())}
    sent = {name.lower() for name in response.request.headers}
    assert header in told, f"{response.status_code} without {header} in the document"
    named = header == "If-Match" and isinstance(case.body, dict) and "version" in case.body
    assert named or header.lower() in sent, f"{response.status_code} to who has not sent {header}"


def _answer(operation: Any) -> Any:
    """What it answers when all is well, by media type."""
    return operation["responses"].get("200", {}).get("content", {})


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
