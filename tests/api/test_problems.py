"""Every error of the tree has a status, and a fault of ours tells nothing of our insides."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest
from aiohttp import web

from api import problems
from domain import errors

EXPECTED = {
    "CountermandError": 500,
    "CommandRefused": 422,
    "InvalidCommand": 422,
    "UnknownOperation": 422,
    "UnsupportedVersion": 422,
    "SelectionUnconfirmed": 422,
    "EditRefused": 422,
    "FileRefused": 422,
    "FileUnfinished": 409,
    "FileGone": 410,
    "JobNotFound": 404,
    "RecordNotFound": 404,
    "RuleNotFound": 404,
    "WrongState": 409,
    "VersionMismatch": 412,
    "ItemsArchived": 410,
    "NotReversible": 409,
    "OwnJob": 403,
    "PermissionLacking": 403,
    "RoleLacking": 403,
    "KeyNotFound": 404,
    "WebhookNotFound": 404,
    "QuotaExceeded": 429,
    "CredentialRefused": 401,
    "PlanApplied": 409,
    "PlanChanged": 409,
    "IdempotencyConflict": 409,
    "RecordRefused": 409,
    "MessageUnreadable": 500,
    "PluginInvalid": 500,
    "ResultInvalid": 500,
    "SettingsInvalid": 500,
    "DataDirectoryUnusable": 500,
    "Unavailable": 503,
    "DecisionPending": 503,
    "StoreUnavailable": 503,
    "BrokerUnavailable": 503,
    "IdentityUnavailable": 503,
    "VersionConflict": 503,
    "RecordsOvertaken": 503,
}


def family(kind: type[errors.CountermandError]) -> Iterator[type[errors.CountermandError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from family(child)


def of_the_tree() -> list[type[errors.CountermandError]]:
    return [kind for kind in family(errors.CountermandError) if kind.__module__ == errors.__name__]


def test_the_whole_tree_is_known_here() -> None:
    assert {kind.__name__ for kind in of_the_tree()} == set(EXPECTED)


@pytest.mark.parametrize("kind", of_the_tree(), ids=lambda kind: kind.__name__)
def test_each_error_becomes_its_problem(kind: type[errors.CountermandError]) -> None:
    error = kind("what is wrong")
    error.pointer = "/here"
    problem = problems.of_error(error, retry_after=3)
    assert problem.status == EXPECTED[kind.__name__]
    if problem.status == 500:
        assert (problem.code, problem.pointer) == ("internal", "")
        assert "what is wrong" not in problem.detail
    else:
        assert (problem.code, problem.detail) == (kind.code, "what is wrong")
        assert problem.pointer == "/here"
    assert ("Retry-After" in problem.headers) == (problem.status in (429, 503))


def test_a_new_class_of_error_has_the_status_of_its_base() -> None:
    class Odd(errors.WrongState):
        code = "odd"

    assert problems.of_error(Odd("x"), retry_after=1).status == 409


def test_the_document_has_the_members_of_rfc_9457() -> None:
    problem = problems.Problem(
        422, "invalid", "no", "/a", errors=[{"pointer": "/a", "detail": "no"}]
    )
    response = problems.response(problem, "id-1")
    assert response.content_type == "application/problem+json"
    assert isinstance(response.body, bytes)
    assert orjson.loads(response.body) == {
        "type": "urn:countermand:problem:invalid",
        "title": "Unprocessable Entity",
        "status": 422,
        "detail": "no",
        "code": "invalid",
        "pointer": "/a",
        "errors": [{"pointer": "/a", "detail": "no"}],
        "request_id": "id-1",
    }


def test_what_aiohttp_refuses_keeps_its_headers() -> None:
    problem = problems.of_http(web.HTTPMethodNotAllowed("PUT", ["GET"]))
    assert (problem.status, problem.code) == (405, "method_not_allowed")
    assert problem.headers == {"Allow": "GET"}
