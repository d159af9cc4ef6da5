"""Effects outside of the database are taken back, whatever fails and whoever is killed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.acceptance.stack import Stack
from tests.crash.client import JOBS, Client

ITEMS = 30
BAD = (4, 17, 18)
ATTEMPTS = 3


def _calls(folder: Path) -> list[tuple[int, str]]:
    """Position and key of each call that was to take something back, in order."""
    lines = [line.split() for line in (folder / "journal").read_text().splitlines()]
    return [(int(position), key) for what, position, key in lines if what == "back"]


def _wait_for_calls(folder: Path, count: int) -> None:
    late = time.monotonic() + 30
    while len(_calls(folder)) < count:
        assert time.monotonic() < late, "nobody takes anything back"
        time.sleep(0.005)


def _sent(client: Client, folder: Path, name: str) -> str:
    items = [{"code": f"{name} {n}", "bad": n in BAD} for n in range(ITEMS)]
    params = {"folder": str(folder)}
    key = f"{folder} {name}"
    options = {"chunk_size": 10}
    return client.submit(key, "courier.deliver", items, params=params, options=options)


def _left(stack: Stack, name: str) -> int:
    sql = "SELECT count(*) FROM parcels WHERE code LIKE :like"
    return int(stack.rows(sql, like=f"{name} %")[0][0])


def _named(client: Client, job_id: str, stage: str) -> dict[int, str]:
    """The items in a stage of their compensation, each with the code of its error."""
    page = client.ask("GET", f"{JOBS}/{job_id}/compensations?stage={stage}&limit=100")
    assert page["next_cursor"] is None
    return {one["position"]: (one["error"] or {"code": ""})["code"] for one in page["items"]}


def _descends(positions: Sequence[int]) -> bool:
    return list(positions) == sorted(positions, reverse=True)


def test_what_was_done_outside_is_taken_back_and_what_is_not_is_named(
    stack: Stack, tmp_path: Path
) -> None:
    client = Client(stack.url)
    job_id = _sent(client, tmp_path, "kept")
    assert client.settle(job_id)["counts"]["succeeded"] == ITEMS
    seen = stack.json("undo", job_id, "--preview")
    assert (seen["outside"], seen["compensated"]) == (["parcel"], ITEMS)
    assert seen["compensations"] == [*range(ITEMS)]
    client.command(job_id, "undo", f"{job_id} once")
    job = client.settle(job_id)
    assert (job["status"], job["counts"]["succeeded"]) == ("rollback_incomplete", len(BAD))
    calls = _calls(tmp_path)
    assert _descends([position for position, _ in calls])
    tries = Counter(position for position, _ in calls)
    assert tries == Counter({n: ATTEMPTS if n in BAD else 1 for n in range(ITEMS)})
    assert _named(client, job_id, "failed") == dict.fromkeys(BAD, "no_answer")
    assert len(_named(client, job_id, "done")) == ITEMS - len(BAD)
    assert _left(stack, "kept") == len(BAD)
    shown = stack.ask("compensations", job_id, "--stage", "failed")
    assert "nobody answers about kept 17" in shown.stdout

    (tmp_path / "mended").touch()
    client.command(job_id, "undo", f"{job_id} twice")
    assert client.settle(job_id)["status"] == "rolled_back"
    again = _calls(tmp_path)[len(calls) :]
    assert [position for position, _ in again] == sorted(BAD, reverse=True)
    assert {key for _, key in calls + again} == {f"{job_id}:{n}:undo" for n in range(ITEMS)}
    assert _left(stack, "kept") == 0
    stack.check_audit()


def test_a_kill_repeats_the_call_in_flight_with_its_key_and_no_other(
    stack: Stack, tmp_path: Path
) -> None:
    (tmp_path / "mended").touch()
    client = Client(stack.url)
    job_id = _sent(client, tmp_path, "killed")
    client.settle(job_id)
    client.command(job_id, "undo", f"{job_id} back")
    _wait_for_calls(tmp_path, 7)
    stack.kill_engine()
    job = client.settle(job_id)
    assert (job["status"], job["counts"]["rolled_back"]) == ("rolled_back", ITEMS)
    calls = _calls(tmp_path)
    keys = Counter(key for _, key in calls)
    assert set(keys) == {f"{job_id}:{n}:undo" for n in range(ITEMS)}
    repeats = keys.total() - ITEMS
    stack.tell("compensations repeated after a kill", repeats, N=ITEMS)
    assert repeats <= 1
    assert _descends([position for position, _ in calls])
    assert _left(stack, "killed") == 0


def test_what_nobody_takes_back_is_refused_and_named(stack: Stack, tmp_path: Path) -> None:
    client = Client(stack.url)
    params = {"folder": str(tmp_path)}
    job_id = client.submit(f"{tmp_path}", "courier.shout", [{"code": "x"}], params=params)
    client.settle(job_id)
    refused = stack.ask("undo", job_id)
    assert refused.returncode == 2
    assert "courier.shout has effects outside (noise) and no compensation" in refused.stderr
    kinds = {one["kind"]: one for one in client.ask("GET", "/api/v1/operations")["items"]}
    assert kinds["courier.shout"]["reversible"] == "no"
    deliver = kinds["courier.deliver"]
    assert (deliver["outside"], deliver["compensated"]) == (["parcel"], True)
