"""Problems: every error as RFC 9457 problem details, and nothing of our insides in them.

``type`` is ``urn:countermand:problem:<code>``; ``code`` is the stable part that programs
look at, ``detail`` the sentence for people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from math import ceil
from typing import Any

import orjson
from aiohttp import web

from domain.errors import (
    CommandRefused,
    CountermandError,
    CredentialRefused,
    DataDirectoryUnusable,
    FileGone,
    FileUnfinished,
    IdempotencyConflict,
    InvalidCommand,
    ItemsArchived,
    JobNotFound,
    KeyNotFound,
    MessageUnreadable,
    NotReversible,
    OwnJob,
    PermissionLacking,
    PlanApplied,
    PlanChanged,
    PluginInvalid,
    QuotaExceeded,
    RecordNotFound,
    RecordRefused,
    RoleLacking,
    RuleNotFound,
    SettingsInvalid,
    Unavailable,
    VersionMismatch,
    WebhookNotFound,
    WrongState,
)

PROBLEM_JSON = "application/problem+json"
TYPE = "urn:countermand:problem:"
"""What the type of every problem begins with; its code follows."""
INTERNAL = 500
CHALLENGE = 'Bearer realm="countermand"'
"""What ``WWW-Authenticate`` begins with (RFC 6750)."""

STATUS: dict[type[CountermandError], int] = {
    CountermandError: 500,
    CommandRefused: 422,
    InvalidCommand: 422,
    JobNotFound: 404,
    RecordNotFound: 404,
    RuleNotFound: 404,
    WrongState: 409,
    VersionMismatch: 412,
    ItemsArchived: 410,
    FileUnfinished: 409,
    FileGone: 410,
    NotReversible: 409,
    OwnJob: 403,
    PermissionLacking: 403,
    RoleLacking: 403,
    KeyNotFound: 404,
    WebhookNotFound: 404,
    QuotaExceeded: 429,
    CredentialRefused: 401,
    PlanApplied: 409,
    PlanChanged: 409,
    IdempotencyConflict: 409,
    RecordRefused: 409,
    Unavailable: 503,
    # These are faults of the installation; what they say is for its operator's log.
    MessageUnreadable: 500,
    PluginInvalid: 500,
    SettingsInvalid: 500,
    DataDirectoryUnusable: 500,
}
"""Status by class of error; a class that is not named has that of its nearest base."""

CODES = {
    400: "bad_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    408: "request_timeout",
    413: "body_too_large",
    415: "unsupported_media_type",
    417: "expectation_failed",
    429: "too_many_requests",
    431: "headers_too_large",
    500: "internal",
    503: "unavailable",
}
"""Codes of what HTTP itself refuses."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem; ``errors`` names each fault of a body that has several."""

    status: int
    code: str
    detail: str
    pointer: str = ""
    errors: Sequence[Mapping[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


class RequestRefused(Exception):
    """The request is at fault before it is a command; carries what to answer."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def refused(
    status: int,
    code: str,
    detail: str,
    *,
    pointer: str = "",
    headers: Mapping[str, str] | None = None,
) -> RequestRefused:
    """The exception to raise for a request that cannot be served."""
    return RequestRefused(Problem(status, code, detail, pointer, headers=headers or {}))


def of_error(error: CountermandError, retry_after: int) -> Problem:
    """The problem that tells of an error of ours; a fault of the server says nothing."""
    status = next(STATUS[base] for base in type(error).__mro__ if base in STATUS)
    if status == INTERNAL:
        return internal()
    headers = {}
    match error:
        case Unavailable():
            headers = {"Retry-After": str(retry_after)}
        case QuotaExceeded(retry_after=seconds):
            headers = {"Retry-After": str(ceil(seconds))}
        case CredentialRefused():
            headers = {"WWW-Authenticate": f'{CHALLENGE}, error="invalid_token"'}
        case PermissionLacking(permission=scope):
            said = f'{CHALLENGE}, error="insufficient_scope", scope="{scope}"'
            headers = {"WWW-Authenticate": said}
    return Problem(status, error.code, error.message, error.pointer, headers=headers)


def of_http(error: web.HTTPException) -> Problem:
    """The problem for what aiohttp refused by itself."""
    kept = {name: error.headers[name] for name in ("Allow", "Location") if name in error.headers}
    code = CODES.get(error.status, f"http_{error.status}")
    return Problem(error.status, code, f"{error.reason}.", headers=kept)


def internal() -> Problem:
    """The problem for what should not have happened."""
    return Problem(500, CODES[500], "Something went wrong here; the log has it under the id.")


def document(problem: Problem, request_id: str) -> dict[str, Any]:
    """The problem as JSON."""
    title = HTTPStatus(problem.status).phrase
    body: dict[str, Any] = {
        "type": TYPE + problem.code,
        "title": title,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        "request_id": request_id,
    }
    if problem.pointer:
        body["pointer"] = problem.pointer
    if problem.errors:
        body["errors"] = [dict(error) for error in problem.errors]
    return body


def response(problem: Problem, request_id: str) -> web.Response:
    """The answer that carries the problem."""
    return web.Response(
        status=problem.status,
        body=orjson.dumps(document(problem, request_id)),
        content_type=PROBLEM_JSON,
        headers=problem.headers,
    )
