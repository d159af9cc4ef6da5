"""Jobs at rest are archived by hand and kept by rules, by the command line on both stacks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.acceptance.stack import Stack

COUNT = 40
RULED = "annotations.create_labels"
"""No other test of this folder has a job of it."""
PATIENCE = 30.0


def _submitted(stack: Stack, operation: str, item: str) -> str:
    ended = stack.ask("submit", operation, "-w", "--json", given=f"{item}\n" * COUNT)
    job_id: str = json.loads(ended.stdout.splitlines()[-1])["job_id"]
    return job_id


def _once(stack: Stack, job_id: str, what: Callable[[Any], Any]) -> Any:
    """The job, once it is so."""
    until = time.monotonic() + PATIENCE
    while True:
        job = stack.json("show", job_id)
        if what(job):
            return job
        assert time.monotonic() < until, job
        time.sleep(0.1)


def test_an_archived_job_is_put_away_and_its_file_has_all_of_it(stack: Stack) -> None:
    job_id = _submitted(stack, "annotations.create_projects", '{"name": "of last year"}')
    told = stack.json("archive", job_id, "--reason", "the season is over")
    assert (told["status"], told["archived"]["was"]) == ("archived", "completed")
    refused = stack.ask("undo", job_id)
    assert refused.returncode == 2
    assert "archived by local (the season is over): undo is not possible" in refused.stderr

    job = _once(stack, job_id, lambda found: found["archived"]["file"])
    name = job["archived"]["file"]["name"]
    still = ["hold", "shred"] if name.endswith(".sealed.ndjson") else []
    assert (job["counts"]["succeeded"], job["possible"]) == (COUNT, still)
    gone = stack.ask("items", job_id)
    assert (gone.returncode, name in gone.stderr) == (2, True), gone.stderr
    until = time.monotonic() + PATIENCE
    while stack.rows("SELECT 1 FROM outcomes WHERE job_id = :job", job=job_id):
        assert time.monotonic() < until, "nobody clears what is safe"
        time.sleep(0.1)

    while not _is_listed(stack, job_id, "--status", "archived"):  # the list lags behind its jobs
        assert time.monotonic() < until, "an archived job is not listed as one"
        time.sleep(0.05)
    assert not _is_listed(stack, job_id)
    archive = Path(stack.folder, "archives", name)
    report = stack.json("audit", "verify", "--archive", str(archive), *stack.place)
    assert (report["sound"], report["outcomes"] > 0) == (True, True)
    report = stack.json("audit", "verify", job_id, *stack.place)
    assert (report["sound"], report["archived"], report["outcomes"]) == (True, 1, 0)
    replayed = stack.json("audit", "replay", job_id, *stack.place)
    assert replayed["archived"] == job["archived"]


def _is_listed(stack: Stack, job_id: str, *filters: str) -> bool:
    return job_id in [one["job_id"] for one in stack.json("jobs", *filters)["items"]]


def test_a_rule_shreds_and_archives_what_is_not_held(stack: Stack) -> None:
    item = '{"project_id": 1, "name": "CITY"}'
    held, other = _submitted(stack, RULED, item), _submitted(stack, RULED, item)
    stack.json("hold", held, "--reason", "case 17")
    refused = stack.ask("retention", "set", RULED, "--shred-after", "2d", "--archive-after", "1d")
    assert (refused.returncode, "at /shred_after" in refused.stderr) == (2, True), refused.stderr
    ages = ("--shred-after", "0s", "--archive-after", "1s")
    stack.json("retention", "set", RULED, *ages, "--reason", "the new policy")
    try:
        job = _once(stack, other, lambda found: found["status"] == "archived")
        assert job["shredded"]["by"] == job["archived"]["by"] == "retention"
        assert job["archived"]["reason"].startswith(f"the rule of all tenants for {RULED}")
        kept = stack.json("show", held)
        assert ("shredded" in kept, "archived" in kept) == (False, False)
        assert [rule["kind"] for rule in stack.json("retention", "list")["items"]] == [RULED]
        stack.json("release", held)
        _once(stack, held, lambda found: found["status"] == "archived")
    finally:
        stack.json("retention", "remove", RULED)
    changes = stack.json("retention", "changes")["items"]
    told = [(change["action"], change["actor"], change["reason"]) for change in changes[:2]]
    assert told == [("remove", "local", ""), ("set", "local", "the new policy")]
    stack.check_audit()
