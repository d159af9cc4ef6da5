"""What was sent is held, then shredded, by the command line on both stacks; the trail holds."""

from __future__ import annotations

import json

from tests.acceptance.stack import Stack

COUNT = 40


def _submitted(stack: Stack) -> str:
    given = "".join(f'{{"name": "secret {n}"}}\n' for n in range(COUNT))
    ended = stack.ask("submit", "annotations.create_projects", "-w", "--json", given=given)
    assert ended.returncode == 0, ended.stderr
    job_id: str = json.loads(ended.stdout.splitlines()[-1])["job_id"]
    return job_id


def test_a_held_job_is_shredded_once_it_is_released(stack: Stack) -> None:
    job_id = _submitted(stack)
    assert stack.json("hold", job_id, "--reason", "case 17")["held"]["reason"] == "case 17"
    refused = stack.ask("shred", job_id, "--reason", "asked")
    assert refused.returncode != 0
    assert "held by" in refused.stderr
    assert "held" not in stack.json("release", job_id, "--reason", "closed")
    assert "say why" in stack.ask("shred", job_id).stderr

    shredded = stack.json("shred", job_id, "--reason", "asked")
    assert (shredded["shredded"]["reason"], "held" in shredded) == ("asked", False)
    assert shredded["counts"]["succeeded"] == COUNT
    left = stack.rows(
        "SELECT p.data, k.algorithm, k.key FROM uploads u "
        "JOIN payloads p ON p.upload_id = u.upload_id "
        "JOIN payload_keys k ON k.upload_id = u.upload_id WHERE u.job_id = :job",
        job=job_id,
    )
    assert [(bytes(data), algorithm, bytes(key)) for data, algorithm, key in left] == [
        (b"", "shredded", b"")
    ]
    stack.check_audit()

    *_, undone = stack.lines("undo", job_id, "--reason", "as well", "-w")
    assert undone["counts"]["rolled_back"] == COUNT
    stack.check_audit()
