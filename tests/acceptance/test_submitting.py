"""What a submit may say, on a whole installation: moments, keys, a filter, an edited draft."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.acceptance.stack import Stack
from tests.crash.client import JOBS, Client, Document

AHEAD = 6.0
KEPT_WITHIN = 5.0
"""Seconds after its moment within which a job must have begun, or have been stopped."""


def _submit(client: Client, folder: Path, name: str, items: Sequence[Any], **options: Any) -> str:
    params = {"folder": str(folder)}
    key = f"{folder.name}-{name}"
    return client.submit(key, "metronome.beat", items, params=params, options=options)


def _in(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def _beats(folder: Path) -> list[tuple[float, int]]:
    journal = folder / "beats"
    lines = journal.read_text().splitlines() if journal.exists() else []
    return [(float(at), int(n)) for at, _, n in map(str.split, lines)]


def test_a_job_starts_at_its_moment_though_the_engine_has_died(
    stack: Stack, tmp_path: Path
) -> None:
    start = _in(AHEAD)
    things = [{"n": n, "ms": 1} for n in range(50)]
    job_id = _submit(Client(stack.url), tmp_path, "later", things, start_at=start.isoformat())
    stack.kill_engine()
    stack.wait_ready()
    client = Client(stack.url)
    waiting = client.job(job_id)["waiting"]
    assert waiting is None or waiting["reason"] == "scheduled" or time.time() > start.timestamp()
    assert client.settle(job_id)["counts"]["succeeded"] == 50
    assert min(at for at, _ in _beats(tmp_path)) >= start.timestamp()


def test_a_deadline_stops_what_is_running(stack: Stack, tmp_path: Path) -> None:
    client, deadline = Client(stack.url), _in(AHEAD)
    things = [{"n": n, "ms": 5} for n in range(20_000)]
    said = {"deadline": deadline.isoformat(), "on_deadline": "stop"}
    job_id = _submit(client, tmp_path, "late", things, **said)
    done = client.settle(job_id)
    counts = done["counts"]
    assert (done["status"], counts["pending"]) == ("failed", 0)
    assert counts["succeeded"] > 0
    assert counts["skipped"] > 0
    assert done["deadline"]["missed_at"] is not None
    ended = datetime.fromisoformat(done["finished_at"])
    late = (ended - deadline).total_seconds()
    stack.tell("seconds from a deadline to the stop", round(late, 2))
    assert 0 <= late < KEPT_WITHIN
    worked = len(_beats(tmp_path))
    time.sleep(1)  # nothing tells that nothing happens
    assert len(_beats(tmp_path)) == worked, "it goes on after the stop"


def test_of_items_called_the_same_one_is_worked(stack: Stack, tmp_path: Path) -> None:
    client = Client(stack.url)
    things = [{"n": n % 30, "ms": 0} for n in range(40)]
    job_id = _submit(client, tmp_path, "keys", things, key="/n", duplicates="last")
    done = client.settle(job_id)
    assert (done["counts"]["succeeded"], done["counts"]["skipped"]) == (30, 10)
    assert {n for _, n in _beats(tmp_path)} == set(range(30))
    lines = stack.lines("items", job_id, "--key", "3")
    assert [(line["position"], line["status"]) for line in lines] == [
        (3, "skipped"),
        (33, "succeeded"),
    ]


def test_a_filter_and_an_edited_draft(stack: Stack, tmp_path: Path) -> None:
    made = f"P-{tmp_path.name}"
    client = Client(stack.url)
    items = [{"name": f"{made}-{n}"} for n in range(6)]
    client.settle(client.submit(f"{made}-create", "annotations.create_projects", items))
    where = {"op": "in", "column": "name", "values": [f"{made}-{n}" for n in (1, 4)]}
    said = ("--where", json.dumps(where), "--each", '{"description": "seen"}')
    job = stack.json("select", "annotations.update_projects", "projects", *said)
    assert client.settle(job["job_id"])["counts"]["succeeded"] == 2
    seen = stack.rows(
        "SELECT name FROM projects WHERE description = 'seen' AND name LIKE :mine ORDER BY name",
        mine=f"{made}%",
    )
    assert [name for (name,) in seen] == [f"{made}-1", f"{made}-4"]

    none = json.dumps({"op": "equals", "column": "name", "value": f"{made}-none"})
    said = ("annotations.update_projects", "projects", "--where", none)
    refused = client.ask(
        "POST",
        JOBS,
        {"operation": said[0], "select": {"table": said[1], "where": json.loads(none)}},
        status=422,
    )
    assert refused["code"] == "selection_unconfirmed"
    assert stack.json("select", *said, "--confirm", "none")["status"] == "completed"

    draft = _post(client, JOBS, {"operation": "annotations.create_projects", "draft": True})
    links = draft["links"]
    _post(client, f"{links['append']}?part=0", [{"name": f"{made}-{n}"} for n in "abc"])
    stack.json("edit", draft["job_id"], "--edit", f'1={{"name": "{made}-B"}}', "--drop", "2")
    _post(client, links["seal"], {})
    counts = client.settle(draft["job_id"])["counts"]
    assert (counts["succeeded"], counts["skipped"]) == (2, 1)
    found = stack.rows(
        "SELECT name FROM projects WHERE name LIKE :mine ORDER BY id DESC", mine=f"{made}-%"
    )
    assert {name for (name,) in found[:2]} == {f"{made}-a", f"{made}-B"}


def _post(client: Client, path: str, body: Any) -> Document:
    posted: Document = client.ask("POST", path, body, status=202)
    return posted
