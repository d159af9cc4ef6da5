"""All verbs against a real server, and the server against signals and kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.acceptance.commands import COMMAND, Server, environment, refused, serving

ITEMS = 4000


TORTOISE = """
import time
from pydantic import BaseModel
from domain.operation import operation
from domain.outcomes import Done

class Step(BaseModel):
    n: int

@operation("tortoise.walk", item=Step)
def walk(ctx, item):
    "Take a step, slowly."
    time.sleep(0.02)
    return Done()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    plugin = tmp_path_factory.mktemp("plugin")
    (plugin / "tortoise.py").write_text(TORTOISE)
    (plugin / "tortoise-1.dist-info").mkdir()
    (plugin / "tortoise-1.dist-info" / "METADATA").write_text("Name: tortoise\nVersion: 1\n")
    (plugin / "tortoise-1.dist-info" / "entry_points.txt").write_text(
        "[countermand.operations]\ntortoise = tortoise:walk\n"
    )
    with serving(tmp_path_factory.mktemp("server"), PYTHONPATH=str(plugin)) as running:
        yield running


@pytest.fixture
def ndjson(tmp_path: Path) -> Path:
    """Projects to create; each 100th has no name."""
    path = tmp_path / "projects.ndjson"
    rows = [{"name": f"project {n}"} if n % 100 else {"name": ""} for n in range(ITEMS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def job(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A job of which some items failed."""
    path = tmp_path_factory.mktemp("items") / "items.json"
    path.write_text(json.dumps([{"name": f"p{n}"} if n % 10 else {} for n in range(50)]))
    lines = server.lines(
        *("submit", "annotations.create_projects", str(path), "--watch"),
        *("--name", "fifty", "--tag", "nightly", "--priority", "7"),
    )
    last: dict[str, Any] = lines[-1]
    return last


def test_a_watched_job_with_errors_ends_with_1(server: Server, ndjson: Path) -> None:
    ended = server.ask("submit", "annotations.create_projects", str(ndjson), "-w")

    assert ended.returncode == 1
    assert "completed_with_errors 100.0 % | 3,960 succeeded, 40 failed" in ended.stdout
    assert "countermand errors " in ended.stderr


def test_items_may_come_from_standard_input(server: Server) -> None:
    submit = ("submit", "annotations.create_projects", "--watch")
    ended = server.ask(*submit, given='{"name": "piped"}\n{"name": "too"}\n')

    assert ended.returncode == 0, ended.stderr
    assert "2 succeeded" in ended.stdout


def test_the_same_key_is_the_same_job(server: Server) -> None:
    submit = ("submit", "annotations.create_projects", "--key", "only-once", "--json")
    first = server.ask(*submit, given='{"name": "once"}\n')
    second = server.ask(*submit, given='{"name": "once"}\n')

    assert json.loads(first.stdout)["job_id"] == json.loads(second.stdout)["job_id"]
    assert "key" in refused(server.ask(*submit, given='{"name": "twice"}\n'))


def test_a_job_is_shown_as_it_is_and_as_it_was(server: Server, job: dict[str, Any]) -> None:
    now = server.json("show", job["job_id"])
    past = server.json("show", job["job_id"], "--at", "1")

    assert (now["status"], now["counts"]["failed"]) == ("completed_with_errors", 5)
    assert (past["status"], past["counts"]["pending"]) == ("pending", 50)
    assert "nightly" in server.ask("show", job["job_id"]).stdout


def test_jobs_are_found_by_tag_and_name(server: Server, job: dict[str, Any]) -> None:
    filters = ("--tag", "nightly", "-q", "fift", "--status", job["status"])
    until = time.monotonic() + 5.0  # the list lags behind its jobs
    while not (found := server.json("jobs", *filters)["items"]) and time.monotonic() < until:
        time.sleep(0.05)

    assert [listed["job_id"] for listed in found] == [job["job_id"]]
    assert job["job_id"] in server.ask("jobs", "--tag", "nightly").stdout


def test_items_and_errors_name_what_failed(server: Server, job: dict[str, Any]) -> None:
    failed = server.lines("items", job["job_id"], "--status", "failed")
    (group,) = server.json("errors", job["job_id"])["items"]
    table = server.ask("errors", job["job_id"]).stdout
    csv = server.ask("items", job["job_id"], "--format", "csv").stdout.splitlines()

    assert [item["position"] for item in failed] == [0, 10, 20, 30, 40]
    assert group["count"] == 5
    assert group["code"] in table
    assert "0, 10, 20" in table
    assert len(csv) == 51


def test_events_are_the_same_listed_and_followed(server: Server, job: dict[str, Any]) -> None:
    listed = server.lines("events", job["job_id"])
    followed = server.lines("events", job["job_id"], "--follow")

    assert [event["version"] for event in listed] == list(range(1, job["version"] + 1))
    assert [event["version"] for event in followed] == list(range(1, job["version"] + 1))
    assert listed[0]["event"] == followed[0]["event"] == "job.submitted"
    assert "job.finished" in server.ask("events", job["job_id"]).stdout


def test_a_watched_job_at_rest_ends_at_once(server: Server, job: dict[str, Any]) -> None:
    assert server.ask("watch", job["job_id"]).returncode == 1


def test_retry_undo_and_undo_again(server: Server, job: dict[str, Any]) -> None:
    assert server.ask("retry", job["job_id"], "--watch").returncode == 1
    assert server.ask("undo", job["job_id"], "--reason", "no", "--watch").returncode == 0
    undone = server.json("show", job["job_id"])
    assert (undone["status"], undone["counts"]["rolled_back"]) == ("rolled_back", 45)

    assert server.ask("undo", job["job_id"], "--watch").returncode == 1
    again = server.json("show", job["job_id"])
    assert (again["status"], again["counts"]["succeeded"]) == ("completed_with_errors", 45)


def test_pause_resume_and_cancel(server: Server) -> None:
    rows = "".join(f'{{"n": {n}}}\n' for n in range(2000))
    submit = ("submit", "tortoise.walk", "--chunk-size", "5", "--json")
    job = json.loads(server.ask(*submit, given=rows).stdout)

    paused = server.json("pause", job["job_id"], "--reason", "wait")
    assert paused["status"] == "paused"
    assert server.json("show", job["job_id"])["counts"] == paused["counts"]
    assert server.json("resume", job["job_id"])["status"] in ("pending", "running")
    assert "possible: " in refused(server.ask("retry", job["job_id"]))
    cancelled = server.json("cancel", job["job_id"])
    assert cancelled["status"] == "cancelled"
    assert cancelled["counts"]["pending"] == 0
    assert cancelled["counts"]["skipped"] > 1000
    assert server.ask("watch", job["job_id"]).returncode == 1


def test_operations_are_listed_with_their_schemas(server: Server) -> None:
    kinds = [found["kind"] for found in server.json("operations")["items"]]
    one = server.json("operations", "annotations.create")

    assert "annotations.create" in kinds
    assert "text_id" in json.dumps(one)
    assert "annotations.create" in server.ask("operations").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("submit", "no.such", "/dev/null"),
        ("submit", "annotations.create", "/dev/null", "-p", "project_id=x"),
        ("submit", "annotations.create_projects", "/dev/null"),
        ("show", "no-such-job"),
        ("show", "0"),
        ("jobs", "--status", "nonsense"),
        ("undo", "no-such-job"),
    ],
)
def test_a_refusal_has_words_and_2(server: Server, arguments: tuple[str, ...]) -> None:
    assert refused(server.ask(*arguments))


def test_the_audit_trail_is_whole_and_replayed_while_the_server_runs(
    server: Server, job: dict[str, Any]
) -> None:
    place = ("--data-dir", str(server.data_dir))
    report = server.json("audit", "verify", *place)
    replayed = server.json("audit", "replay", job["job_id"], "--at", "2", *place)
    past = server.json("show", job["job_id"], "--at", "2")

    assert report["sound"]
    assert report["events"] > job["version"]
    assert server.json("audit", "verify", job["job_id"], *place)["jobs"] == 1
    for name in ("status", "counts", "version", "params", "created_at"):
        assert replayed[name] == past[name]
    assert "has no version 999" in refused(
        server.ask("audit", "replay", job["job_id"], "--at", "999", *place)
    )
    assert refused(server.ask("audit", "replay", "no-such-job", *place))


@pytest.mark.crash
def test_a_watched_job_survives_the_death_of_the_engine(tmp_path: Path) -> None:
    items = tmp_path / "many.ndjson"
    items.write_text("".join(f'{{"name": "p{n}"}}\n' for n in range(20_000)))
    (tmp_path / "data").mkdir()
    with serving(tmp_path / "data") as server:
        job = server.json("submit", "annotations.create_projects", str(items))
        with subprocess.Popen(
            [*COMMAND, "watch", job["job_id"], "--json"],
            stdout=subprocess.PIPE,
            text=True,
            env=environment(COUNTERMAND_URL=server.url),
        ) as watch:
            assert watch.stdout is not None
            seen = [json.loads(watch.stdout.readline()) for _ in range(2)]
            (engine,) = psutil.Process(server.process.pid).children()
            os.kill(engine.pid, signal.SIGKILL)
            seen += [json.loads(line) for line in watch.stdout]
            assert watch.wait(60) == 0

        assert server.json("audit", "verify", "--data-dir", str(server.data_dir))["sound"]
        assert server.stop() == 0
    stored = [event["version"] for event in seen if event["event"].startswith("job.")]
    assert stored == sorted(set(stored))
    assert seen[-1]["counts"]["succeeded"] == 20_000


def test_a_stopped_server_is_3_and_its_data_is_taken_up_again(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        (tmp_path / "one.json").write_text('[{"name": "one"}]')
        job = server.json("submit", "annotations.create_projects", str(tmp_path / "one.json"))
        assert server.ask("watch", job["job_id"]).returncode == 0
        assert server.stop() == 0
        gone = server.ask("jobs")
        assert (gone.returncode, gone.stdout) == (3, "")
        assert "is `countermand serve` running there?" in gone.stderr

    with serving(tmp_path) as server:
        assert server.json("show", job["job_id"])["status"] == "completed"
