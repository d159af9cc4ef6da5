"""Every route with the requests that a caller could make of it, generated from the router's table.

A route that is not spoken of here fails the tests that use it: whoever adds one says what is
asked of it, and with which of the ids that a tenant has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from api.app import ROUTES
from api.dashboard.serving import FILE, site
from api.rules import Route
from api.systems.annotations.reports import REPORTS
from domain.permissions import Permission
from domain.systems.annotations.kinds import KINDS

PROJECTS = "/api/v1/projects"
DASHBOARD = f"/dashboard/{site().digest}/app.js"
"""A file of the dashboard, as this release has it."""
SSE = {"Accept": "text/event-stream"}
JSON = {"Accept": "application/json"}


@dataclass(frozen=True)
class Request:
    """What is asked of a route; ``path`` has its places filled."""

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None


def _asked(**how: Any) -> dict[str, Any]:
    return how


ITEM = {"name": "x"}
RECORDS = {
    "texts": {"content": "x"},
    "labels": {"name": "x"},
    "members": {"subject": "x", "role": "viewer"},
    "images": {"file_name": "x", "width": 1, "height": 1},
    "mappings": {"name": "x", "mapping": {"content": "text"}},
    "annotations": {"text_id": 1, "label_id": 1, "start_char": 0, "end_char": 1},
    "boxes": {"image_id": 1, "label_id": 1, "bbox": [0, 0, 1, 1]},
    "rules": {"name": "x", "definition": {"kind": "required", "field": "label"}},
    "thresholds": {"threshold": 0.5},
}
"""What a project has, one of each."""
OTHERS = {
    "labels": {"name": "y"},
    "members": {"subject": "y", "role": "viewer"},
    "images": {"file_name": "y", "width": 1, "height": 1},
    "mappings": {"name": "y", "mapping": {}},
    "rules": {"name": "y", "definition": {"kind": "required", "field": "label"}},
}
"""What another one is given, where two may not be called the same."""


def _form(name: bytes, content: bytes) -> bytes:
    """The form of an import into the first project."""
    return (
        b'--x\r\nContent-Disposition: form-data; name="project_id"\r\n\r\n1\r\n'
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n%s\r\n--x--\r\n'
    ) % (name, content)


FORM = _form(b"a.jsonl", b'{"content": "x"}\n{}')
IMAGE_FORM = _form(
    b"a.json",
    b'{"images": [{"id": 1, "file_name": "x.jpg", "width": 9, "height": 9}], "annotations": []}',
)
OF_FORM = {"Content-Type": "multipart/form-data; boundary=x"}
ONES = {kind.path: kind.one for kind in KINDS}


def _of_platform() -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The routes of projects, and of each kind of what belongs to them."""
    found = {
        ("GET", PROJECTS): [_asked(), _asked(query={"q": "", "limit": 5})],
        ("POST", PROJECTS): [_asked(body={"name": "x"})],
        ("GET", "PROJECT"): [_asked()],
        ("PATCH", "PROJECT"): [_asked(body={"name": "y"})],
        ("DELETE", "PROJECT"): [_asked()],
    }
    batch, options = "/api/v1/batch/annotations", {"max_workers": 2, "chunk_size": "auto"}
    project = {"project_id": 1}
    new = [RECORDS["annotations"]]
    boxes = "/api/v1/batch/boxes"
    found |= {
        ("POST", f"{boxes}/create"): [_asked(body=project | {"boxes": [RECORDS["boxes"]]})],
        ("PUT", f"{boxes}/update"): [
            _asked(body=project | {"updates": [{"id": 1, "confidence_score": 1}]}),
            _asked(body=project | {"filter": {"image_id": 9}, "set": {"confidence_score": 1}}),
        ],
        ("DELETE", f"{boxes}/delete"): [
            _asked(body=project | {"ids": [999]}),
            _asked(body=project | {"filter": {"created_by": "nobody"}, "confirm": "none"}),
        ],
        ("POST", f"{batch}/create"): [_asked(body=project | options | {"annotations": new})],
        ("PUT", f"{batch}/update"): [
            _asked(body=project | {"updates": [{"id": 1, "confidence_score": 1}]}),
            _asked(body=project | {"filter": {"text_id": 9}, "set": {"confidence_score": 1}}),
        ],
        ("DELETE", f"{batch}/delete"): [
            _asked(body=project | {"ids": [999]}),
            _asked(body=project | {"filter": {"created_by": "nobody"}, "confirm": "none"}),
        ],
        ("GET", "/api/v1/batch/operations"): [_asked(), _asked(query={"project_id": 1})],
        ("GET", "/api/v1/batch/ws/connect"): [_asked()],
        ("GET", "OPERATION/status"): [_asked()],
        ("GET", "OPERATION/history"): [_asked(), _asked(query={"db_log_interval": 0})],
        ("GET", "OPERATION/events"): [
            _asked(headers=SSE),
            _asked(headers={**SSE, "Last-Event-ID": "1000"}),
            _asked(headers=JSON),
        ],
        ("POST", "/api/v1/batch/text/import"): [_asked(body=FORM, headers=OF_FORM)],
        ("POST", "/api/v1/batch/image/import"): [_asked(body=IMAGE_FORM, headers=OF_FORM)],
        ("GET", "OPERATION/import"): [_asked()],
        ("GET", "OPERATION/rejects"): [_asked(), _asked(headers={"Range": "bytes=0-3"})],
        ("POST", "/api/v1/batch/export"): [
            _asked(body=project | {"format": "jsonl"}),
            _asked(body=project | {"format": "csv", "filters": {"text_ids": [1]}}),
            _asked(body=project | {"format": "coco", "filters": {"image_id": 1}}),
        ],
        ("GET", "OPERATION/export"): [_asked()],
        ("GET", "OPERATION/download"): [_asked(), _asked(headers={"Range": "bytes=0-3"})],
        ("DELETE", "OPERATION/cancel"): [_asked(), _asked(body={"roll_back": True})],
    }
    for name in REPORTS:
        asked = [_asked(), _asked(query={"format": "csv", "bucket": "day"})]
        found["GET", f"PROJECT/reports/{name}"] = asked
    for name, fields in RECORDS.items():
        path, one = f"PROJECT/{name}", f"PROJECT/{name}/{ONES[name].upper()}"
        found |= {
            ("GET", path): [_asked(), _asked(query={"limit": 5, "offset": 0})],
            ("POST", path): [_asked(body=OTHERS.get(name, fields))],
            ("GET", one): [_asked()],
            ("PATCH", one): [_asked(body={}), _asked(body={"version": 1})],
            ("DELETE", one): [_asked(), _asked(headers={"If-Match": '"1"'})],
        }
    return found


WAYS: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("POST", "/api/v1/jobs"): [
        _asked(body={"operation": "stock.create", "items": [ITEM]}),
        _asked(body={"operation": "stock.create", "draft": True}),
        _asked(
            body={"operation": "stock.add", "select": {"table": "stock", "each": {"amount": 1}}}
        ),
        _asked(query={"operation": "stock.create"}, body=b'{"name":"x"}\n'),
    ],
    ("GET", "/api/v1/jobs"): [
        _asked(),
        _asked(query={"q": "", "sort": "name"}),
        _asked(query={"fields": "job_id,name"}),
    ],
    ("GET", "JOB"): [_asked(), _asked(query={"at": 1}), _asked(query={"fields": "name,version"})],
    ("POST", "JOB/items"): [
        _asked(query={"part": 7}, body=[ITEM]),
        _asked(query={"part": 7}, body=b'{"name":"x"}\n'),
    ],
    ("POST", "JOB/seal"): [_asked(), _asked(body={"items": 1})],
    ("POST", "JOB/pause"): [_asked()],
    ("POST", "JOB/resume"): [_asked()],
    ("POST", "JOB/cancel"): [_asked(), _asked(body={"roll_back": True})],
    ("POST", "JOB/retry"): [_asked(), _asked(body={"items": [0]})],
    ("POST", "JOB/undo"): [_asked(), _asked(body={"items": [0]})],
    ("POST", "JOB/approve"): [_asked()],
    ("POST", "JOB/reject"): [_asked()],
    ("POST", "JOB/hold"): [_asked(body={"reason": "case 17"})],
    ("POST", "JOB/release"): [_asked(body={"reason": "closed"})],
    ("POST", "JOB/shred"): [_asked(body={"reason": "a customer asked"})],
    ("POST", "JOB/archive"): [_asked(body={"reason": "it is old"})],
    ("GET", "JOB/compensations"): [_asked()],
    ("GET", "JOB/plan"): [_asked()],
    ("POST", "JOB/apply"): [_asked(), _asked(body={"digest": "0" * 64})],
    ("POST", "JOB/adjust"): [_asked(body={"priority": 9})],
    ("POST", "JOB/edit"): [_asked(body={"drop": [0]})],
    ("GET", "JOB/events"): [
        _asked(headers=SSE),
        _asked(headers={**SSE, "Last-Event-ID": "1"}),
        _asked(headers={**SSE, "Last-Event-ID": "1000"}),
        _asked(headers=JSON),
        _asked(headers=JSON, query={"after": 1000}),
    ],
    ("GET", "JOB/hashes"): [_asked(), _asked(query={"after": 1, "limit": 1})],
    ("GET", "JOB/verification"): [_asked()],
    ("POST", "JOB/ticket"): [_asked()],
    ("GET", "/api/v1/events"): [
        _asked(headers=SSE),
        _asked(headers={**SSE, "Last-Event-ID": "0"}, query={"tag": "confidential"}),
        _asked(headers={**SSE, "Last-Event-ID": "0"}),
        _asked(headers=JSON, query={"after": 0}),
        _asked(headers=JSON, query={"after": 0, "tag": "confidential"}),
        _asked(headers=JSON),
    ],
    ("POST", "/api/v1/events/ticket"): [_asked()],
    ("GET", "/api/v1/ws"): [_asked()],
    ("GET", "/api/v1/connections"): [_asked()],
    ("GET", "JOB/progress"): [_asked()],
    ("GET", "JOB/items"): [
        *(_asked(query={"format": form}) for form in ("json", "ndjson", "csv", "items")),
        _asked(query={"format": "json", "include": "item", "code": "missing"}),
        _asked(query={"format": "json", "record": "stock/1"}),
        _asked(query={"format": "json", "fields": "position,item", "include": "item"}),
    ],
    ("GET", "JOB/items/POSITION"): [_asked()],
    ("GET", "JOB/errors"): [_asked()],
    ("GET", "JOB/issues"): [_asked()],
    ("GET", "JOB/diff/OTHER"): [_asked(query={"format": form}) for form in ("json", "ndjson")],
    ("GET", "JOB/diff/OTHER/summary"): [_asked()],
    ("GET", "RECORD/history"): [_asked(), _asked(query={"include": "values"})],
    ("GET", "RECORD/blame"): [_asked()],
    ("GET", "JOB/undo-preview"): [_asked()],
    ("POST", "/api/v1/batches"): [
        _asked(body={"steps": [{"name": "a", "operation": "stock.create", "items": [ITEM]}]})
    ],
    ("GET", "/api/v1/operations"): [_asked()],
    ("GET", "/api/v1/me"): [_asked()],
    ("POST", "/api/v1/keys"): [_asked(body={"name": "another", "roles": ["administer"]})],
    ("GET", "/api/v1/keys"): [_asked()],
    ("POST", "/api/v1/keys/KEY/rotate"): [_asked()],
    ("POST", "/api/v1/keys/KEY/revoke"): [_asked()],
    ("POST", "/api/v1/webhooks"): [
        _asked(body={"url": "https://example.org/hook", "events": ["job.finished"]})
    ],
    ("GET", "/api/v1/webhooks"): [_asked()],
    ("GET", "/api/v1/webhooks/WEBHOOK"): [_asked()],
    ("PATCH", "/api/v1/webhooks/WEBHOOK"): [_asked(body={"enabled": False})],
    ("DELETE", "/api/v1/webhooks/WEBHOOK"): [_asked()],
    ("POST", "/api/v1/webhooks/WEBHOOK/rotate"): [_asked(), _asked(body={"overlap": 0})],
    ("GET", "/api/v1/webhooks/WEBHOOK/deliveries"): [_asked(), _asked(query={"state": "dead"})],
    ("GET", "/api/v1/webhooks/WEBHOOK/attempts"): [_asked()],
    ("POST", "/api/v1/webhooks/WEBHOOK/replay"): [_asked(), _asked(body={"positions": [1]})],
    **_of_platform(),
    ("GET", "/api/v1/workers"): [_asked()],
    ("GET", "/api/v1/tenants"): [_asked()],
    ("POST", "/api/v1/tenants/TENANT"): [_asked(body={"weight": 2})],
    ("GET", "/api/v1/retention"): [_asked()],
    ("GET", "/api/v1/retention/changes"): [_asked()],
    ("POST", "/api/v1/retention"): [_asked(body={"kind": "stock.*", "shred_after": 86400})],
    ("DELETE", "/api/v1/retention/TENANT/KIND"): [_asked()],
    ("GET", "/api/v1/limits"): [_asked()],
    ("POST", "/api/v1/limits/LIMIT"): [_asked(body={"rate": 10})],
    ("GET", "/api/v1/partitions"): [_asked()],
    ("GET", "/api/v1/letters"): [_asked()],
    ("POST", "/api/v1/letters/unreadable/redrive"): [_asked()],
    ("GET", "/api/v1/openapi.json"): [_asked()],
    ("GET", "/"): [_asked()],
    ("GET", DASHBOARD): [_asked()],
    ("GET", "/docs"): [_asked()],
    ("GET", "/docs/style.css"): [_asked()],
    ("GET", "/problems"): [_asked()],
    ("GET", "/health/live"): [_asked()],
    ("GET", "/health/ready"): [_asked()],
    ("GET", "/metrics"): [_asked()],
}

_PLACES = {
    FILE: DASHBOARD,
    "/api/v1/jobs/{job_id:[0-9A-Za-z_-]{1,64}}": "JOB",
    "{other:[0-9A-Za-z_-]{1,64}}": "OTHER",
    "/api/v1/records/{table}/{record_id:[0-9]{1,19}}": "RECORD",
    "{position:[0-9]{1,8}}": "POSITION",
    "{key_id:[0-9a-f]{32}}": "KEY",
    "{webhook_id:[0-9a-f]{32}}": "WEBHOOK",
    "{tenant:[^/]{1,100}}": "TENANT",
    "{kind:[^/]{1,200}}": "KIND",
    "{name:[^/]{1,100}}": "LIMIT",
    "{code:[a-z][a-z0-9_]{0,49}}": "unreadable",
    "/api/v1/projects/{project_id:[0-9]{1,19}}": "PROJECT",
    "/api/v1/batch/operations/{operation_id:[0-9]{1,19}}": "OPERATION",
    **{f"{{{one}_id:[0-9]{{1,19}}}}": one.upper() for one in ONES.values()},
}

NEEDING: dict[tuple[str, str, Permission], dict[str, Any]] = {
    **{
        ("POST", "/api/v1/jobs", Permission.RUN_DESTRUCTIVE): _asked(
            body={"operation": "stock.wipe", "items": [{"id": 1, "amount": 0}]}
        ),
        ("POST", "/api/v1/batches", Permission.RUN_DESTRUCTIVE): _asked(
            body={"steps": [{"name": "a", "operation": "stock.wipe", "items": []}]}
        ),
        ("POST", "JOB/cancel", Permission.UNDO): _asked(body={"roll_back": True}),
    },
    **{
        ("POST", f"JOB/{verb}", Permission.RUN_DESTRUCTIVE): WAYS["POST", f"JOB/{verb}"][0]
        for verb in ("items", "seal", "retry", "apply", "edit")
    },
    **{
        ("GET", path, Permission.EXPORT): _asked(query={"format": "ndjson"})
        for path in ("JOB/items", "JOB/diff/OTHER")
    },
}
"""What is asked of a route when it takes another permission as well; of jobs that destroy."""


def named(route: Route) -> tuple[str, str]:
    """A route as this table names it."""
    path = route.path
    for pattern, name in _PLACES.items():
        path = path.replace(pattern, name)
    assert "{" not in path, f"a place that this table does not know: {route.path}"
    return route.method, path


CLOSED = [route for route in ROUTES if route.rule.known]


def requests(route: Route, ids: Mapping[str, str]) -> Iterator[Request]:
    """All that can be asked of a route, with these ids."""
    method, path = named(route)
    for how in WAYS[method, path]:
        yield filled(method, path, how, ids)


def filled(method: str, path: str, how: Mapping[str, Any], ids: Mapping[str, str]) -> Request:
    """A request with its places filled."""
    for name, value in ids.items():
        path = path.replace(name, value)
    return Request(method, path, **how)


def has_ids(route: Route) -> bool:
    """Whether the path speaks of something that belongs to a tenant."""
    _, path = named(route)
    return any(name in path for name in ("JOB", "RECORD", "KEY", "WEBHOOK", "PROJECT", "OPERATION"))
