"""Webhooks: which events are sent where, and when an attempt is repeated. Pure."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from domain.commands import Tag
from domain.events import EVENTS
from domain.options import JobId
from domain.retention import ANY, Kind
from domain.retrying import Draw
from domain.values import Value

FIRST_RETRY: Final = 5.0
GROWTH: Final = 3.0
LONGEST_RETRY: Final = 6 * 3600.0
JITTER: Final = 0.25
MAX_ATTEMPTS: Final = 12
"""With these pauses the last attempt comes some 22 hours after the first."""
DISABLED_AFTER: Final = 3 * 86400.0
"""Seconds in which nothing was delivered and attempts have failed, at least."""
MAX_WAITING: Final = 50_000
"""Deliveries of one webhook that may wait; with more it is disabled."""
GONE: Final = 410
MAX_URL: Final = 2000


class DeliveryState(StrEnum):
    """What has become of a delivery; one that is dead was given up, and can be replayed."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"


Disabled = Literal["by_request", "failing", "gone", "overfull"]
"""Why a webhook is disabled."""


def _event(name: str) -> str:
    if name != ANY and name not in EVENTS:
        raise ValueError(f"there is no event {name!r}; possible: *, {', '.join(EVENTS)}")
    return name


def _address(url: str) -> str:
    """An address that can be asked at all; where it leads is found out when it is asked."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("write an address as https://HOST/PATH") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("write an address as https://HOST/PATH")
    if parts.username is not None or parts.password is not None:
        raise ValueError("an address has no name and no password; messages are signed instead")
    if parts.fragment:
        raise ValueError("an address has no fragment")
    if port is not None and port < 1024 and port not in (80, 443):
        raise ValueError(f"port {port} is one of another protocol; use 443, or one from 1024 on")
    return url


EventName = Annotated[str, Field(max_length=100), AfterValidator(_event)]
Url = Annotated[str, Field(max_length=MAX_URL, pattern=r"^[\x21-\x7e]+$"), AfterValidator(_address)]
Description = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


class Filter(Value):
    """Which events: of these kinds, and of jobs that are in each of the lists that has members."""

    events: Annotated[tuple[EventName, ...], Field(min_length=1, max_length=50)]
    operations: Annotated[tuple[Kind, ...], Field(max_length=50)] = ()
    tags: Annotated[tuple[Tag, ...], Field(max_length=50)] = ()
    jobs: Annotated[tuple[JobId, ...], Field(max_length=100)] = ()

    def wants(self, event: str, job_id: str) -> bool:
        """Whether an event may be wanted, as far as can be said without knowing the job."""
        known = ANY in self.events or event in self.events
        return known and (not self.jobs or job_id in self.jobs)

    @property
    def asks_for_job(self) -> bool:
        """Whether something of the job must be known."""
        return bool(self.operations or self.tags)

    def takes(self, operation: str, tags: Collection[str]) -> bool:
        """Whether events of such a job are wanted."""
        of_kind = not self.operations or any(_is_of(kind, operation) for kind in self.operations)
        return of_kind and (not self.tags or not set(self.tags).isdisjoint(tags))


class Subscription(Filter):
    """A webhook as it is asked for."""

    url: Url
    description: Description = ""


class WebhookChange(Value):
    """What is to be different of a webhook; what is not said stays."""

    url: Url | None = None
    events: Annotated[tuple[EventName, ...], Field(min_length=1, max_length=50)] | None = None
    operations: Annotated[tuple[Kind, ...], Field(max_length=50)] | None = None
    tags: Annotated[tuple[Tag, ...], Field(max_length=50)] | None = None
    jobs: Annotated[tuple[JobId, ...], Field(max_length=100)] | None = None
    description: Description | None = None
    enabled: bool | None = None


def pause_before(attempt: int, draw: Draw, asked: float | None = None) -> float | None:
    """Seconds until the ``attempt``-th try (the first is 1), or None when there is none.

    ``asked`` is what the receiver has asked for, which is heeded as far as one would wait.
    """
    if attempt > MAX_ATTEMPTS:
        return None
    pause = min(FIRST_RETRY * GROWTH ** (attempt - 2), LONGEST_RETRY)
    pause *= 1 - JITTER + 2 * JITTER * draw()
    return max(pause, min(asked or 0.0, LONGEST_RETRY))


def _is_of(kind: str, operation: str) -> bool:
    if kind.endswith(ANY):
        return operation.startswith(kind.removesuffix(ANY))
    return operation == kind
