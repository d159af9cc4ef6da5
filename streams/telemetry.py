"""Telemetry: tracing by OpenTelemetry, for who has installed ``countermand[tracing]``.

Where spans go, and how many, is told by OpenTelemetry's own variables (``OTEL_...``). A span
has names and numbers of ours, and never what an exception says: that may repeat what was sent.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import (
    SERVICE_INSTANCE_ID,
    SERVICE_NAME,
    OTELResourceDetector,
    Resource,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from structlog.contextvars import bound_contextvars

from streams.tracing import NO_SPAN, TRACEPARENT, Kind, Span, Value

CLOSE_SECONDS: Final = 3.0
"""What is not exported by then is lost: nobody waits at the end for a collector that is away."""
_KINDS: Final = {
    Kind.SERVER: SpanKind.SERVER,
    Kind.CLIENT: SpanKind.CLIENT,
    Kind.CONSUMER: SpanKind.CONSUMER,
    Kind.INTERNAL: SpanKind.INTERNAL,
}


class OpenTelemetry:
    """Spans of a provider, which is closed with it, in ``patience`` seconds at most."""

    is_on = True

    def __init__(self, provider: TracerProvider, patience: float = CLOSE_SECONDS) -> None:
        self._provider = provider
        self._patience = patience
        self._tracer = provider.get_tracer("countermand")
        self._propagator = TraceContextTextMapPropagator()

    def span(
        self,
        name: str,
        kind: Kind = Kind.INTERNAL,
        *,
        parent: str = "",
        begins: bool = False,
        said: Mapping[str, Value] | None = None,
    ) -> AbstractContextManager[Span]:
        """See :class:`~streams.tracing.Tracing`."""
        if not (parent or begins or trace.get_current_span().get_span_context().is_valid):
            return NO_SPAN
        return self._begun(name, kind, parent, said or {})

    @contextmanager
    def _begun(
        self, name: str, kind: Kind, parent: str, said: Mapping[str, Value]
    ) -> Iterator[Span]:
        context = self._propagator.extract({TRACEPARENT: parent}) if parent else None
        with self._tracer.start_as_current_span(
            name,
            context=context,
            kind=_KINDS[kind],
            attributes=dict(said),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            place = span.get_span_context()
            ids = {"trace_id": f"{place.trace_id:032x}", "span_id": f"{place.span_id:016x}"}
            with bound_contextvars(**ids):
                try:
                    yield _Open(span)
                except Exception:
                    span.set_status(StatusCode.ERROR)
                    raise

    def traceparent(self) -> str:
        """See :class:`~streams.tracing.Tracing`."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier.get(TRACEPARENT, "")

    def close(self) -> None:
        """See :class:`~streams.tracing.Tracing`."""
        last = threading.Thread(target=self._provider.shutdown, daemon=True)
        last.start()
        last.join(self._patience)


class _Open:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def tell(self, name: str, value: Value) -> None:
        self._span.set_attribute(name, value)

    def failed(self) -> None:
        self._span.set_status(StatusCode.ERROR)


def exporting(service: str, instance: str) -> OpenTelemetry:
    """Tracing that exports by OTLP over HTTP, to where OpenTelemetry's variables say."""
    # What the variables say of the service goes over this.
    own = Resource.create({SERVICE_NAME: service, SERVICE_INSTANCE_ID: instance})
    said = OTELResourceDetector().detect()
    provider = TracerProvider(resource=own.merge(said), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return OpenTelemetry(provider)
