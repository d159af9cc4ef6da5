"""One trace shows a job across API, coordinator, worker and webhook, over either broker."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from domain.errors import SettingsInvalid
from streams.bootstrap.tracing import tracing_of
from streams.settings import Settings
from streams.telemetry import OpenTelemetry, exporting
from streams.tracing import OFF, carried, carrying, of_job
from tests.api.engines import Start, in_its_parts, in_one_part
from tests.api.shop import Shop
from tests.services.kafka import running_kafka
from tests.services.postgres import PostgresServer
from tests.services.switch import need
from tests.webhooks.receiver import Receiver, receiving

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = f"00-{TRACE}-b7ad6b7169203331-01"
SENT = {"webhook_networks": "127.0.0.0/8", "webhook_http": True}


@dataclass
class Traced:
    """A shop, what was traced in it, and a receiver of its webhooks."""

    shop: Shop
    spans: InMemorySpanExporter
    receiver: Receiver

    def trace(self) -> list[ReadableSpan]:
        """The spans of the caller's trace, in the order of their begins."""
        found = [s for s in self.spans.get_finished_spans() if _trace_of(s) == TRACE]
        return sorted(found, key=lambda span: span.start_time or 0)

    async def once(self, name: str) -> None:
        """Wait for a span of that name."""
        async with asyncio.timeout(20):
            while not any(span.name == name for span in self.trace()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)


def _trace_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.trace_id:032x}"


def _parent_of(span: ReadableSpan, spans: list[ReadableSpan]) -> ReadableSpan | None:
    if span.parent is None:
        return None
    place = span.parent.span_id
    return next((s for s in spans if s.context is not None and s.context.span_id == place), None)


def _above(span: ReadableSpan, spans: list[ReadableSpan]) -> list[str]:
    """The names of the spans in which it is, from the inside."""
    names: list[str] = []
    inner: ReadableSpan | None = span
    while inner is not None and (inner := _parent_of(inner, spans)) is not None:
        names.append(inner.name)
    return names


@pytest.fixture(
    params=["memory", pytest.param("kafka", marks=pytest.mark.service("kafka", "postgresql"))]
)
async def traced(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Traced]:
    spans, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    tracing = OpenTelemetry(provider)
    async with AsyncExitStack() as stack:
        start: Start
        if request.param == "memory":
            start = in_one_part(tmp_path, tracing, **SENT)
        else:
            need("kafka")
            postgres: PostgresServer = request.getfixturevalue("postgres_process")
            database = stack.enter_context(postgres.database("traced"))
            kafka = stack.enter_context(running_kafka())
            start = await in_its_parts(tmp_path, database, kafka, tracing, **SENT)
        settings = Settings(data_dir=tmp_path, **SENT)
        receiver = await stack.enter_async_context(receiving())
        shop = await stack.enter_async_context(Shop(start, settings=settings))
        yield Traced(shop, spans, receiver)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as server:
        yield server


async def test_one_trace_from_the_submit_to_the_webhook(traced: Traced) -> None:
    wanted = {"url": traced.receiver.url, "events": ["job.finished"]}
    await traced.shop.post("/api/v1/webhooks", json=wanted, status=201)
    await traced.shop.create(1, name="another job, of no trace of ours")
    body = {"operation": "stock.create", "items": [{"name": f"n{n}"} for n in range(30)]}
    body["options"] = {"chunk_size": 10}
    job = await traced.shop.post("/api/v1/jobs", json=body, headers={"traceparent": CALLER})
    await traced.shop.settled(job)
    await traced.once("webhook")

    spans = traced.trace()
    submit = next(span for span in spans if span.name == "POST /api/v1/jobs")
    assert submit.parent is not None
    assert f"{submit.parent.span_id:016x}" == CALLER[36:52]
    assert submit.kind is SpanKind.SERVER
    commands = [span for span in spans if span.name == "process countermand.commands"]
    works = [span for span in spans if span.name == "process countermand.work.stock"]
    assert _parent_of(commands[0], spans) is submit
    assert all(span.kind is SpanKind.CONSUMER for span in (*commands, *works))
    for work in works:
        assert "process countermand.commands" in _above(work, spans)
        assert _above(work, spans)[-1] == "POST /api/v1/jobs"
    chunks = [span for span in spans if span.name == "work"]
    numbers = {
        number
        for span in chunks
        for number in str((span.attributes or {})["countermand.chunks"]).split(",")
    }
    assert numbers == {"0", "1", "2"}
    assert all(_parent_of(span, spans) in works for span in chunks)
    (webhook,) = (span for span in spans if span.name == "webhook")
    assert _above(webhook, spans)[-1] == "POST /api/v1/jobs"
    assert (webhook.attributes or {})["http.response.status_code"] == 200
    for span in spans:
        job_id = (span.attributes or {}).get("countermand.job_id", job["job_id"])
        assert job_id == job["job_id"], "another job is in the trace"
    got = [one for one in traced.receiver.got if one.document["data"]["job_id"] == job["job_id"]]
    assert got[0].headers["traceparent"][3:35] == TRACE
    events = await traced.shop.get(job["links"]["events"], headers={"Accept": "application/json"})
    assert events["items"]


@pytest.mark.parametrize("traced", ["memory"], indirect=True)
async def test_machines_are_in_no_trace_and_errors_say_nothing_of_what_was_sent(
    traced: Traced,
) -> None:
    header = {"traceparent": CALLER}
    for path in ("/health/live", "/health/ready", "/metrics", "/nothing"):
        await (await traced.shop.client.get(path, headers=header)).read()
    assert traced.trace() == []
    body = {"operation": "canary.create", "items": [{"name": "canary"}]}
    await traced.shop.post("/api/v1/jobs", json=body, headers=header, status=422)
    (span,) = traced.trace()
    assert "canary" not in str(span.to_json())


async def test_off_it_is_not_even_imported(tmp_path: Path) -> None:
    code = (
        "import sys, asyncio\n"
        "import api.serve\n"
        "from streams.bootstrap import scaled\n"
        "from streams.bootstrap.tracing import tracing_of\n"
        "from streams.settings import load\n"
        "from streams.tracing import OFF\n"
        "assert tracing_of(load()) is OFF\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])\n"
    )
    run = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert run.stdout.strip() == "[]"


class _Away(SpanExporter):
    """A collector that does not answer."""

    def __init__(self) -> None:
        self.back = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.back.wait(30)
        return SpanExportResult.FAILURE


def test_nobody_waits_at_the_end_for_a_collector_that_is_away() -> None:
    away, provider = _Away(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(away))
    tracing = OpenTelemetry(provider, patience=0.1)
    with tracing.span("something", begins=True):
        pass
    began = time.monotonic()
    tracing.close()
    assert time.monotonic() - began < 10
    assert not away.back.is_set()
    away.back.set()


async def test_what_is_traced_goes_where_the_variables_say(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=tests")
    tracing = exporting("countermand", "instance-7")
    with tracing.span("something", begins=True) as span:
        span.tell("countermand.job_id", "job-1")
    await asyncio.to_thread(tracing.close)
    (got,) = receiver.got
    assert got.path == "/v1/traces"
    for said in (b"something", b"job-1", b"countermand", b"instance-7", b"tests"):
        assert said in got.body


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, tracing="otlp")
    monkeypatch.delitem(sys.modules, "streams.telemetry")
    monkeypatch.delattr("streams.telemetry")
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(SettingsInvalid, match=r"pip install 'countermand\[tracing\]'"):
        tracing_of(settings)


def test_a_message_carries_one_trace_and_a_job_its_own() -> None:
    headers = carrying((("x", b"y"),), CALLER)
    assert carried(headers) == CALLER
    assert carrying(headers, "another") == headers
    assert carrying((), "") == ()
    assert carried(()) == ""
    assert of_job(CALLER, CALLER.replace("b7ad", "0000")) == ""
    assert of_job(CALLER, "") == CALLER
    assert of_job("", CALLER) == ""
    with OFF.span("nothing", begins=True) as span:
        span.tell("a", 1)
        span.failed()
    assert OFF.traceparent() == ""


async def test_a_job_keeps_its_trace_over_a_restart(tmp_path: Path) -> None:
    spans, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    start = in_one_part(tmp_path, _Kept(OpenTelemetry(provider)), **SENT)
    header = {"traceparent": CALLER}
    async with Shop(start) as shop:
        body = {"operation": "stock.create", "draft": True}
        job = await shop.post("/api/v1/jobs", json=body, headers=header)
        path = job["links"]["append"]
        await shop.post(path, params={"part": 0}, json=[{"name": "a"}])
    spans.clear()
    async with Shop(start) as shop:
        await shop.post(job["links"]["seal"])
        await shop.settled(job)
    works = [span for span in spans.get_finished_spans() if span.name == "work"]
    assert {_trace_of(span) for span in works} == {TRACE}


class _Kept:
    """Tracing that outlives an engine."""

    def __init__(self, own: OpenTelemetry) -> None:
        self._own = own

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def close(self) -> None:
        """Not yet."""
