from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote_plus

from tests.cli.conftest import Run
from tests.cli.contract_server import Contract, counts, job

PLAN = {
    "job_id": "job-1",
    "operation": "notes.update",
    "digest": "4be1" * 16,
    "counts": {**counts(failed=1), "planned": 9},
    "validated_only": False,
    "changed": [],
    "more_changed": False,
    "applied_by": None,
}


def test_a_dry_run_is_asked_for(ask: Run, contract: Contract, tmp_path: Path) -> None:
    (tmp_path / "items.ndjson").write_text("{}\n")
    ask("submit", "notes.update", str(tmp_path / "items.ndjson"), "--dry-run")
    (_, sent) = contract.requests[0]
    assert "dry_run" in sent


def test_an_atomic_job_is_asked_for(ask: Run, contract: Contract, tmp_path: Path) -> None:
    (tmp_path / "items.ndjson").write_text("{}\n")
    ask("submit", "notes.update", str(tmp_path / "items.ndjson"), "--atomic")
    (_, sent) = contract.requests[0]
    assert "atomic" in sent


def test_a_plan_is_shown_with_what_to_do_next(ask: Run, contract: Contract) -> None:
    contract.plan = PLAN
    ended = ask("plan", "job-1")
    assert (ended.code, ended.out) == (0, PLAN["digest"] + "\n")  # type: ignore[operator]
    assert "notes.update: 1 failed, 9 planned" in ended.err
    assert f"countermand apply job-1 --digest {PLAN['digest']}" in ended.err


def test_a_plan_that_no_longer_holds_says_so(ask: Run, contract: Contract) -> None:
    changed = [
        {"table": "notes", "record": 7, "planned": 1, "version": 3},
        {"table": "notes", "record": 9, "planned": 2, "version": None},
    ]
    contract.plan = PLAN | {"changed": changed, "validated_only": True}
    said = ask("plan", "job-1").err
    assert "only validated" in said
    assert "notes/7 is at version 3, planned at 1" in said
    assert "notes/9 is gone, planned at 2" in said
    assert "make a new dry run" in said
    contract.plan = PLAN | {"applied_by": "job-2"}
    assert "applied by job job-2" in ask("plan", "job-1").err


def test_an_apply_says_which_plan_was_seen(ask: Run, contract: Contract) -> None:
    contract.jobs = {"job-1": job()}
    ended = ask("apply", "job-1", "--digest", "4be1" * 16, "--key", "k", "--json")
    assert ended.code == 0
    assert contract.requests == [("POST", "/api/v1/jobs/job-1/apply")]
    assert json.loads(contract.bodies[0]) == {"digest": "4be1" * 16}
    assert contract.headers[0]["Idempotency-Key"] == "k"


def test_a_timeout_for_items_is_asked_for(ask: Run, contract: Contract, tmp_path: Path) -> None:
    (tmp_path / "items.ndjson").write_text("{}\n")
    ask("submit", "notes.update", str(tmp_path / "items.ndjson"), "--item-timeout", "2.5")
    (_, sent) = contract.requests[0]
    assert '{"item_timeout": 2.5}' in unquote_plus(sent)
