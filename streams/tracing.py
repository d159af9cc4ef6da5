"""Tracing: what a job causes, from its submit to its last message, as one trace.

Off, it is nothing at all; :mod:`streams.telemetry` has it by OpenTelemetry. Between processes the
W3C header ``traceparent`` carries it, and a job keeps the one that it came with: what is done
for it without a message, by a timer or after a death, belongs to the same trace.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from typing import Final, Protocol

from streams.envelope import Headers

TRACEPARENT: Final = "traceparent"

Value = str | int


class Kind(Enum):
    """Which side of a conversation a span is."""

    SERVER = "server"
    CLIENT = "client"
    CONSUMER = "consumer"
    INTERNAL = "internal"


class Span(Protocol):
    """Something under way."""

    def tell(self, name: str, value: Value) -> None:
        """Say something about it that was not known at its begin."""
        ...

    def failed(self) -> None:
        """It did not do what it was to do."""
        ...


class Tracing(Protocol):
    """Spans, and where the present one stands."""

    @property
    def is_on(self) -> bool:
        """Whether anybody will see it."""
        ...

    def span(
        self,
        name: str,
        kind: Kind = Kind.INTERNAL,
        *,
        parent: str = "",
        begins: bool = False,
        said: Mapping[str, Value] | None = None,
    ) -> AbstractContextManager[Span]:
        """A span behind ``parent``, else within the present one.

        Without either there is none, unless it ``begins`` a trace.
        """
        ...

    def traceparent(self) -> str:
        """The header that goes with what is sent now; empty outside of a trace."""
        ...

    def close(self) -> None:
        """Hand over what was not yet; blocks for seconds at most."""
        ...


class _NoSpan:
    def tell(self, name: str, value: Value) -> None:
        """Nobody listens."""

    def failed(self) -> None:
        """Nobody listens."""


NO_SPAN: Final = nullcontext(_NoSpan())


class NoTracing:
    """Nobody traces."""

    is_on = False

    def span(
        self,
        name: str,  # noqa: ARG002 - the port's signature
        kind: Kind = Kind.INTERNAL,  # noqa: ARG002
        *,
        parent: str = "",  # noqa: ARG002
        begins: bool = False,  # noqa: ARG002
        said: Mapping[str, Value] | None = None,  # noqa: ARG002
    ) -> AbstractContextManager[Span]:
        """Nothing."""
        return NO_SPAN

    def traceparent(self) -> str:
        """None."""
        return ""

    def close(self) -> None:
        """Nothing is left."""


OFF: Final = NoTracing()


def carried(headers: Headers) -> str:
    """The traceparent that a message brings."""
    for name, value in headers:
        if name == TRACEPARENT:
            return value.decode(errors="replace")
    return ""


def carrying(headers: Headers, traceparent: str) -> Headers:
    """Headers with a traceparent, unless they have one."""
    if not traceparent or any(name == TRACEPARENT for name, _ in headers):
        return headers
    return (*headers, (TRACEPARENT, traceparent.encode()))


def of_job(own: str, present: str) -> str:
    """What is to be carried for a job: its own trace, unless the present span is within it."""
    return "" if own[3:35] == present[3:35] else own
