"""What is asked of a job has a key, so that a lost answer is no second command."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.contract_server import Contract, job

KEY = "Idempotency-Key"
VERBS = [
    *[("pause",), ("resume",), ("cancel",), ("retry",), ("undo",), ("approve",), ("reject",)],
    *[("hold",), ("release",), ("shred",), ("archive",), ("seal",)],
    *[("limit", "--rate", "5"), ("schedule", "--now"), ("edit", "--drop", "3")],
]
PENDING = {"status": 503, "title": "Service Unavailable", "detail": "it is not decided yet"}


@pytest.fixture(autouse=True)
def a_job(contract: Contract) -> None:
    contract.jobs = {"job-1": job()}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_whose_answer_was_lost_is_asked_again_by_its_key(
    ask: Run, contract: Contract, verb: tuple[str, ...]
) -> None:
    contract.lost = 2

    ended = ask(verb[0], "job-1", *verb[1:])

    assert (ended.code, ended.out) == (0, "job-1\n")
    assert len(contract.done) == 1
    assert len({headers[KEY] for headers in contract.headers}) == 1
    assert len(contract.requests) == 3
    assert "asking again" in ended.err


@pytest.mark.parametrize("verb", VERBS)
def test_the_key_of_a_verb_may_be_ones_own(
    ask: Run, contract: Contract, verb: tuple[str, ...]
) -> None:
    for _ in range(2):
        assert ask(verb[0], "job-1", *verb[1:], "--key", "once").code == 0

    assert [headers[KEY] for headers in contract.headers] == ["once", "once"]
    assert len(contract.done) == 1


def test_a_priority_has_a_key_too(ask: Run, contract: Contract) -> None:
    for _ in range(2):
        assert ask("priority", "job-1", "9", "--key", "once").code == 0

    assert contract.done == ["adjust"]


def test_each_call_has_a_key_of_its_own(ask: Run, contract: Contract) -> None:
    for _ in range(2):
        assert ask("undo", "job-1").code == 0

    assert contract.done == ["undo", "undo"]
    assert len({headers[KEY] for headers in contract.headers}) == 2


@pytest.mark.usefixtures("impatient")
def test_when_patience_ends_the_key_is_named(ask: Run, contract: Contract) -> None:
    contract.lost = 10_000

    ended = ask("undo", "job-1")

    assert ended.code == 3
    (key,) = {headers[KEY] for headers in contract.headers}
    assert f"repeat it with --key {key}" in ended.err
    contract.lost = 0
    assert ask("undo", "job-1", "--key", key).code == 0
    assert contract.done == ["undo"]


@pytest.mark.usefixtures("impatient")
def test_what_is_not_decided_yet_is_asked_for_again_and_its_key_is_named(
    ask: Run, contract: Contract
) -> None:
    contract.problem = PENDING

    ended = ask("undo", "job-1", "--key", "mine")

    assert ended.code == 3
    assert "it is not decided yet" in ended.err
    assert "repeat it with --key mine" in ended.err
    assert len(contract.requests) > 1


def test_of_what_broke_the_key_is_named_and_it_is_left_at_that(
    ask: Run, contract: Contract
) -> None:
    contract.problem = {"status": 500, "title": "Internal Server Error"}

    ended = ask("undo", "job-1", "--key", "mine")

    assert ended.code == 3
    assert "repeat it with --key mine" in ended.err
    assert len(contract.requests) == 1


def test_a_refusal_is_not_asked_for_again(ask: Run, contract: Contract) -> None:
    contract.problem = {"status": 409, "title": "Conflict"}

    ended = ask("undo", "job-1")

    assert ended.code == 2
    assert "--key" not in ended.err
    assert len(contract.requests) == 1


def test_where_nobody_answers_nothing_is_repeated(run: Run) -> None:
    ended = run("undo", "job-1")

    assert ended.code == 3
    assert "--key" not in ended.err
    assert "asking again" not in ended.err


@pytest.mark.parametrize("wrong", ["a\nb", "\N{SNOWMAN}", "x" * 256])
def test_a_key_that_is_none_is_refused_in_words(ask: Run, contract: Contract, wrong: str) -> None:
    ended = ask("undo", "job-1", "--key", wrong)

    assert ended.code == 2
    assert "--key must be 1 to 255 printable ASCII characters" in ended.err
    assert contract.requests == []


@pytest.mark.parametrize(
    "submit",
    [
        ("submit", "notes.create", "items.ndjson"),
        ("submit", "notes.create", "items.ndjson", "--draft"),
        ("submit", "notes.drop", "--after", "job-1", "--take", "id=id"),
        ("select", "notes.update", "notes"),
        ("batch", "batch.json"),
        ("apply", "job-1"),
        ("append", "job-1", "items.ndjson", "--part", "1"),
    ],
)
def test_a_job_whose_answer_was_lost_is_there_once(
    ask: Run,
    contract: Contract,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    submit: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "items.ndjson").write_text('{"a": 1}\n')
    (tmp_path / "batch.json").write_text('{"steps": []}')
    contract.lost = 1

    ended = ask(*submit)

    assert ended.code == 0
    first, second = [n for n, (verb, _) in enumerate(contract.requests) if verb == "POST"][:2]
    assert contract.requests[first] == contract.requests[second]
    assert contract.bodies[first] == contract.bodies[second] != b""
    assert contract.headers[first].get(KEY) == contract.headers[second].get(KEY)
    assert (KEY in contract.headers[first]) == (submit[0] != "append")


def test_what_came_from_a_pipe_cannot_be_sent_again_and_its_key_is_named(
    ask: Run, contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    contract.lost = 1
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Pipe(b'{"a": 1}\n')))

    ended = ask("submit", "notes.create")

    assert ended.code == 3
    assert len(contract.requests) == 1
    assert f"repeat it with --key {contract.headers[0][KEY]}" in ended.err


def test_json_is_nothing_but_the_answer(ask: Run, contract: Contract) -> None:
    contract.lost = 1

    ended = ask("pause", "job-1", "--json")

    assert ended.document["job_id"] == "job-1"
    assert json.loads(contract.bodies[0]) == {"reason": ""}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("status", [408, 425, 429])
def test_what_was_not_done_is_not_told_as_if_nobody_knew(
    ask: Run, contract: Contract, status: int
) -> None:
    contract.problem = {"status": status, "title": "not now"}

    ended = ask("undo", "job-1", "--key", "mine")

    assert ended.code == 3
    assert ended.err == "the server cannot now; asking again\ncountermand: not now\n"
    assert len(contract.requests) > 1


@pytest.mark.usefixtures("impatient")
def test_a_lost_answer_is_in_doubt_whatever_is_said_after_it(ask: Run, contract: Contract) -> None:
    contract.lost, contract.busy = 1, True

    ended = ask("undo", "job-1", "--key", "mine")

    assert ended.code == 3
    for said in ("what became of it; asking again", "cannot now; asking again", "--key mine"):
        assert said in ended.err


@pytest.mark.parametrize(
    "answer",
    [
        ("text/html", "<p>Who are you?"),
        ("application/json", "[]"),
        ("application/json", "{"),
        ("application/json", ""),
    ],
)
@pytest.mark.parametrize(
    "arguments",
    [
        ("undo", "job-1"),
        ("submit", "notes.create", "items.ndjson"),
        ("append", "job-1", "items.ndjson", "--part", "1"),
        ("weights", "shop", "3"),
        ("show", "job-1"),
    ],
)
def test_what_answers_in_the_place_of_the_server_is_told_once(
    ask: Run,
    contract: Contract,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: tuple[str, str],
    arguments: tuple[str, ...],
) -> None:
    """A proxy's login page, most of the time."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "items.ndjson").write_text('{"a": 1}\n')
    contract.answer = answer

    ended = ask(*arguments)

    assert (ended.code, ended.out) == (2, "")
    assert "something else than Countermand answers at" in ended.err
    assert "check the address" in ended.err
    assert "asking again" not in ended.err
    assert len(contract.requests) == 1
