from __future__ import annotations

import io
import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from streams.stores.read_model import MAX_PAGE
from tests.cli.conftest import Run
from tests.cli.contract_server import FINISHED, Contract, counts, event, job

WELL = {"status": "completed", "version": 5, "counts": counts(succeeded=10), "percent": 100.0}
BADLY = {
    "status": "completed_with_errors",
    "version": 5,
    "counts": counts(succeeded=9, failed=1),
    "percent": 100.0,
}


def _ends(contract: Contract, **ending: object) -> None:
    """The job's stream leads to this ending, which is what is read at last."""
    contract.jobs = {"job-1": job()}
    contract.events = [event(3), event(4, percent=50.0), {**FINISHED, **ending}]
    contract.after_stream = lambda: contract.jobs.update({"job-1": job(**ending)})


class TestSubmit:
    def test_the_items_and_all_options_arrive(
        self, ask: Run, contract: Contract, tmp_path: Path
    ) -> None:
        items = tmp_path / "items.ndjson"
        items.write_text('{"a": 1}\n{"a": 2}\n')

        ended = ask(
            *("submit", "notes.create", str(items), "-p", "list=7", "--param", "who=ann"),
            *("--params", '{"list": 1, "deep": {"x": []}}', "--name", "two notes"),
            *("--tag", "a", "--tag", "b", "--priority", "9", "--chunk-size", "100", "--key", "k1"),
        )

        assert (ended.code, ended.out) == (0, "job-1\n")
        assert "countermand watch job-1" in ended.err
        assert contract.bodies == [items.read_bytes()]
        assert contract.headers[0]["Idempotency-Key"] == "k1"
        (_, sent) = contract.requests[0]
        for part in ("operation=notes.create", "priority=9", "tag=a&tag=b"):
            assert part in sent
        (options,) = parse_qs(urlsplit(sent).query)["options"]
        assert json.loads(options) == {"chunk_size": 100}
        assert "who%22:+%22ann%22" in sent or "%22who%22" in sent

    def test_options_go_as_one_object(self, ask: Run, contract: Contract, tmp_path: Path) -> None:
        (tmp_path / "items.ndjson").write_text("{}\n")

        ask(
            *("submit", "notes.create", str(tmp_path / "items.ndjson"), "--attempts", "5"),
            *("--stop-on-error", "--options", '{"retry": {"delay": 3}}'),
        )

        (_, sent) = contract.requests[0]
        (options,) = parse_qs(urlsplit(sent).query)["options"]
        assert json.loads(options) == {
            "retry": {"delay": 3, "attempts": 5},
            "stop_on_error": True,
        }

    def test_what_was_not_given_is_not_sent(
        self, ask: Run, contract: Contract, tmp_path: Path
    ) -> None:
        (tmp_path / "items.json").write_text('[{"a": 1}]')

        ask("submit", "notes.create", str(tmp_path / "items.json"))

        assert contract.requests == [("POST", "/api/v1/jobs?operation=notes.create&priority=5")]
        assert contract.bodies == [b'{"a":1}\n']

    def test_a_zero_is_for_the_server_to_judge(
        self, ask: Run, contract: Contract, tmp_path: Path
    ) -> None:
        (tmp_path / "items.ndjson").write_text("{}\n")
        contract.jobs = {"job-1": job()}

        ask("submit", "notes.create", str(tmp_path / "items.ndjson"), "--rate", "0")
        ask("limit", "job-1", "--rate", "0")
        ask("limits", "provider:openai", "--concurrency", "0")

        (options,) = parse_qs(urlsplit(contract.requests[0][1]).query)["options"]
        assert json.loads(options) == {"rate": 0}
        assert json.loads(contract.bodies[1]) == {"reason": "", "rate": 0}
        assert json.loads(contract.bodies[2]) == {"concurrency": 0}

    def test_a_draft_takes_its_items_in_parts_until_it_is_sealed(
        self, ask: Run, contract: Contract, tmp_path: Path
    ) -> None:
        first, second = tmp_path / "first.ndjson", tmp_path / "second.json"
        first.write_text('{"a": 1}\n')
        second.write_text('[{"a": 2}]')
        contract.made = {"status": "draft", "possible": ["append", "cancel", "edit", "seal"]}

        opened = ask("submit", "notes.create", str(first), "--draft", "--key", "k1")
        ask("append", "job-1", str(second), "--part", "1")
        ask("seal", "job-1", "--items", "2")

        assert (opened.code, opened.out) == (0, "job-1\n")
        assert opened.err == "draft; to start it: countermand seal job-1\n"
        sent = [path for verb, path in contract.requests if verb == "POST"]
        assert sent == [
            "/api/v1/jobs",
            "/api/v1/jobs/job-1/items?part=0",
            "/api/v1/jobs/job-1/items?part=1",
            "/api/v1/jobs/job-1/seal",
        ]
        bodies = [body for body in contract.bodies if body]
        described = {"operation": "notes.create", "priority": 5, "name": "", "tags": []}
        assert json.loads(bodies[0]) == {**described, "params": {}, "options": {}, "draft": True}
        assert bodies[1:] == [b'{"a": 1}\n', b'{"a":2}\n', b'{"items": 2}']
        assert contract.headers[0]["Idempotency-Key"] == "k1"

    def test_a_draft_of_nothing_is_not_opened(
        self, ask: Run, contract: Contract, tmp_path: Path
    ) -> None:
        (tmp_path / "items.ndjson").write_text("\n")

        ended = ask("submit", "notes.create", str(tmp_path / "items.ndjson"), "--draft")

        assert ended.code == 2
        assert "has no items" in ended.err
        assert contract.requests == []

    @pytest.mark.usefixtures("impatient")
    def test_a_draft_whose_items_did_not_arrive_is_named(
        self, ask: Run, contract: Contract, tmp_path: Path
    ) -> None:
        (tmp_path / "items.ndjson").write_text("{}\n")
        contract.parts_refused = 503

        ended = ask("submit", "notes.create", str(tmp_path / "items.ndjson"), "--draft")

        assert ended.code == 3
        assert "countermand append job-1 --part 0" in ended.err

    def test_json_is_the_job_alone(self, ask: Run, tmp_path: Path) -> None:
        (tmp_path / "items.ndjson").write_text("{}\n")

        ended = ask("submit", "notes.create", str(tmp_path / "items.ndjson"), "--json")

        assert ended.document["job_id"] == "job-1"
        assert ended.err == ""

    @pytest.mark.parametrize(("ending", "code"), [(WELL, 0), (BADLY, 1)])
    def test_watching_ends_with_the_jobs_exit_code(
        self, ask: Run, contract: Contract, tmp_path: Path, ending: dict[str, object], code: int
    ) -> None:
        (tmp_path / "items.ndjson").write_text("{}\n")
        _ends(contract, **ending)

        ended = ask("submit", "notes.create", str(tmp_path / "items.ndjson"), "--watch")

        assert ended.code == code
        assert ended.out.splitlines()[-1].startswith(f"notes.create {ending['status']} 100.0 %")
        assert ("countermand errors job-1" in ended.err) == (code == 1)

    @pytest.mark.parametrize(
        "counted", [counts(rolled_back=9, failed=1), counts(rolled_back=4, skipped=6)]
    )
    def test_a_job_that_puts_itself_back_has_not_gone_well(
        self, ask: Run, contract: Contract, tmp_path: Path, counted: dict[str, int]
    ) -> None:
        (tmp_path / "items.ndjson").write_text("{}\n")
        _ends(contract, status="rolled_back", version=5, counts=counted, percent=100.0)

        ended = ask("submit", "notes.create", str(tmp_path / "items.ndjson"), "--watch")

        assert ended.code == 1
        assert "rolled back: nothing of it stands" in ended.err

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("--params", "{"), "--params is no JSON"),
            (("--params", "[1]"), "--params must be an object"),
            (("--param", "list"), "write it as KEY=VALUE"),
            (("--options", "{"), "--options is no JSON"),
            (("--options", "[1]"), "--options must be an object"),
            (("absent.ndjson",), "cannot read absent.ndjson"),
            (("--rate", "5", "--options", '{"rate": 7}'), "rate is said twice"),
            (("--attempts", "3", "--options", '{"retry": {"attempts": 2}}'), "attempts is said"),
            (("a.ndjson", "--after", "job-1", "--take", "id=id"), "leave a.ndjson or --take out"),
            (("--draft", "--after", "job-1", "--take", "id=id"), "leave --draft or --take out"),
            (("--draft", "--watch"), "countermand seal --watch"),
        ],
    )
    def test_wrong_input_is_told_without_a_traceback(
        self, ask: Run, arguments: tuple[str, ...], said: str
    ) -> None:
        ended = ask("submit", "notes.create", *arguments)

        assert ended.code == 2
        assert said in ended.err
        assert "Traceback" not in ended.err


class TestWatch:
    def test_each_event_is_a_line_of_json(self, ask: Run, contract: Contract) -> None:
        _ends(contract, **WELL)

        ended = ask("watch", "job-1", "--json")

        assert ended.code == 0
        assert [line["event"] for line in ended.lines] == [
            *("job", "progress", "job.chunks_closed", "progress", "job.chunks_closed"),
            *("progress", "job.finished", "job"),
        ]
        assert ended.lines[-1]["status"] == "completed"

    def test_it_goes_on_after_a_lost_connection(self, ask: Run, contract: Contract) -> None:
        _ends(contract, **WELL)
        contract.drop_after = 1

        ended = ask("watch", "job-1", "--json")

        stored = [line["version"] for line in ended.lines if line["event"].startswith("job.")]
        assert stored == [3, 4, 5]
        assert contract.resumed_from()[:3] == ["2", "3", "4"]

    @pytest.mark.parametrize(
        ("ending", "code"),
        [
            ({"status": "failed", "counts": counts(failed=10)}, 1),
            ({"status": "cancelled", "counts": counts(skipped=10)}, 1),
            ({"status": "rolled_back", "counts": counts(rolled_back=10)}, 0),
            ({"status": "rolled_back", "counts": counts(rolled_back=9, conflict=1)}, 1),
            ({"status": "rollback_incomplete", "counts": counts(rolled_back=9, failed=1)}, 1),
            # It has put itself back: by a limit of failures, a deadline, or a cancel.
            ({"status": "rolled_back", "counts": counts(rolled_back=9, failed=1)}, 1),
            ({"status": "rolled_back", "counts": counts(rolled_back=4, skipped=6)}, 1),
            ({"status": "archived", "archived": {"was": "completed"}}, 0),
            ({"status": "archived", "archived": {"was": "failed"}}, 1),
        ],
    )
    def test_a_job_at_rest_ends_it_at_once(
        self, ask: Run, contract: Contract, ending: dict[str, object], code: int
    ) -> None:
        contract.jobs = {"job-1": job(version=5, percent=100.0, **ending)}

        assert ask("watch", "job-1").code == code


class TestReading:
    def test_jobs_pass_all_filters_on(self, ask: Run, contract: Contract) -> None:
        contract.jobs, contract.next_cursor = {"job-1": job(name="first")}, "abc"

        ended = ask(
            *(
                "jobs",
                "--status",
                "failed",
                "--status",
                "paused",
                "--operation",
                "notes.create",
                "--tag",
                "a",
                "-q",
                "x",
            ),
            *("--after", "2025-01-01", "--before", "2026-01-01", "--sort", "-created_at"),
            *("--limit", "3", "--cursor", "zzz"),
        )

        assert "job-1" in ended.out
        assert "first" in ended.out
        assert ended.err == "there are more: --cursor abc\n"
        assert contract.requests[0][1] == (
            "/api/v1/jobs?limit=3&status=failed&status=paused&operation=notes.create&tag=a&q=x"
            "&created_after=2025-01-01&created_before=2026-01-01&sort=-created_at&cursor=zzz"
        )

    def test_a_page_of_jobs_is_no_longer_than_the_server_gives(
        self, ask: Run, contract: Contract
    ) -> None:
        assert ask("jobs", "--limit", str(MAX_PAGE)).code == 0
        assert contract.requests[0][1] == f"/api/v1/jobs?limit={MAX_PAGE}"

        ended = ask("jobs", "--limit", str(MAX_PAGE + 1))

        assert ended.code == 2
        assert f"less than or equal to {MAX_PAGE}" in ended.err
        assert len(contract.requests) == 1

    def test_jobs_as_json_are_one_page(self, ask: Run, contract: Contract) -> None:
        contract.jobs = {"job-1": job()}

        ended = ask("jobs", "--json")

        assert ended.document == {"items": [job()], "next_cursor": None}
        assert contract.requests[0][1] == "/api/v1/jobs?limit=20"

    def test_a_job_can_be_shown_as_it_was(self, ask: Run, contract: Contract) -> None:
        contract.jobs = {"job-1": job(name="first", tags=["a", "b"])}

        ended = ask("show", "job-1", "--at", "3")

        assert contract.requests[0][1] == "/api/v1/jobs/job-1?at=3"
        for part in ("job-1", "first", "running", "a, b", "10 pending (of 10)"):
            assert part in ended.out

    def test_an_unknown_job_is_told_in_the_servers_words(self, ask: Run) -> None:
        ended = ask("show", "job-9", "--json")

        assert (ended.code, ended.out) == (2, "")
        assert ended.err == (
            "countermand: Not Found: there is no such job; `countermand jobs` lists them\n"
        )

    def test_items_are_a_table_that_says_when_there_are_more(
        self, ask: Run, contract: Contract
    ) -> None:
        contract.items = [
            {"position": n, "status": "succeeded", "result": {"id": n}, "error": None}
            for n in range(60)
        ]

        ended = ask("items", "job-1")

        assert '{"id": 49}' in ended.out
        assert '{"id": 50}' not in ended.out
        assert "there are more" in ended.err

    @pytest.mark.parametrize(
        "arguments", [("--json",), ("--format", "ndjson"), ("--format", "csv")]
    )
    def test_items_stream_in_the_wanted_format(
        self, ask: Run, contract: Contract, arguments: tuple[str, ...]
    ) -> None:
        contract.items = [
            {"position": n, "status": "failed" if n % 2 else "succeeded"} for n in range(5000)
        ]

        ended = ask("items", "job-1", "--status", "failed", *arguments)

        if "csv" in arguments:
            assert ended.out.splitlines()[:2] == ["position,status", "1,failed"]
            assert len(ended.out.splitlines()) == 2501
        else:
            assert ended.lines == contract.items[1::2]

    def test_items_are_chosen_by_status_code_and_record(self, ask: Run, contract: Contract) -> None:
        ask(
            *("items", "job-1", "--status", "failed", "--status", "conflict", "--code", "odd"),
            *("--record", "notes/7", "--json"),
        )

        assert contract.requests == [
            (
                "GET",
                "/api/v1/jobs/job-1/items?status=failed&status=conflict&code=odd&record=notes/7",
            )
        ]

    def test_an_export_has_what_was_sent(self, ask: Run, contract: Contract) -> None:
        contract.items = [{"position": n, "status": "failed", "item": {"n": n}} for n in range(3)]

        ended = ask("export", "job-1", "--status", "failed")

        assert ended.lines == contract.items
        assert contract.requests == [
            ("GET", "/api/v1/jobs/job-1/items?status=failed&include=item&format=ndjson")
        ]

    def test_an_export_to_a_file_is_there_when_it_is_whole(
        self, ask: Run, contract: Contract, tmp_path: Path
    ) -> None:
        contract.items = [{"position": n, "status": "failed"} for n in range(3)]
        path = tmp_path / "failed.csv"

        ended = ask("export", "job-1", "--format", "csv", "-o", str(path))

        assert (ended.code, ended.out) == (0, "")
        assert path.read_text().splitlines() == [
            *("position,status", "0,failed", "1,failed", "2,failed")
        ]
        contract.problem = {"status": 503, "title": "Service Unavailable"}
        assert ask("export", "job-1", "-o", str(tmp_path / "none")).code == 3
        assert ask("export", "job-1", "-o", str(tmp_path / "no" / "where")).code == 2
        assert [left.name for left in tmp_path.iterdir()] == ["failed.csv"]

    def test_events_come_in_pages(self, ask: Run, contract: Contract) -> None:
        contract.events = [event(version) for version in range(1, 451)]

        ended = ask("events", "job-1", "--json", "--after", "10")

        assert [line["version"] for line in ended.lines] == list(range(11, 451))
        assert len(contract.requests) == 3

    def test_followed_events_are_the_stored_ones(self, ask: Run, contract: Contract) -> None:
        contract.events = [event(1, "job.submitted"), event(2), FINISHED]

        ended = ask("events", "job-1", "--follow")

        assert [line.split()[0] for line in ended.out.splitlines()] == ["v1", "v2", "v5"]
        assert "job.finished" in ended.out

    def test_errors_are_grouped(self, ask: Run, contract: Contract) -> None:
        contract.groups = [{"code": "late", "signature": "too late", "count": 3, "samples": []}]

        assert "too late" in ask("errors", "job-1").out
        assert ask("errors", "job-1", "--json").document == {"items": contract.groups}

    def test_no_errors_are_said_so(self, ask: Run) -> None:
        ended = ask("errors", "job-1")

        assert (ended.code, ended.out, ended.err) == (0, "", "no item has failed\n")

    def test_operations_are_listed_and_one_is_shown_whole(
        self, ask: Run, contract: Contract
    ) -> None:
        contract.operations = [
            {"kind": "notes.create", "reversible": "before_image", "description": "Adds.\nMore."},
            {"kind": "notes.delete", "reversible": "no", "item_schema": {"type": "object"}},
        ]

        assert "Adds." in ask("operations").out
        assert ask("operations", "notes.delete").document == contract.operations[1]
        assert ask("operations", "--json").document == {"items": contract.operations}
        assert ask("operations", "notes.burn").code == 2


class TestSteering:
    @pytest.mark.parametrize(
        "verb",
        [
            *("pause", "resume", "cancel", "retry", "undo", "approve", "reject"),
            *("hold", "release", "shred", "archive"),
        ],
    )
    def test_a_verb_is_posted_with_its_reason(
        self, ask: Run, contract: Contract, verb: str
    ) -> None:
        contract.jobs = {"job-1": job()}

        ended = ask(verb, "job-1", "--reason", "because", "--json")

        assert ended.code == 0
        assert ended.document["job_id"] == "job-1"
        assert contract.requests == [("POST", f"/api/v1/jobs/job-1/{verb}")]
        assert json.loads(contract.bodies[0]) == {"reason": "because"}

    def test_caps_and_priority_are_adjusted(self, ask: Run, contract: Contract) -> None:
        contract.jobs = {"job-1": job()}
        ask("limit", "job-1", "--rate", "50", "--concurrency", "4", "--reason", "peak")
        ask("limit", "job-1", "--no-rate", "--no-concurrency")
        ask("priority", "job-1", "9")

        assert {path for _, path in contract.requests} == {"/api/v1/jobs/job-1/adjust"}
        assert [json.loads(body) for body in contract.bodies] == [
            {"reason": "peak", "rate": 50, "concurrency": 4},
            {"reason": "", "lift": ["rate", "concurrency"]},
            {"reason": "", "priority": 9},
        ]
        assert ask("priority", "job-1", "11").code == 2

    def test_moments_are_adjusted(self, ask: Run, contract: Contract) -> None:
        contract.jobs = {"job-1": job()}
        ask("schedule", "job-1", "--start-at", "2026-12-24T18:00+01:00", "--no-deadline")
        ask("schedule", "job-1", "--now", "--deadline", "2026-12-25T06:00")
        wrong = ask("schedule", "job-1", "--deadline", "tomorrow")

        first, second = (json.loads(body) for body in contract.bodies)
        assert {path for _, path in contract.requests} == {"/api/v1/jobs/job-1/adjust"}
        assert first["start_at"] == "2026-12-24T18:00:00+01:00"
        assert (first["lift"], second["lift"]) == (["deadline"], ["start_at"])
        assert datetime.fromisoformat(second["deadline"]).tzinfo is not None
        assert wrong.code == 2
        assert "--deadline tomorrow: write it as" in wrong.err

    def test_a_submit_says_what_stands_against_its_deadline(
        self, ask: Run, contract: Contract, tmp_path: Path
    ) -> None:
        late = {"at": "2026-12-25T06:00:00Z", "then": "warn", "in_time": False, "warning": "late"}
        contract.made = {"deadline": late}
        (tmp_path / "items.ndjson").write_text("{}\n")

        ended = ask(
            *("submit", "notes.create", str(tmp_path / "items.ndjson")),
            *("--start-at", "2026-12-24T18:00Z", "--deadline", "2026-12-25T06:00Z"),
        )

        (options,) = parse_qs(urlsplit(contract.requests[0][1]).query)["options"]
        assert json.loads(options) == {
            "start_at": "2026-12-24T18:00:00+00:00",
            "deadline": "2026-12-25T06:00:00+00:00",
        }
        assert "warning: late" in ended.err
        assert "2026-12-25" in ask("show", "job-1").out

    def test_items_of_a_draft_are_edited(self, ask: Run, contract: Contract) -> None:
        contract.jobs = {"job-1": job()}
        ask("edit", "job-1", "--edit", '17={"id": 9}', "--drop", "3", "--drop", "4")

        assert contract.requests == [("POST", "/api/v1/jobs/job-1/edit")]
        assert json.loads(contract.bodies[0]) == {
            "reason": "",
            "edits": [{"item": 17, "body": {"id": 9}}],
            "drop": [3, 4],
        }

    def test_a_filter_goes_as_a_document(self, ask: Run, contract: Contract) -> None:
        where = {"op": "equals", "column": "project_id", "value": 7}
        ended = ask(
            *("select", "notes.update", "notes", "--where", json.dumps(where), "--key", "k1"),
            *("--each", '{"label": "PLACE"}', "--confirm", "all", "--dry-run", "-p", "a=1"),
        )

        assert (ended.code, ended.out) == (0, "job-1\n")
        assert contract.headers[0]["Idempotency-Key"] == "k1"
        assert json.loads(contract.bodies[0]) == {
            "operation": "notes.update",
            "select": {
                "table": "notes",
                "where": where,
                "each": {"label": "PLACE"},
                "confirm": "all",
            },
            "options": {"dry_run": True},
            "params": {"a": 1},
        }

    def test_a_job_is_submitted_with_caps(
        self, ask: Run, contract: Contract, tmp_path: Path
    ) -> None:
        items = tmp_path / "items.ndjson"
        items.write_text("{}\n")
        ask("submit", "notes.add", str(items), "--rate", "2.5", "--concurrency", "3")
        (query,) = (parse_qs(urlsplit(path).query) for _, path in contract.requests)
        assert json.loads(query["options"][0]) == {"rate": 2.5, "concurrency": 3}

    def test_a_job_is_submitted_behind_others(
        self, ask: Run, contract: Contract, tmp_path: Path
    ) -> None:
        items = tmp_path / "items.ndjson"
        items.write_text("{}\n")
        ask("submit", "notes.add", str(items), "--after", "job-1", "--after", "job-2:any")
        ask("submit", "notes.drop", "--after", "job-1:partly", "--take", "id=note", "--name", "n")

        (query, _) = (parse_qs(urlsplit(path).query) for _, path in contract.requests)
        after = [{"job_id": "job-1"}, {"job_id": "job-2", "end": "any"}]
        assert json.loads(query["options"][0]) == {"after": after}
        taken = {"job_id": "job-1", "end": "partly", "consume": {"id": "note"}}
        assert json.loads(contract.bodies[1]) == {
            "operation": "notes.drop",
            "name": "n",
            "priority": 5,
            "tags": [],
            "params": {},
            "options": {"after": [taken]},
        }
        for wrong in (("--take", "id=id"), ("--after", "job-1", "--take", "id")):
            assert ask("submit", "notes.drop", *wrong).code == 2

    def test_a_batch_is_submitted_shown_and_undone_in_part(
        self, ask: Run, contract: Contract, tmp_path: Path
    ) -> None:
        document = tmp_path / "batch.json"
        document.write_text('{"steps": [{"name": "load"}]}')
        ended = ask("batch", str(document), "--key", "once")
        assert (ended.code, ended.out.strip()) == (0, "job-1")
        assert json.loads(contract.bodies[0]) == {"steps": [{"name": "load"}]}
        assert contract.headers[0]["Idempotency-Key"] == "once"

        shown = ask("show", "job-1").out
        for word in ("load", "notes.load", "running", "first", "job-1-1", "2 pending"):
            assert word in shown

        ask("undo", "job-1", "--to", "loaded")
        ask("undo", "job-1", "--branch", "load")
        assert [json.loads(body) for body in contract.bodies[-2:]] == [
            {"reason": "", "to": "loaded"},
            {"reason": "", "branch": "load"},
        ]

    def test_a_batch_from_standard_input_that_is_no_text_is_told(
        self, ask: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"name": "\xff"}')))
        ended = ask("batch")
        assert ended.code == 2
        assert "cannot read -" in ended.err

    @pytest.mark.parametrize(("text", "said"), [("{", "is no JSON"), (None, "cannot read")])
    def test_a_batch_that_cannot_be_read_is_told(
        self, ask: Run, tmp_path: Path, text: str | None, said: str
    ) -> None:
        document = tmp_path / "batch.json"
        if text is not None:
            document.write_text(text)
        ended = ask("batch", str(document))
        assert ended.code == 2
        assert said in ended.err

    def test_a_retry_names_its_items(self, ask: Run, contract: Contract) -> None:
        ask("retry", "job-1", "-i", "3", "--item", "9", "--reason", "mended")
        ask("retry", "job-1", "--code", "busy", "--signature", "it is busy for …")
        ask("retry", "job-1", "--unattempted")
        ask("retry", "job-1", "--code", "busy", "--patch", '{"name": null}')
        ask("retry", "job-1", "--edit", '7={"a": 1}', "--edit", "9=[]")

        assert [json.loads(body) for body in contract.bodies] == [
            {"reason": "mended", "items": [3, 9]},
            {"reason": "", "codes": ["busy"], "signatures": ["it is busy for …"]},
            {"reason": "", "unattempted": True},
            {"reason": "", "codes": ["busy"], "patch": {"name": None}},
            {"reason": "", "edits": [{"item": 7, "body": {"a": 1}}, {"item": 9, "body": []}]},
        ]
        for wrong in (("--edit", "7"), ("--edit", "x={}"), ("--edit", "7={"), ("--patch", "{")):
            assert ask("retry", "job-1", *wrong).code == 2

    def test_an_undo_names_its_part_and_its_force(self, ask: Run, contract: Contract) -> None:
        contract.jobs = {"job-1": job()}
        ask("undo", "job-1", "-i", "3", "-i", "9")
        ask("undo", "job-1", "--chunk", "2", "--force", "--reason", "mine")
        ask("undo", "job-1", "--record", "labels/9")
        ask("cancel", "job-1", "--roll-back", "--graceful")

        assert [json.loads(body) for body in contract.bodies] == [
            {"reason": "", "items": [3, 9]},
            {"reason": "mine", "chunks": [2], "force": True},
            {"reason": "", "records": ["labels/9"]},
            {"reason": "", "roll_back": True, "graceful": True},
        ]
        contract.preview = {}
        ask("undo", "job-1", "--preview", "--json", "-i", "3", "--force")
        assert contract.requests[-1] == (
            "GET",
            "/api/v1/jobs/job-1/undo-preview?limit=50&item=3&force=true",
        )

    def test_a_part_of_a_batch_has_no_preview(self, ask: Run, contract: Contract) -> None:
        for part in (("--to", "loaded"), ("--branch", "load")):
            ended = ask("undo", "job-1", "--preview", *part)
            assert ended.code == 2
            assert "a batch has no preview" in ended.err
        assert contract.requests == []

    def test_a_preview_of_an_undo_names_what_is_in_the_way(
        self, ask: Run, contract: Contract
    ) -> None:
        reason = "changed after the job, at version 3"
        one = {"position": 7, "record": "notes/9", "by": "anna", "reason": reason}
        contract.preview = {
            "job_id": "job-1",
            "version": 5,
            "direction": "rollback",
            "exact": True,
            "items": 1000,
            "restored": 998,
            "conflict": 2,
            "failed": 0,
            "outside": ["mail", "bill"],
            "compensated": 700,
            "compensations": [1, 2, 3, 6],
            "obstructions": [one],
            "next_cursor": "7",
        }

        ended = ask("undo", "job-1", "--preview")

        assert contract.requests == [("GET", "/api/v1/jobs/job-1/undo-preview?limit=50")]
        assert ended.code == 0
        for said in ("notes/9", "anna", reason):
            assert said in ended.out
        assert "998 of 1,000 items would be put back, 2 in conflict" in ended.err
        assert "700 would be compensated outside (mail and bill)" in ended.err
        assert "compensated outside: items 1 to 3, 6" in ended.err
        assert ask("undo", "job-1", "--preview", "--json").document == contract.preview

    def test_what_could_not_be_taken_back_is_named(self, ask: Run, contract: Contract) -> None:
        error = {"code": "busy", "message": "nobody answers", "pointer": "", "retryable": True}
        one = {
            "position": 17,
            "stage": "failed",
            "generation": 1,
            "attempts": 5,
            "error": error,
            "at": "2026-01-01T00:00:00+00:00",
        }
        contract.compensations = {"items": [one], "next_cursor": "17"}

        ended = ask("compensations", "job-1", "--stage", "failed", "--stage", "conflict")

        assert contract.requests == [
            ("GET", "/api/v1/jobs/job-1/compensations?limit=20&stage=failed&stage=conflict")
        ]
        for said in ("17", "failed", "busy: nobody answers"):
            assert said in ended.out
        assert "--cursor 17" in ended.err
        shown = ask("compensations", "job-1", "--cursor", "3", "--json")
        assert shown.document == contract.compensations
        assert contract.requests[-1][1].endswith("?limit=20&cursor=3")

    @pytest.mark.parametrize("verb", ["resume", "retry", "undo"])
    def test_what_takes_time_can_be_watched(self, ask: Run, contract: Contract, verb: str) -> None:
        _ends(contract, **WELL)

        assert ask(verb, "job-1", "--watch").code == 0

    @pytest.mark.parametrize(
        ("verb", "code"),
        [("resume", 1), ("retry", 1), ("approve", 1), ("seal", 1), ("undo", 0)],
    )
    def test_only_who_asks_for_an_undo_waits_for_one(
        self, ask: Run, contract: Contract, verb: str, code: int
    ) -> None:
        _ends(contract, status="rolled_back", version=5, counts=counts(rolled_back=9, failed=1))

        ended = ask(verb, "job-1", "--watch")

        assert ended.code == code
        assert ("nothing of it stands" in ended.err) == (code == 1)

    def test_a_refusal_is_told_in_the_servers_words(self, ask: Run, contract: Contract) -> None:
        contract.problem = {
            "status": 409,
            "title": "Conflict",
            "detail": "the job is running: undo is not possible; possible: pause, cancel",
        }

        ended = ask("undo", "job-1")

        assert ended.code == 2
        assert "possible: pause, cancel" in ended.err


class TestOperating:
    def test_workers_are_listed_with_what_they_use(self, ask: Run) -> None:
        shown = ask("workers").out
        assert "worker-1" in shown
        assert "12 of 10 MiB" in shown
        assert ask("workers", "--json").document["items"][0]["slots"] == 2

    def test_shares_are_shown_and_set(self, ask: Run, contract: Contract) -> None:
        assert ask("weights", "shop", "3").code == 0
        assert json.loads(contract.bodies[0]) == {"weight": 3}
        assert ask("weights").out == "shop  3\n"
        assert ask("weights", "shop").code == 2

    def test_a_rule_of_retention_is_set_shown_and_removed(
        self, ask: Run, contract: Contract
    ) -> None:
        ended = ask("retention", "set", "notes.*", "--shred-after", "90d", "--archive-after", "2y")
        assert (ended.code, ended.err) == (
            0,
            "everybody's jobs of notes.*: items shredded after 90d, archived after 2y\n",
        )
        said = {"tenant": "*", "kind": "notes.*", "shred_after": 7776000, "archive_after": 63072000}
        assert json.loads(contract.bodies[0]) == said
        asked = ("set", "*", "--keep", "--tenant", "shop", "--reason", "case", "--json")
        assert ask("retention", *asked).document["kind"] == "*"
        assert json.loads(contract.bodies[1]) == {
            "tenant": "shop",
            "kind": "*",
            "keep": True,
            "reason": "case",
        }
        shown = ask("retention", "list").out
        assert all(word in shown for word in ("notes.*", "90d", "never", "grace"))
        assert "set" in ask("retention", "changes").out
        assert ask("retention", "remove", "notes.*", "--reason", "no").code == 0
        assert contract.requests[-1] == ("DELETE", "/api/v1/retention/*/notes.*?reason=no")

    @pytest.mark.parametrize("age", ["90", "d", "-1d", "1.5.2h", "90 d", "nan", "1e3d"])
    def test_an_age_has_a_unit(self, ask: Run, contract: Contract, age: str) -> None:
        ended = ask("retention", "set", "*", "--shred-after", age)
        assert ended.code == 2
        assert "write it as" in ended.err or "--shred-after" in ended.err
        assert contract.requests == []

    def test_an_archived_job_says_where_its_items_are(self, ask: Run, contract: Contract) -> None:
        file = {"name": "job-1/ab.ndjson", "sha256": "ab" * 32, "size": 7}
        word = {"by": "grace", "at": "2026-01-01T00:00:00Z", "reason": "", "was": "failed"}
        contract.jobs = {"job-1": job(status="archived", archived={**word, "file": file})}
        shown = ask("show", "job-1").out
        assert "by grace; it was failed; its items are in job-1/ab.ndjson" in shown

    def test_shared_limits_are_shown_and_changed(self, ask: Run, contract: Contract) -> None:
        assert ask("limits", "queue:shop", "--rate", "10", "--lift", "concurrency").code == 0
        assert contract.requests[-1] == ("POST", "/api/v1/limits/queue:shop")
        assert json.loads(contract.bodies[0]) == {"rate": 10, "lift": ["concurrency"]}
        shown = ask("limits").out
        for said in ("provider:openai", "10/s", "settings"):
            assert said in shown
        assert ask("limits", "--json").document["items"][0]["waiting"] == 1
        assert ask("limits", "--rate", "3").code == 2

    def test_a_job_says_why_it_waits(self, ask: Run, contract: Contract) -> None:
        since = "2026-01-01T00:00:00Z"
        told = {"reason": "paused", "text": "it is paused; resume it", "since": since}
        contract.jobs = {"job-1": job(waiting=told)}
        assert "it is paused; resume it (since 20" in ask("show", "job-1").out


class TestExitCodes:
    @pytest.mark.parametrize(
        "arguments",
        [
            ("jobs",),
            ("show", "job-1", "--json"),
            ("watch", "job-1"),
            ("pause", "job-1"),
            ("submit", "notes.create", "/dev/null"),
        ],
    )
    def test_no_server_is_3(self, run: Run, arguments: tuple[str, ...]) -> None:
        ended = run(*arguments)

        assert (ended.code, ended.out) == (3, "")
        assert "(Connection refused); is `countermand serve` running there?" in ended.err
        assert "Traceback" not in ended.err

    @pytest.mark.usefixtures("impatient")
    def test_a_server_that_cannot_now_is_3(self, ask: Run, contract: Contract) -> None:
        contract.problem = {"status": 503, "title": "Service Unavailable", "detail": "disk full"}

        ended = ask("pause", "job-1")

        assert ended.code == 3
        assert "disk full" in ended.err

    @pytest.mark.usefixtures("impatient")
    @pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
    @pytest.mark.parametrize("verb", ["show", "undo"])
    def test_what_may_pass_by_itself_is_3(
        self, ask: Run, contract: Contract, status: int, verb: str
    ) -> None:
        contract.problem = {"status": status, "title": "not now"}

        assert ask(verb, "job-1").code == 3

    @pytest.mark.parametrize(
        "arguments",
        [("show",), ("show", "a", "b"), ("nonsense",), ("jobs", "--limit", "0"), ("show", "a/b")],
    )
    def test_wrong_usage_is_2(self, run: Run, arguments: tuple[str, ...]) -> None:
        ended = run(*arguments)

        assert (ended.code, ended.out) == (2, "")
        assert ended.err

    @pytest.mark.parametrize(
        ("name", "arguments"),
        [
            ("--to", ("undo", "job-1", "--to", "")),
            ("--branch", ("undo", "job-1", "--branch=")),
            ("--record", ("undo", "job-1", "--record", "notes/1", "--record", "")),
            ("JOB", ("undo", "", "--key", "k1")),
            ("--key", ("undo", "job-1", "--key", "")),
            ("--patch", ("retry", "job-1", "--patch", "")),
            ("--code", ("retry", "job-1", "--code", "")),
            ("--code", ("export", "job-1", "--code", "")),
            ("--output", ("export", "job-1", "--output", "")),
            ("--record", ("items", "job-1", "--record", "")),
            ("--tag", ("jobs", "--tag", "")),
            ("--after", ("jobs", "--after", "")),
            ("--where", ("select", "notes.update", "notes", "--where", "")),
            ("--digest", ("apply", "job-1", "--digest", "")),
            ("NAME", ("limits", "")),
            ("--tenant", ("retention", "set", "*", "--keep", "--tenant", "")),
            ("--state", ("webhook", "deliveries", "hook-1", "--state", "")),
            ("JOB", ("audit", "verify", "")),
            ("--data-dir", ("db", "path", "--data-dir", "")),
            ("--database", ("db", "path", "--database", "")),
        ],
    )
    def test_what_is_given_empty_is_2_and_nothing_is_asked(
        self, ask: Run, contract: Contract, name: str, arguments: tuple[str, ...]
    ) -> None:
        """It comes of a variable that was never set, and would be all in place of a part."""
        ended = ask(*arguments)

        assert (ended.code, ended.out) == (2, "")
        assert f"Invalid value for '{name}'" in ended.err
        assert "it is empty" in ended.err
        assert contract.requests == []

    def test_what_may_be_empty_goes_on(self, ask: Run, contract: Contract) -> None:
        contract.jobs = {"job-1": job()}

        assert ask("undo", "job-1", "--reason", "").code == 0
        assert ask("jobs", "--search", "").code == 0
        ask("items", "job-1", "--key", "", "--json")
        assert contract.requests[-1] == ("GET", "/api/v1/jobs/job-1/items?key=")

    def test_a_server_that_is_elsewhere_is_2(self, ask: Run, contract: Contract) -> None:
        contract.elsewhere = "https://jobs.example.org/api/v1/jobs/job-1"

        ended = ask("show", "job-1")

        assert ended.code == 2
        assert "https://jobs.example.org; put that address" in ended.err

    def test_an_address_that_is_none_is_2(self, run: Run) -> None:
        assert run("jobs", url="localhost").code == 2


class TestTheProcess:
    """What only a process of its own shows."""

    def test_a_reader_that_has_seen_enough_is_no_error(self, contract: Contract) -> None:
        contract.items = [{"position": n, "status": "succeeded"} for n in range(100_000)]
        command = [sys.executable, "-m", "streams.cli.main", "items", "job-1", "--json"]
        with subprocess.Popen(
            [*command, "--url", contract.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            process.stdout.close()

            assert process.stderr.read() == b""
            assert process.wait(20) == 0

    def test_help_loads_nothing_heavy(self) -> None:
        program = (
            "import sys\n"
            "from streams.cli.main import main\n"
            "sys.argv = ['countermand', '--help']\n"
            "try:\n    main()\n"
            "finally:\n"
            "    heavy = {'aiohttp', 'sqlalchemy', 'faust', 'pydantic', 'asyncio', 'psutil'}\n"
            "    assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        )

        ended = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
        )

        assert ended.returncode == 0, ended.stderr
        assert "countermand serve" in ended.stdout

    def test_there_is_no_colour_where_no_terminal_is(self, contract: Contract) -> None:
        contract.jobs = {"job-1": job(status="failed")}

        ended = subprocess.run(
            [sys.executable, "-m", "streams.cli.main", "jobs", "--url", contract.url],
            capture_output=True,
            timeout=30,
            check=True,
        )

        assert b"failed" in ended.stdout
        assert b"\x1b" not in ended.stdout
