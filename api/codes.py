"""Codes: every ``code`` that a problem can have, with what it means and what helps.

Those of our own errors come from the tree of :mod:`domain.errors`, so that a new error cannot
be forgotten; those of HTTP and of the edge stand here.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from api.problems import CODES, INTERNAL, STATUS
from domain import errors
from domain.errors import CountermandError


@dataclass(frozen=True, slots=True)
class Code:
    """A code: the status it comes with, what it says, and what to do about it."""

    name: str
    status: int
    about: str
    remedy: str


REMEDIES: Final = {
    "refused": "Change what the detail names.",
    "invalid": "Change what `pointer`, or each of `errors`, points to.",
    "selection_unconfirmed": "Narrow the filter, or say that it is meant, as the detail tells.",
    "edit_refused": "Change what `pointer` points to, as the detail says.",
    "file_refused": "Change the file, or say its format, as the detail tells.",
    "unknown_operation": "Take a kind of `GET /api/v1/operations`, or install its plug-in.",
    "unsupported_version": "Send a schema version that this release reads.",
    "job_not_found": "Look the id up in `GET /api/v1/jobs`.",
    "record_not_found": "Check the table and the id.",
    "rule_not_found": "Look at `GET /api/v1/retention`.",
    "wrong_state": "Do one of what `possible` of the job names, or wait.",
    "version_mismatch": "Look at it again, and send its `ETag` if you still mean it.",
    "archived": "Read the file that the detail names.",
    "file_unfinished": "Wait, retry the job, or export again, as the detail tells.",
    "file_gone": "Export again.",
    "not_reversible": "There is no undo for it; look at `reversible` of the operation before.",
    "own_job": "Have somebody else decide.",
    "permission_lacking": "Ask who administers the tenant for the permission that it names.",
    "role_lacking": "Ask a manager of the project for one of the roles that the detail names.",
    "webhook_not_found": "Look at `GET /api/v1/webhooks`.",
    "key_not_found": "Look at `GET /api/v1/keys`.",
    "quota_exceeded": "Wait `Retry-After` seconds, or have the quota raised.",
    "plan_changed": "Make the dry run again, and look at it again.",
    "plan_applied": "Look at the job that it names; make another dry run to do it once more.",
    "idempotency_conflict": "Take a new key for what is not the same request.",
    "unauthenticated": "Send `Authorization: Bearer` with a token or an API key that is good.",
    "record_refused": "Change the item so that the table takes it.",
    "unavailable": "Repeat it after `Retry-After` seconds.",
    "decision_pending": "Repeat it with the same `Idempotency-Key` after `Retry-After` seconds.",
    "store_unavailable": "Repeat it after `Retry-After` seconds.",
    "broker_unavailable": "Repeat it after `Retry-After` seconds.",
    "identity_unavailable": "Repeat it after `Retry-After` seconds.",
    "records_overtaken": "Repeat it after `Retry-After` seconds.",
    "version_conflict": "Repeat it after `Retry-After` seconds.",
}
"""What helps against each error of the tree."""

OF_HTTP: Final = {
    "bad_request": ("This is no HTTP request that can be read.", "Mend the client."),
    "unauthenticated": ("Nobody is known by this token or key.", REMEDIES["unauthenticated"]),
    "forbidden": ("This is not allowed.", "Do not repeat it."),
    "not_found": ("Nothing is under this path.", "Check the path against this document."),
    "method_not_allowed": (
        "The path takes other methods.",
        "Use one of those that `Allow` names.",
    ),
    "not_acceptable": (
        "None of the media types in `Accept` is possible here.",
        "Ask for one of those that the detail names.",
    ),
    "request_timeout": (
        "The body stood still for too long.",
        "Send it again, without long pauses.",
    ),
    "body_too_large": (
        "The body is larger than this route takes.",
        "Send items as NDJSON, or in parts to a draft.",
    ),
    "unsupported_media_type": (
        "The body is of a type, or packed in a way, that is not taken here.",
        "Send `application/json` or, where items are streamed, `application/x-ndjson`.",
    ),
    "expectation_failed": ("The expectation cannot be met.", "Leave `Expect` out."),
    "too_many_requests": (
        "The caller has called this route as often as it may.",
        "Wait `Retry-After` seconds.",
    ),
    "headers_too_large": (
        "The request line or a header is too long.",
        "Shorten it, or send in the body what the body can say.",
    ),
    "internal": (
        "Something went wrong in the server.",
        "Tell its operator the `request_id`, under which the log has it.",
    ),
    "unavailable": ("Nothing is wrong with the request.", REMEDIES["unavailable"]),
}
"""What HTTP itself refuses; the statuses are those of :data:`api.problems.CODES`."""

OF_THE_EDGE: Final = (
    Code("bad_parameter", 400, "A parameter is unknown, doubled or out of range.",
         "Change the parameter that `pointer` names."),
    Code("malformed_body", 400, "The body is no acceptable JSON.",
         "Send JSON in UTF-8, without doubled keys, NaN, or numbers beyond 64 bits."),
    Code("bad_idempotency_key", 400, "The `Idempotency-Key` is no key.",
         "Send 1 to 255 printable ASCII characters."),
    Code(
        "bad_condition",
        400,
        "`If-Match` has more than one tag, or the route heeds no such condition.",
        "Send the one `ETag` of what you saw, or leave the header out.",
    ),
    Code("bad_last_event_id", 400, "There is no such event yet.",
         "Connect again without `Last-Event-ID`, or ask without `after`."),
    Code("actor_missing", 400, "The server asks who calls, and the request does not say.",
         "Send the header `Countermand-Actor`."),
    Code("actor_not_heeded", 400, "The server does not heed `Countermand-Actor`.",
         "Leave the header out."),
    Code("host_refused", 403, "The server does not answer under this name.",
         "Use a name that it was started with."),
    Code("origin_refused", 403, "The request comes from a page of another origin.",
         "Call the API from a program, or from a page of the server itself."),
    Code("item_not_found", 404, "The job has no item at this position.",
         "Look at `counts.total` of the job; positions begin with 0."),
    Code("keys_not_asked_for", 409, "The server asks nobody for a key, so it has none.",
         "Start it with `COUNTERMAND_ACTORS=proven`."),
    Code("tickets_not_asked_for", 409, "The server asks nobody for a token.",
         "Open the stream as it is."),
    Code("already_authenticated", 409, "It is known who you are (WebSocket).",
         "Connect anew for somebody else."),
    Code("already_subscribed", 409, "The connection follows that already (WebSocket).",
         "Do not subscribe twice."),
    Code("not_subscribed", 409, "The connection does not follow that (WebSocket).",
         "Name what `subscribed` has named."),
    Code("range_not_satisfiable", 416, "The file has no such bytes.",
         "Ask for some of those that `Content-Range` tells of."),
    Code("upgrade_required", 426, "This path is for WebSockets.",
         "Open a WebSocket, or read `/api/v1/events`."),
    Code("too_many_topics", 429, "The connection follows as much as it may (WebSocket).",
         "Unsubscribe from some, or follow a tag, or all."),
    Code("too_many_failures", 429, "Too many tokens from this address were refused.",
         "Wait `Retry-After` seconds, and check the token."),
    Code("not_ready", 503, "The engine does not take work yet, or not now, or ends.",
         "Wait; its log says why."),
    Code("too_many_uploads", 503, "The server takes in as many files as it can at once.",
         "Come back after `Retry-After` seconds."),
    Code("too_many_bodies", 503, "The server takes in as much at once as it can.",
         "Come back after `Retry-After` seconds."),
    Code("too_many_streams", 503, "The server has as many live streams as it can serve.",
         "Come back after `Retry-After` seconds."),
)  # fmt: skip
"""What the edge itself refuses."""

_ROLE = re.compile(r"``")


def _tree(kind: type[CountermandError]) -> Iterator[type[CountermandError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)


def _of_the_tree() -> Iterator[Code]:
    """The errors that a caller is told of; faults of the server are all ``internal`` to them."""
    for kind in _tree(CountermandError):
        status = next(STATUS[base] for base in kind.__mro__ if base in STATUS)
        if kind.__module__ == errors.__name__ and status != INTERNAL:
            about = inspect.cleandoc(kind.__doc__ or "").partition("\n")[0]
            yield Code(kind.code, status, _ROLE.sub("`", about), REMEDIES[kind.code])


def catalogue() -> dict[str, Code]:
    """Every code, by its name, in the order of status and name."""
    http = [Code(name, status, *OF_HTTP[name]) for status, name in CODES.items()]
    found = {code.name: code for code in (*http, *OF_THE_EDGE, *_of_the_tree())}
    ordered = sorted(found.values(), key=lambda code: (code.status, code.name))
    return {code.name: code for code in ordered}
