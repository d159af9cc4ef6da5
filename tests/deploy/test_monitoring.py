"""What is counted is read by a strict parser, and dashboard and alerts ask for nothing else."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as strictly
from prometheus_client.parser import text_string_to_metric_families as as_before

from api.app import ROUTES
from domain.registry import Registry
from streams.bootstrap import embedded, scaled
from streams.settings import Settings
from streams.stores import grants
from streams.stores.grants import Grant
from streams.vitals import Vitals
from tests.api.shop import Shop
from tests.engine.roles import REGISTRY, Roles, migrated_postgres, roles, until
from tests.engine.stock import operations

__all__ = ["migrated_postgres", "roles"]

DEPLOY = Path(__file__).parents[2] / "deploy"
OPEN = "application/openmetrics-text; version=1.0.0"
INTERVAL = "$__rate_interval"
ENDINGS = {
    "counter": ("_total", "_created"),
    "histogram": ("_bucket", "_count", "_sum", "_created"),
    "gauge": ("",),
}
WORKED = (
    "countermand_http_requests",
    "countermand_http_request_seconds",
    "countermand_live_streams",
    "countermand_messages_in_flight",
    "countermand_message_seconds",
    "countermand_chunk_seconds",
    "countermand_chunks",
    "countermand_items",
    "countermand_append_seconds",
    "countermand_events_appended",
    "countermand_webhook_deliveries",
    "countermand_worker_memory_bytes",
)


@pytest.fixture
async def shop(data_dir: Path) -> AsyncIterator[Shop]:
    def start() -> Any:
        return embedded(Settings(data_dir=data_dir), Registry(operations))

    async with Shop(start) as served:
        yield served


async def _shown(shop: Shop) -> dict[str, Metric]:
    """What is shown, by a parser that takes nothing else than the standard has."""
    async with shop.client.get("/metrics", headers={"Accept": OPEN}) as response:
        assert response.content_type == "application/openmetrics-text"
        return {family.name: family for family in strictly(await response.text())}


async def _load(shop: Shop, mark: str) -> None:
    """Jobs, streams, and what a stranger would send to have the server count it by name."""

    async def strange(method: str, path: str) -> None:
        with_status = shop.client.request(method, path, headers={"X-Request-Id": mark})
        async with with_status as response:
            assert response.status < 500
            response.close()

    async def job(number: int) -> None:
        created = await shop.create(
            30, name=f"{mark} {number}", tags=[mark], options={"chunk_size": 10}
        )
        await shop.settled(created)

    await asyncio.gather(
        *(job(number) for number in range(4)),
        *(strange("GET", f"/{mark}/{number}") for number in range(10)),
        *(strange("GET", f"/api/v1/jobs/{mark}-{number}") for number in range(10)),
        *(strange(f"X{mark.upper()}{number}", "/api/v1/jobs") for number in range(5)),
    )


def _series(found: dict[str, Metric]) -> set[tuple[str, frozenset[tuple[str, str]]]]:
    return {
        (sample.name, frozenset(sample.labels.items()))
        for family in found.values()
        for sample in family.samples
    }


async def test_a_strict_parser_reads_it_under_load_and_callers_name_nothing(shop: Shop) -> None:
    await _load(shop, "amber")
    await _shown(shop)
    before = await _shown(shop)
    done = asyncio.Event()

    async def scrape() -> int:
        times = 0
        while not done.is_set():
            await _shown(shop)
            times += 1
        return times

    scraping = asyncio.create_task(scrape())
    await _load(shop, "violet")
    done.set()
    assert await scraping >= 1
    after = await _shown(shop)
    assert not set(WORKED) - after.keys()
    assert all(after[name].samples for name in WORKED)
    new = _series(after) - _series(before)
    assert new == set(), "series that came with other callers"
    text = str(_series(after))
    assert "amber" not in text
    assert "violet" not in text
    appended = {
        sample.name: sample.value for sample in after["countermand_events_appended"].samples
    }
    (stored,) = (
        await shop.engine.database.read(
            lambda c: c.exec_driver_sql("SELECT count(*) FROM events").all()
        )
    )[0]
    assert appended["countermand_events_appended_total"] == stored
    items = [s for s in after["countermand_items"].samples if s.name.endswith("_total")]
    assert sum(sample.value for sample in items) == 2 * 4 * 30


async def test_who_asks_for_nothing_in_particular_is_told_as_before(shop: Shop) -> None:
    async with shop.client.get("/metrics") as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert {family.name for family in as_before(await response.text())} >= set(WORKED)


async def test_every_system_that_is_installed_is_worked_by_who_does_all(shop: Shop) -> None:
    shown = await _shown(shop)
    installed, worked = (
        {sample.labels["system"]: sample.value for sample in shown[name].samples}
        for name in ("countermand_system_installed", "countermand_system_worked")
    )
    assert installed == worked == dict.fromkeys(shop.engine.registry.systems, 1.0)


@pytest.mark.service("postgresql")
@pytest.mark.parametrize(
    ("role", "worked"), [(scaled.worker, {"stock": 1.0}), (scaled.coordinator, {})]
)
async def test_each_shows_whose_jobs_are_taken_and_a_worker_whose_work(
    roles: Roles,
    role: Callable[..., AbstractAsyncContextManager[Vitals]],
    worked: dict[str, float],
) -> None:
    async with role(roles.settings(), REGISTRY) as vitals:
        shown = {
            family.name: {sample.labels["system"]: sample.value for sample in family.samples}
            for family in vitals.metrics.registry.collect()
            if family.name.startswith("countermand_system_")
        }
    assert shown == {
        "countermand_system_installed": dict.fromkeys(REGISTRY.systems, 1.0),
        "countermand_system_worked": worked,
    }


@pytest.mark.service("postgresql")
async def test_whose_work_there_is_is_shown_until_there_is_none(
    roles: Roles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scaled, "WANTED_SECONDS", 0.05)
    waits = Grant("job", "stock", "acme", priority=5, since=1.0, most=1, in_flight=0)
    gone = replace(waits, job_id="other", system="of_another_release")
    for grant in (waits, gone):
        roles.database.write_now(partial(grants.put_grant, grant=grant))

    async with scaled.coordinator(roles.settings(), REGISTRY) as vitals:
        await until(partial(_wanted, vitals, {"stock": 1.0}))
        roles.database.write_now(partial(grants.drop_grant, job_id="job"))
        await until(partial(_wanted, vitals, {"stock": 0.0}))


async def _wanted(vitals: Vitals, expected: dict[str, float]) -> bool:
    (found,) = [
        family
        for family in vitals.metrics.registry.collect()
        if family.name == "countermand_work_wanted"
    ]
    return expected == {sample.labels["system"]: sample.value for sample in found.samples}


def test_a_system_that_nobody_uses_needs_no_worker() -> None:
    lacking = promql_parser.parse(dict(_alerts())["CountermandSystemWithoutWorker"])

    assert str(lacking.op) == "unless"
    assert [name for name, _ in _selected(lacking.rhs)] == ["countermand_system_worked"]
    used = lacking.lhs
    assert str(used.op) == "and"
    assert [name for name, _ in _selected(used.rhs)] == ["countermand_work_wanted"]


def _dashboard() -> Iterator[tuple[str, str]]:
    document = json.loads((DEPLOY / "grafana" / "countermand.json").read_text())
    panels = document["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) >= 15
    for panel in panels:
        for target in panel["targets"]:
            expression = target["expr"].replace(INTERVAL, "5m").replace("$instance", ".*")
            assert "$" not in expression
            yield panel["title"], expression


def _alerts() -> Iterator[tuple[str, str]]:
    document = yaml.safe_load((DEPLOY / "prometheus" / "rules.yaml").read_text())
    for group in document["groups"]:
        for rule in group["rules"]:
            assert rule.keys() >= {"alert", "expr", "labels", "annotations"}
            assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
            assert rule["labels"]["severity"] in ("critical", "warning", "info")
            assert rule["annotations"].keys() == {"summary", "description"}
            assert re.fullmatch(r"[0-9]+m", rule.get("for", "1m"))
            yield rule["alert"], rule["expr"]


def _selected(node: Any) -> Iterator[tuple[str, set[str]]]:
    """Each metric that an expression asks for, with the labels that it asks for it by."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node.name, {matcher.name for matcher in node.matchers.matchers}
    for name in ("expr", "lhs", "rhs", "vector_selector"):
        inner = getattr(node, name, None)
        if inner is not None and not isinstance(inner, str):
            yield from _selected(inner)
    for inner in getattr(node, "args", None) or ():
        yield from _selected(inner)


async def test_dashboard_and_alerts_ask_for_what_there_is(shop: Shop) -> None:
    await _load(shop, "load")
    shown = await _shown(shop)
    known = {
        f"{family.name}{ending}" for family in shown.values() for ending in ENDINGS[family.type]
    }
    asked: set[str] = set()
    for title, expression in (*_dashboard(), *_alerts()):
        names = list(_selected(promql_parser.parse(expression)))
        assert names, title
        asked |= {name for name, _ in names}
        assert {name for name, _ in names} <= known, title
    own = {f.name for f in shown.values() if f.name.startswith("countermand_")}
    unseen = {name for name in own if not any(one.startswith(name) for one in asked)}
    assert unseen <= {"countermand_worker_memory_bytes"}, "counted, and shown to nobody"


@pytest.mark.parametrize(
    "metric",
    [
        "process_start_time_seconds",
        "countermand_clock_ahead_seconds",
        "countermand_heads_unwritten",
        "countermand_retention",
        "countermand_system_installed",
        "countermand_work_wanted",
    ],
)
def test_what_the_guide_says_to_alert_on_has_an_alert(metric: str) -> None:
    asked = [expr for _, expr in _alerts() if metric in dict(_selected(promql_parser.parse(expr)))]
    assert len(asked) == 1
    assert f"`{metric}`" in (DEPLOY.parent / "docs" / "running.md").read_text()


def test_a_file_that_takes_long_to_come_is_no_slow_answer() -> None:
    slow = dict(_alerts())["CountermandSlowAnswers"]
    (pattern,) = re.findall(r'route!~"(.*?)"', slow)
    imports = [route.path for route in ROUTES if "import" in route.path and route.method == "POST"]

    assert len(imports) >= 2
    assert all(re.fullmatch(pattern, path) for path in imports)
    assert not re.fullmatch(pattern, "/api/v1/jobs")


def test_a_wrong_name_would_be_found() -> None:
    parsed = promql_parser.parse('sum(rate(countermand_nothing_total{a="b"}[5m])) / 2 > 1')
    assert list(_selected(parsed)) == [("countermand_nothing_total", {"a"})]
