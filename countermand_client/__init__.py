"""The Python client: ``Client``, and ``AsyncClient`` for asyncio. See docs/client.md."""

from countermand_client.asynchronous import AsyncClient
from countermand_client.bodies import Items
from countermand_client.errors import (
    ClientError,
    ConflictError,
    Fault,
    ForbiddenError,
    GoneError,
    IdempotencyConflictError,
    InvalidRequestError,
    NotFoundError,
    NotReversibleError,
    PlanChangedError,
    ProblemError,
    ServerError,
    TooManyRequestsError,
    UnauthenticatedError,
    UnreachableError,
    WaitTimedOutError,
    WrongStateError,
)
from countermand_client.models import Counts, ErrorGroup, Event, Item, ItemError, Job, Operation
from countermand_client.patience import Patience
from countermand_client.synchronous import Client

__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "ConflictError",
    "Counts",
    "ErrorGroup",
    "Event",
    "Fault",
    "ForbiddenError",
    "GoneError",
    "IdempotencyConflictError",
    "InvalidRequestError",
    "Item",
    "ItemError",
    "Items",
    "Job",
    "NotFoundError",
    "NotReversibleError",
    "Operation",
    "Patience",
    "PlanChangedError",
    "ProblemError",
    "ServerError",
    "TooManyRequestsError",
    "UnauthenticatedError",
    "UnreachableError",
    "WaitTimedOutError",
    "WrongStateError",
]
