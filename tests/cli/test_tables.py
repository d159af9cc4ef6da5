"""Texts of callers in tables: what looks like our markup is text, and nothing steers a terminal."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console, RenderableType

from streams.cli import render
from streams.cli.attempt_table import attempt_table
from streams.cli.comparison_tables import difference_table
from streams.cli.preview_table import compensation_table, obstruction_table
from streams.cli.record_tables import blame_table, history_table
from streams.cli.retention_tables import change_table, rule_table
from streams.cli.step_table import step_table
from tests.cli.conftest import Run
from tests.cli.contract_server import Contract, counts, job

SHOWN = "[/x] [red]:smile:"
EVIL = f"{SHOWN}\x1b[2J\x9b1m"
WHEN = "2026-01-01T00:00:00+00:00"
FAULT = {"code": EVIL, "message": EVIL, "pointer": f"/{EVIL}"}
BY = {"actor": EVIL, "job_id": "job-1", "cause": EVIL, "chunk": 3}
RULE = {"tenant": EVIL, "kind": EVIL, "shred_after": None, "archive_after": 86400.0}

Drawn = Callable[[], RenderableType]


def _item(**more: Any) -> Any:
    return {"position": 3, "status": EVIL, "result": {"a": EVIL}, "error": None, **more}


def _job(**more: Any) -> Any:
    return job(operation=EVIL, name=EVIL, status=EVIL, tags=[EVIL], created_by=EVIL, **more)


def _step() -> Any:
    said = {"name": EVIL, "operation": EVIL, "status": EVIL, "after": [EVIL]}
    return {**said, "counts": counts(pending=2), "job_id": EVIL}


def _worker() -> dict[str, Any]:
    memory = {"memory_bytes": 1, "memory_budget_bytes": 2, "held_since": None}
    figures = {"slots": 2, "process": 7, "cpu_seconds": 1.0, "cpu_percent": 1.0}
    return {"name": EVIL, "host": EVIL, "systems": [EVIL], "alive_seconds": 1, **memory, **figures}


def _limit() -> dict[str, Any]:
    figures = {"rate": 1.0, "concurrency": 2, "calls": 3, "jobs": 4, "waiting": 5}
    return {"name": EVIL, "changed_by": EVIL, **figures}


def _preview() -> Any:
    return {"obstructions": [{"position": 3, "record": EVIL, "by": EVIL, "reason": EVIL}]}


def _version() -> dict[str, Any]:
    changed = {EVIL: {"before": EVIL, "after": EVIL}}
    return {"version": 3, "at": WHEN, "by": BY, "deleted": False, "changed": changed}


def _blamed() -> dict[str, Any]:
    return {"columns": {EVIL: {"value": EVIL, "version": 3, "certain": True, "at": WHEN, "by": BY}}}


def _tried() -> Any:
    tried = {"chunk": EVIL, "cause": EVIL, "at": WHEN, "status": EVIL, "result": EVIL}
    return _item(attempts=[{**tried, "error": None}, {**tried, "error": FAULT}])


TABLES: dict[str, tuple[Drawn, int]] = {
    "jobs": (lambda: render.job_table([_job()]), 3),
    "jobs, narrow": (lambda: render.job_table([_job()], 80), 3),
    "job": (lambda: render.job_details(_job(reason=EVIL, params={"a": EVIL})), 7),
    "bar": (lambda: render.live_view(_job()), 2),
    "items": (lambda: render.item_table([_item(), _item(error=FAULT)]), 5),
    "errors": (
        lambda: render.error_table(
            [{"code": EVIL, "signature": EVIL, "count": 2, "samples": [{"item": 3}]}]
        ),
        2,
    ),
    "operations": (
        lambda: render.operation_table([{"kind": EVIL, "reversible": EVIL, "description": EVIL}]),
        3,
    ),
    "workers": (lambda: render.worker_table([_worker()]), 3),
    "limits": (lambda: render.limit_table([_limit()]), 2),
    "steps": (lambda: step_table([_step()]), 5),
    "rules": (lambda: rule_table([{**RULE, "changed_at": WHEN, "changed_by": EVIL}]), 3),
    "changes of rules": (
        lambda: change_table([{**RULE, "at": WHEN, "actor": EVIL, "action": EVIL, "reason": EVIL}]),
        5,
    ),
    "attempts": (lambda: attempt_table(_tried()), 9),
    "obstructions": (lambda: obstruction_table(_preview()), 3),
    "compensations": (
        lambda: compensation_table(
            [{"position": 3, "stage": EVIL, "attempts": 2, "at": WHEN, "error": FAULT}]
        ),
        3,
    ),
    "history": (lambda: history_table([_version()]), 5),
    "blame": (lambda: blame_table(_blamed()), 4),
    "differences": (
        lambda: difference_table([{"change": EVIL, "this": _item(), "other": _item(error=FAULT)}]),
        6,
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_text_of_a_caller_is_shown_as_it_is(name: str) -> None:
    drawn, texts = TABLES[name]
    page = io.StringIO()

    Console(file=page, width=900, highlight=False).print(drawn())

    shown = page.getvalue()
    assert shown.count(SHOWN) >= texts
    assert "\x1b" not in shown
    assert "\x9b" not in shown


def test_a_reason_like_markup_does_not_break_the_list_of_changes(
    ask: Run, contract: Contract
) -> None:
    contract.reason = "rule [/shop] replaced"

    ended = ask("retention", "changes")

    assert ended.code == 0
    assert "rule [/shop] replaced" in ended.out
