"""Approval by a second identity, on both stacks, by the command line."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.stack import Stack
from tests.acceptance.stacks import STACKS, running

CAREFUL = {"COUNTERMAND_ACTORS": "named", "COUNTERMAND_APPROVAL_ABOVE": "5"}


@pytest.fixture(scope="module", params=STACKS)
def careful(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """A stack where jobs of more than five items, and destructive ones, wait."""
    folder = tmp_path_factory.mktemp(request.param)
    with running(request, folder, **CAREFUL) as started:
        started.wait_ready()
        yield started


def _said(stack: Stack, actor: str, *words: str) -> Any:
    """What a verb prints; a refusal is its words."""
    ended = stack.ask(*words, "--json", COUNTERMAND_ACTOR=actor)
    return json.loads(ended.stdout) if ended.returncode == 0 else ended.stderr


def _projects(folder: Path, many: int) -> str:
    file = folder / f"{many}.ndjson"
    file.write_text("".join(f'{{"name": "p{n}"}}\n' for n in range(many)))
    return str(file)


def test_a_large_job_waits_for_somebody_else(careful: Stack, tmp_path: Path) -> None:
    submit = ("submit", "annotations.create_projects")
    small = _said(careful, "ada", *submit, _projects(tmp_path, 5))
    assert small["status"] != "awaiting_approval"
    began = time.monotonic()
    job = _said(careful, "ada", *submit, _projects(tmp_path, 6))
    assert (job["status"], job["created_by"]) == ("awaiting_approval", "ada")
    assert _said(careful, "ada", "show", job["job_id"])["waiting"]["reason"] == "approval"
    took = round(time.monotonic() - began, 2)
    careful.tell("seconds until a cause is named", took, cause="approval")
    refused = _said(careful, "ada", "approve", job["job_id"])
    assert "ada has submitted the job and cannot approve it" in refused
    assert careful.rows("SELECT 1 FROM chunks WHERE job_id = :job", job=job["job_id"]) == []

    _said(careful, "grace", "approve", job["job_id"], "--reason", "counted them")
    ended = careful.ask("watch", job["job_id"])
    assert ended.returncode == 0, ended.stderr
    rows = careful.rows(
        "SELECT actor FROM events WHERE job_id = :job AND alias = 'job.approved'", job=job["job_id"]
    )
    assert [row[0] for row in rows] == ["grace"]


def test_a_destructive_job_waits_however_small(careful: Stack, tmp_path: Path) -> None:
    (tmp_path / "gone.ndjson").write_text('{"id": 1}\n')
    gone = str(tmp_path / "gone.ndjson")
    job = _said(careful, "ada", "submit", "annotations.delete", gone)
    assert job["reason"] == "awaits approval: annotations.delete is destructive"
    ended = _said(careful, "grace", "reject", job["job_id"], "--reason", "still needed")
    assert (ended["status"], ended["counts"]["skipped"]) == ("rejected", 1)
    assert "possible: archive, hold, shred" in _said(careful, "grace", "approve", job["job_id"])
