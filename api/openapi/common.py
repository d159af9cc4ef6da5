"""Common: parameters, codes, places and links that several routes share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import TypeAdapter

from api.fields import FIELDS
from api.limits import Limits
from api.openapi.telling import Parameter, Schema, query, several, whole
from api.parameters import MAX_ID
from domain.buckets import BucketName
from domain.options import MAX_ITEMS

_LIMITS = Limits()
IDENTIFIER = "^[0-9A-Za-z_-]{1,64}$"
WORD_IN_PATH = "^[^\\x00-\\x20\\x7f/\\\\.][^\\x00-\\x1f\\x7f/\\\\]*$"

ALWAYS = ("bad_request", "host_refused", "origin_refused", "headers_too_large", "internal")
"""What may be said on every route."""
CLOSED = (
    "bad_parameter",
    "actor_missing",
    "actor_not_heeded",
    "unauthenticated",
    "permission_lacking",
    "too_many_requests",
    "too_many_failures",
    "store_unavailable",
    "identity_unavailable",
)
"""What may be said where callers are known."""
SENT = (
    "malformed_body",
    "request_timeout",
    "body_too_large",
    "quota_exceeded",
    "too_many_bodies",
    "unsupported_media_type",
    "invalid",
)
"""What may be said of a body."""
COMMAND = (
    "bad_idempotency_key",
    "wrong_state",
    "idempotency_conflict",
    "archived",
    "refused",
    "unavailable",
    "decision_pending",
    "broker_unavailable",
    "version_conflict",
)
"""What may be said of a command to a job."""
RUNS = (
    "quota_exceeded",
    "unknown_operation",
    "not_reversible",
    "job_not_found",
    "plan_changed",
    "plan_applied",
    "record_refused",
    "selection_unconfirmed",
    "records_overtaken",
)
"""What may be said, besides, of what makes work."""

KEY = Parameter(
    name="Idempotency-Key",
    about="The same key makes one job, or one command, however often it is sent.",
    schema={"type": "string", "pattern": "^[!-~]([ -~]{0,253}[!-~])?$"},
    place="header",
    example="import-2026-11-25",
)
IF_MATCH = Parameter(
    name="If-Match",
    about="The `ETag` of the job as it was seen; 412 when it has gone on since.",
    schema={"type": "string", "pattern": '^(\\*|(W/)?"[0-9]{1,10}(-[0-9a-f]{16})?")$'},
    place="header",
)
PREFER = Parameter(
    name="Prefer",
    about=f"`wait=N` puts the answer off for N seconds at most, and {_LIMITS.wait} at the utmost, "
    "until the job does nothing more by itself.",
    schema={"type": "string"},
    example="wait=1",
    place="header",
)
IF_NONE_MATCH = Parameter(
    name="If-None-Match",
    about="The `ETag` of an answer that the client has; 304 when it is still the same.",
    schema={"type": "string"},
    place="header",
)
INSISTING = ("bad_condition", "version_mismatch")
"""What may be said of a command that insists on a version."""
LIMIT = query(
    "limit",
    "How many a page has at most.",
    whole(1, _LIMITS.max_page, _LIMITS.page),
    example=20,
)
CURSOR = query(
    "cursor",
    "The `next_cursor` of the page before: the position of the last item seen.",
    whole(0, MAX_ITEMS),
)


def fields(known: Sequence[str]) -> Parameter:
    """Which fields of each thing are wanted."""
    names: Schema = {"type": "array", "minItems": 1, "items": {"enum": list(known)}}
    return Parameter(
        name=FIELDS,
        about="Names of fields, with commas between; only these are told.",
        schema=names,
        joined=True,
    )


def numbered(most: int = MAX_ID) -> Parameter:
    """A cursor that counts down."""
    return query("cursor", "The `next_cursor` of the page before.", whole(1, most))


def repeated(name: str, about: str, schema: Schema) -> Parameter:
    """A parameter that may be given several times."""
    return query(name, f"{about} May be repeated.", several(schema))


PLACES: Final[dict[str, tuple[str, Mapping[str, Any], Any]]] = {
    "job_id": ("The job.", {"type": "string", "pattern": IDENTIFIER}, "nightly-2026-11-25"),
    "other": ("Another job, or the same.", {"type": "string", "pattern": IDENTIFIER}, "tuesday"),
    "position": ("The place of the item in its job.", whole(0, 99_999_999), 0),
    "table": (
        "A table of records that an operation has declared.",
        {"type": "string", "pattern": WORD_IN_PATH},
        "labels",
    ),
    "record_id": ("The id of the record.", whole(0, MAX_ID), 7),
    "key_id": ("The key.", {"type": "string", "pattern": "^[0-9a-f]{32}$"}, "0" * 32),
    "webhook_id": ("The webhook.", {"type": "string", "pattern": "^[0-9a-f]{32}$"}, "0" * 32),
    "tenant": (
        "The tenant; of a rule, `*` is everybody.",
        {"type": "string", "pattern": WORD_IN_PATH, "maxLength": 100},
        "acme",
    ),
    "kind": (
        "The kind of the operations, a prefix as `shop.*`, or `*`.",
        {"type": "string", "pattern": WORD_IN_PATH, "maxLength": 200},
        "annotations.*",
    ),
    "digest": (
        "Of the release that has the file.",
        {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        "0" * 32,
    ),
    "path": (
        "The file.",
        {"type": "string", "pattern": "^[0-9A-Za-z._/-]{1,100}$"},
        "app.js",
    ),
    "code": (
        "The code of the letters.",
        {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,49}$"},
        "unsupported_version",
    ),
    "name": (
        "`provider:NAME`, or `queue:SYSTEM`.",
        TypeAdapter(BucketName).json_schema(),
        "queue:annotations",
    ),
}
"""What stands in the braces of a path: what it is, its schema, and an example."""


def of_job(*names: str) -> dict[str, dict[str, str]]:
    """Links to operations on the job that the answer tells of."""
    return {name: {"job_id": "$response.body#/job_id"} for name in names}
