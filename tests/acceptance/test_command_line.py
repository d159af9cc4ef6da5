"""All verbs against a real server, and the server against signals and kills."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.commands import COMMAND, environment, refused
from tests.acceptance.forgetful import forgetful
from tests.acceptance.stack import Stack

ITEMS = 4000


@pytest.fixture
def ndjson(tmp_path: Path) -> Path:
    """Projects to create; each 100th has no name."""
    path = tmp_path / "projects.ndjson"
    rows = [{"name": f"project {n}"} if n % 100 else {"name": ""} for n in range(ITEMS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def job(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A job of which some items failed."""
    path = tmp_path_factory.mktemp("items") / "items.json"
    path.write_text(json.dumps([{"name": f"p{n}"} if n % 10 else {} for n in range(50)]))
    lines = stack.lines(
        *("submit", "annotations.create_projects", str(path), "--watch"),
        *("--name", "fifty", "--tag", "nightly", "--priority", "7"),
    )
    last: dict[str, Any] = lines[-1]
    return last


def test_a_watched_job_with_errors_ends_with_1(stack: Stack, ndjson: Path) -> None:
    ended = stack.ask("submit", "annotations.create_projects", str(ndjson), "-w")

    assert ended.returncode == 1
    assert "completed_with_errors 100.0 % | 3,960 succeeded, 40 failed" in ended.stdout
    assert "countermand errors " in ended.stderr


def test_items_may_come_from_standard_input(stack: Stack) -> None:
    submit = ("submit", "annotations.create_projects", "--watch")
    ended = stack.ask(*submit, given='{"name": "piped"}\n{"name": "too"}\n')

    assert ended.returncode == 0, ended.stderr
    assert "2 succeeded" in ended.stdout


def test_the_same_key_is_the_same_job(stack: Stack) -> None:
    submit = ("submit", "annotations.create_projects", "--key", "only-once", "--json")
    first = stack.ask(*submit, given='{"name": "once"}\n')
    second = stack.ask(*submit, given='{"name": "once"}\n')

    assert json.loads(first.stdout)["job_id"] == json.loads(second.stdout)["job_id"]
    assert "key" in refused(stack.ask(*submit, given='{"name": "twice"}\n'))


def test_of_a_job_more_may_be_said_than_an_address_holds(stack: Stack) -> None:
    name = "\N{HIRAGANA LETTER A}" * 1500
    submit = ("submit", "annotations.create_projects", "--name", name, "--key", "much-said")
    first = stack.ask(*submit, "--json", given='{"name": "long"}\n')
    assert first.returncode == 0, first.stderr
    job_id = json.loads(first.stdout)["job_id"]
    assert stack.ask("watch", job_id).returncode == 0

    again = stack.ask(*submit, "--json", given='{"name": "long"}\n')
    other = stack.ask(*submit, "--json", given='{"name": "longer"}\n')

    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["job_id"] == job_id
    refused(other)
    shown = stack.json("show", job_id)
    assert (shown["status"], shown["name"], shown["counts"]["total"]) == ("completed", name, 1)


def test_of_much_that_is_said_and_refused_no_draft_is_left(stack: Stack) -> None:
    name = "\N{HIRAGANA LETTER A}" * 1500
    submit = ("submit", "annotations.create_projects", "--name", name, "--tag", "refused-draft")
    repeated = '{"name": "a"}\n{"name": "a"}\n'

    said = refused(stack.ask(*submit, "--item-key", "/name", given=repeated))

    assert "/name" in said or "item 1" in said
    until = time.monotonic() + 5.0  # the list lags behind its jobs
    ended = ("jobs", "--tag", "refused-draft", "--status", "cancelled")
    while not (found := stack.json(*ended)["items"]) and time.monotonic() < until:
        time.sleep(0.05)
    assert len(found) == 1
    assert len(stack.json("jobs", "--tag", "refused-draft")["items"]) == 1


def test_a_job_is_shown_as_it_is_and_as_it_was(stack: Stack, job: dict[str, Any]) -> None:
    now = stack.json("show", job["job_id"])
    past = stack.json("show", job["job_id"], "--at", "1")

    assert (now["status"], now["counts"]["failed"]) == ("completed_with_errors", 5)
    assert (past["status"], past["counts"]["pending"]) == ("pending", 50)
    assert "nightly" in stack.ask("show", job["job_id"]).stdout


def test_jobs_are_found_by_tag_and_name(stack: Stack, job: dict[str, Any]) -> None:
    filters = ("--tag", "nightly", "-q", "fift", "--status", job["status"])
    until = time.monotonic() + 5.0  # the list lags behind its jobs
    while not (found := stack.json("jobs", *filters)["items"]) and time.monotonic() < until:
        time.sleep(0.05)

    assert [listed["job_id"] for listed in found] == [job["job_id"]]
    assert job["job_id"] in stack.ask("jobs", "--tag", "nightly").stdout


def test_items_and_errors_name_what_failed(stack: Stack, job: dict[str, Any]) -> None:
    failed = stack.lines("items", job["job_id"], "--status", "failed")
    (group,) = stack.json("errors", job["job_id"])["items"]
    table = stack.ask("errors", job["job_id"]).stdout
    csv = stack.ask("items", job["job_id"], "--format", "csv").stdout.splitlines()

    assert [item["position"] for item in failed] == [0, 10, 20, 30, 40]
    assert group["count"] == 5
    assert group["code"] in table
    assert "0, 10, 20" in table
    assert len(csv) == 51


def test_items_are_found_by_code_and_record_and_can_be_submitted_again(
    stack: Stack, job: dict[str, Any]
) -> None:
    (code,) = {
        item["error"]["code"] for item in stack.lines("items", job["job_id"], "--status", "failed")
    }
    assert len(stack.lines("items", job["job_id"], "--code", code)) == 5
    created = stack.lines("items", job["job_id"], "--status", "succeeded")[3]
    record = f"projects/{created['result']['id']}"
    found = stack.lines("items", job["job_id"], "--record", record)
    assert [item["position"] for item in found] == [created["position"]]

    exported = stack.lines("export", job["job_id"], "--status", "succeeded")
    assert exported[3]["item"] == {"name": f"p{created['position']}"}
    bodies = stack.ask("export", job["job_id"], "--code", code, "--format", "items").stdout
    again = stack.ask("submit", "annotations.create_projects", "-w", given=bodies)
    assert "5 failed" in again.stdout
    for wrong in (("--code", "no_such"), ("--status", "broken"), ("--record", "nothing/1")):
        assert " possible: " in (said := refused(stack.ask("items", job["job_id"], *wrong))) or (
            "must be one of" in said
        )


def test_events_are_the_same_listed_and_followed(stack: Stack, job: dict[str, Any]) -> None:
    listed = stack.lines("events", job["job_id"])
    followed = stack.lines("events", job["job_id"], "--follow")

    assert [event["version"] for event in listed] == list(range(1, job["version"] + 1))
    assert [event["version"] for event in followed] == list(range(1, job["version"] + 1))
    assert listed[0]["event"] == followed[0]["event"] == "job.submitted"
    assert "job.finished" in stack.ask("events", job["job_id"]).stdout


def test_a_watched_job_at_rest_ends_at_once(stack: Stack, job: dict[str, Any]) -> None:
    assert stack.ask("watch", job["job_id"]).returncode == 1


def test_retry_undo_and_undo_again(stack: Stack, job: dict[str, Any]) -> None:
    assert stack.ask("retry", job["job_id"], "--watch").returncode == 1
    assert stack.ask("undo", job["job_id"], "--reason", "no", "--watch").returncode == 0
    undone = stack.json("show", job["job_id"])
    assert (undone["status"], undone["counts"]["rolled_back"]) == ("rolled_back", 45)

    assert stack.ask("undo", job["job_id"], "--watch").returncode == 1
    again = stack.json("show", job["job_id"])
    assert (again["status"], again["counts"]["succeeded"]) == ("completed_with_errors", 45)


def test_an_undo_whose_answer_was_lost_is_no_undo_of_itself(stack: Stack) -> None:
    submit = ("submit", "annotations.create_projects", "--json")
    job_id = json.loads(stack.ask(*submit, given='{"name": "undone"}\n').stdout)["job_id"]
    assert stack.ask("watch", job_id).returncode == 0

    with forgetful(stack.url, lost=1) as way:
        ended = stack.ask("undo", job_id, "--url", way)
    stack.ask("watch", job_id)

    assert ended.returncode == 0, ended.stderr
    assert stack.json("show", job_id)["status"] == "rolled_back"


def test_an_undo_is_said_twice_with_one_key(stack: Stack) -> None:
    submit = ("submit", "annotations.create_projects", "--json")
    job_id = json.loads(stack.ask(*submit, given='{"name": "undone"}\n').stdout)["job_id"]
    assert stack.ask("watch", job_id).returncode == 0

    for _ in range(2):
        assert stack.ask("undo", job_id, "--key", "undone", "--watch").returncode == 0

    assert stack.json("show", job_id)["status"] == "rolled_back"


def test_pause_resume_and_cancel(stack: Stack) -> None:
    rows = "".join(f'{{"n": {n}}}\n' for n in range(2000))
    submit = ("submit", "tortoise.walk", "--chunk-size", "5", "--json")
    job = json.loads(stack.ask(*submit, given=rows).stdout)

    paused = stack.json("pause", job["job_id"], "--reason", "wait")
    assert paused["status"] == "paused"
    assert stack.json("show", job["job_id"])["counts"] == paused["counts"]
    assert stack.json("resume", job["job_id"])["status"] in ("pending", "running")
    assert "possible: " in refused(stack.ask("retry", job["job_id"]))
    cancelled = stack.json("cancel", job["job_id"])
    assert cancelled["status"] == "cancelled"
    assert cancelled["counts"]["pending"] == 0
    assert cancelled["counts"]["skipped"] > 1000
    assert stack.ask("watch", job["job_id"]).returncode == 1


def test_operations_are_listed_with_their_schemas(stack: Stack) -> None:
    kinds = [found["kind"] for found in stack.json("operations")["items"]]
    one = stack.json("operations", "annotations.create")

    assert "annotations.create" in kinds
    assert "text_id" in json.dumps(one)
    assert "annotations.create" in stack.ask("operations").stdout


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
def test_a_refusal_has_words_and_2(stack: Stack, arguments: tuple[str, ...]) -> None:
    assert refused(stack.ask(*arguments))


def test_the_audit_trail_is_whole_and_replayed_while_the_server_runs(
    stack: Stack, job: dict[str, Any]
) -> None:
    report = stack.json("audit", "verify", *stack.place)
    replayed = stack.json("audit", "replay", job["job_id"], "--at", "2", *stack.place)
    past = stack.json("show", job["job_id"], "--at", "2")

    assert report["sound"]
    assert report["events"] >= job["version"]
    assert stack.json("audit", "verify", job["job_id"], *stack.place)["jobs"] == 1
    for name in ("status", "counts", "version", "params", "created_at"):
        assert replayed[name] == past[name]
    assert "has no version 999" in refused(
        stack.ask("audit", "replay", job["job_id"], "--at", "999", *stack.place)
    )
    assert refused(stack.ask("audit", "replay", "no-such-job", *stack.place))


@pytest.mark.crash
def test_a_watched_job_survives_the_death_of_the_engine(stack: Stack, tmp_path: Path) -> None:
    items = tmp_path / "many.ndjson"
    items.write_text("".join(f'{{"name": "p{n}"}}\n' for n in range(20_000)))
    job = stack.json("submit", "annotations.create_projects", str(items))
    with subprocess.Popen(
        [*COMMAND, "watch", job["job_id"], "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(COUNTERMAND_URL=stack.url),
    ) as watch:
        assert watch.stdout is not None
        seen = [json.loads(watch.stdout.readline()) for _ in range(2)]
        stack.kill_engine()
        seen += [json.loads(line) for line in watch.stdout]
        assert watch.wait(60) == 0

    stack.check_audit()
    stored = [event["version"] for event in seen if event["event"].startswith("job.")]
    assert stored == sorted(set(stored))
    assert seen[-1]["counts"]["succeeded"] == 20_000


def test_a_stopped_server_is_3_and_its_data_is_taken_up_again(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text('[{"name": "one"}]')
    job = stack.json("submit", "annotations.create_projects", str(tmp_path / "one.json"))
    assert stack.ask("watch", job["job_id"]).returncode == 0
    try:
        assert stack.stop() == 0
        gone = stack.ask("jobs")
    finally:
        stack.start()

    assert (gone.returncode, gone.stdout) == (3, "")
    assert "is `countermand serve` running there?" in gone.stderr
    assert stack.json("show", job["job_id"])["status"] == "completed"
