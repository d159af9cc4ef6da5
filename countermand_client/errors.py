"""Errors: what a call can raise, as a tree; every one tells what to do.

::

    ClientError
    ├── UnreachableError         nobody answered, however often we asked
    ├── WaitTimedOutError        the job goes on; a TimeoutError as well
    └── ProblemError             what the server answered (RFC 9457): code, detail, field, remedy;
        │                        itself for a redirect, which is not followed: ``redirected``
        ├── InvalidRequestError  400, 406, 413, 415, 422, 431
        ├── UnauthenticatedError 401
        ├── ForbiddenError       403
        ├── NotFoundError        404
        ├── ConflictError        409, 412
        │   ├── WrongStateError
        │   ├── IdempotencyConflictError
        │   ├── NotReversibleError
        │   └── PlanChangedError
        ├── GoneError            410
        ├── TooManyRequestsError 429; ``retry_after``
        └── ServerError          5xx; ``retry_after`` of a 503
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class ClientError(Exception):
    """Any of those below."""


class UnreachableError(ClientError):
    """Nobody answers at the address, or the connection broke again and again."""


class WaitTimedOutError(ClientError, TimeoutError):
    """The job was not at rest in time. It goes on; wait again, or cancel it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a body: a JSON pointer to its place, and what is wrong there."""

    field: str
    detail: str


class ProblemError(ClientError):
    """The server refused, or failed; ``code`` is stable, ``detail`` is for people."""

    def __init__(
        self, status: int, body: Mapping[str, Any], retry_after: float | None = None
    ) -> None:
        self.status = status
        self._body = dict(body)
        self.code = str(body.get("code", f"http_{status}"))
        self.detail = str(body.get("detail") or body.get("title") or f"HTTP {status}")
        self.field = str(body.get("pointer", ""))
        self.request_id = str(body.get("request_id", ""))
        self.retry_after = retry_after
        self.faults: Sequence[Fault] = tuple(
            Fault(str(fault.get("pointer", "")), str(fault.get("detail", "")))
            for fault in body.get("errors", ())
            if isinstance(fault, Mapping)
        )
        super().__init__(f"{self.code}: {self.detail}")

    def __reduce__(self) -> tuple[Any, ...]:
        """What another process, or a copy, makes it of: its text alone would not do."""
        return type(self), (self.status, self._body, self.retry_after), self.__dict__

    @property
    def remedy(self) -> str:
        """What the server says that can be done: its words behind the semicolon, if any."""
        return self.detail.partition("; ")[2]


class InvalidRequestError(ProblemError):
    """The request is at fault; ``field`` and ``faults`` say where."""


class UnauthenticatedError(ProblemError):
    """No token, or one that proves nothing."""


class ForbiddenError(ProblemError):
    """Whoever calls may not do that."""


class NotFoundError(ProblemError):
    """There is no such thing for whoever calls."""


class ConflictError(ProblemError):
    """It cannot be done as things are."""


class WrongStateError(ConflictError):
    """The job is in a status in which that is not possible."""


class IdempotencyConflictError(ConflictError):
    """The idempotency key was used with another body."""


class NotReversibleError(ConflictError):
    """The job cannot be undone."""


class PlanChangedError(ConflictError):
    """What a dry run has planned does not hold any more."""


class GoneError(ProblemError):
    """It was there, and was put away for good."""


class TooManyRequestsError(ProblemError):
    """A rate or a quota is used up; ``retry_after`` says for how long."""


class ServerError(ProblemError):
    """The server's own fault, or it is not ready."""


_BY_CODE: dict[str, type[ProblemError]] = {
    "wrong_state": WrongStateError,
    "idempotency_conflict": IdempotencyConflictError,
    "not_reversible": NotReversibleError,
    "plan_changed": PlanChangedError,
}
_BY_STATUS: dict[int, type[ProblemError]] = {
    401: UnauthenticatedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    412: ConflictError,
    429: TooManyRequestsError,
}
REPEATABLE = frozenset({408, 429, 502, 503, 504})
"""Statuses that say nothing of the request itself."""


def problem_of(
    status: int, body: Mapping[str, Any], retry_after: float | None = None
) -> ProblemError:
    """The error for an answer of 400 or above."""
    other = ServerError if status >= 500 else InvalidRequestError
    kind = _BY_CODE.get(str(body.get("code")), _BY_STATUS.get(status, other))
    return kind(status, body, retry_after)
