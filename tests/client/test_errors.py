"""Errors: they are the same in another process, and as a copy."""

from __future__ import annotations

import copy
import pickle

import pytest

from countermand_client import (
    ClientError,
    ProblemError,
    UnreachableError,
    WaitTimedOutError,
    errors,
)

BODY = {
    "code": "invalid",
    "detail": "two fields are wrong; mend them",
    "pointer": "/items",
    "request_id": "r",
    "errors": [{"pointer": "/items/0", "detail": "too long"}],
}
STATUSES = [302, 400, 401, 403, 404, 409, 410, 412, 422, 429, 500, 503]
CODES = ["wrong_state", "idempotency_conflict", "not_reversible", "plan_changed"]
PROBLEMS = [
    ProblemError(302, {"code": "redirected"}),
    *(errors.problem_of(status, BODY, 7.0) for status in STATUSES),
    *(errors.problem_of(409, {"code": code}) for code in CODES),
]


@pytest.mark.parametrize("error", PROBLEMS, ids=lambda error: f"{type(error).__name__} {error}")
def test_a_problem_is_the_same_elsewhere(error: ProblemError) -> None:
    error.add_note("of file 3")
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(other) is type(error)
        assert vars(other) == vars(error)
        assert (str(other), other.remedy) == (str(error), error.remedy)


@pytest.mark.parametrize("error", [UnreachableError("x"), WaitTimedOutError("y")])
def test_others_are_the_same_as_well(error: ClientError) -> None:
    other = pickle.loads(pickle.dumps(error))
    assert (type(other), other.args) == (type(error), error.args)
