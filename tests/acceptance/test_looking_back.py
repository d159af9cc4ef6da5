"""Looking back over the command line, on both stacks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.acceptance.commands import refused
from tests.acceptance.stack import Stack


def submitted(stack: Stack, operation: str, *items: Any) -> str:
    """The id of a job that has come to rest."""
    text = "".join(json.dumps(item) + "\n" for item in items)
    ended = stack.ask("submit", operation, "--watch", "--json", given=text)
    return str(json.loads(ended.stdout.splitlines()[-1])["job_id"])


def test_a_record_tells_who_wrote_what(stack: Stack) -> None:
    made = submitted(stack, "annotations.create_projects", {"name": "old", "description": "d"})
    (item,) = stack.lines("items", made)
    key = item["result"]["id"]
    changed = submitted(stack, "annotations.update_projects", {"id": key, "name": "new"})

    page = stack.json("history", "projects", str(key), "--values")
    last, first = page["items"]
    assert (last["by"]["job_id"], first["by"]["job_id"]) == (changed, made)
    assert last["changed"]["name"] == {"before": "old", "after": "new"}
    assert first["values"]["name"] == "old"
    record = stack.json("blame", "projects", str(key))
    assert record["columns"]["name"]["by"]["job_id"] == changed
    assert record["columns"]["description"]["by"]["job_id"] == made
    assert changed in stack.ask("blame", "projects", str(key)).stdout

    assert stack.ask("undo", changed, "--watch").returncode == 0
    undone = stack.json("history", "projects", str(key), "--limit", "1")
    assert undone["items"][0]["by"]["cause"] == "rollback"
    assert undone["items"][0]["changed"]["name"] == {"before": "new", "after": "old"}
    assert undone["next_cursor"] == "3"
    assert "never" in refused(stack.ask("history", "projects", "999999999"))
    assert "possible: " in refused(stack.ask("blame", "people", "1"))


def test_two_runs_are_compared(stack: Stack) -> None:
    names = [{"name": f"p{n}"} for n in range(30)]
    first = submitted(stack, "annotations.create_projects", *names)
    second = submitted(stack, "annotations.create_projects", *names[:4], {}, *names[5:])

    counted = stack.json("diff", first, second, "--summary")
    assert counted["changes"]["status"] == 1
    assert counted["changes"]["result"] == 29, "each project has an id of its own"
    (only,) = stack.lines("diff", first, second, "--change", "status")
    assert (only["position"], only["other"]["status"]) == (4, "failed")
    assert "succeeded -> failed" in stack.ask("diff", first, second).stdout

    stack.ask("undo", second, "--watch")
    before = stack.json("diff", second, second, "--generation", "0", "--summary")
    assert before["moves"] == [{"this": "succeeded", "other": "rolled_back", "items": 29}]
    assert "generations 0 to 1" in refused(stack.ask("diff", second, first, "--generation", "2"))
    assert "must be one of" in refused(stack.ask("diff", first, second, "--change", "odd"))
    assert refused(stack.ask("diff", first, "no-such-job"))


def test_a_job_is_archived_and_verified_without_its_database(stack: Stack, tmp_path: Path) -> None:
    job = submitted(stack, "annotations.create_projects", *[{"name": "kept"}] * 20, {})
    file = tmp_path / "job.ndjson"
    written = stack.json("audit", "archive", job, str(file), *stack.place)
    assert written["heads"] == 1
    assert written["rows"]["events"] == stack.json("show", job)["version"]

    report = stack.json("audit", "verify", "--archive", str(file), *stack.place)
    assert (report["sound"], report["jobs"]) == (True, 1)
    elsewhere = stack.ask(
        "audit", "verify", "--archive", str(file), "--data-dir", str(tmp_path / "none")
    )
    assert elsewhere.returncode == 0
    assert "signatures were left out" in elsewhere.stderr

    text = file.read_text()
    file.write_text(text.replace('"actor":"local"', '"actor":"nobody"', 1))
    changed = stack.ask("audit", "verify", "--archive", str(file), *stack.place)
    assert changed.returncode == 1
    assert "event_changed" in changed.stdout
    file.write_text("{}\n")
    assert "no whole archive" in refused(
        stack.ask("audit", "verify", "--archive", str(file), *stack.place)
    )
    assert refused(stack.ask("audit", "archive", "no-such-job", str(file), *stack.place))
    assert refused(stack.ask("audit", "verify", "--archive", str(tmp_path / "no"), *stack.place))
