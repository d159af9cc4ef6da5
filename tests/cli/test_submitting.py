"""Of a job more may be said than fits into an address: it goes as a draft, items, and a seal."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from streams.cli.client import Client
from streams.cli.job_options import Described
from streams.cli.submitting import appended, submitted
from tests.cli.conftest import Ended, Run
from tests.cli.contract_server import Contract

APPEND = "/api/v1/jobs/job-1/items?part=0"
LONG = json.dumps({"text": "x" * 9000})
Verb = Callable[[Client], Coroutine[Any, Any, Any]]


@pytest.fixture
def submit(ask: Run, contract: Contract, tmp_path: Path) -> Run:
    (tmp_path / "items.ndjson").write_text('{"a": 1}\n')
    contract.made = {"status": "draft"}

    def command(*arguments: str) -> Ended:
        return ask("submit", "notes.create", str(tmp_path / "items.ndjson"), *arguments)

    return command


def _posted(contract: Contract) -> list[tuple[str, bytes, dict[str, str]]]:
    asked = zip(contract.requests, contract.bodies, contract.headers, strict=True)
    return [(path, body, headers) for (verb, path), body, headers in asked if verb == "POST"]


@pytest.mark.parametrize(
    "said",
    [("--params", LONG), ("--options", json.dumps({"tolerate": ["x" * 9000]}))],
)
def test_long_params_go_in_a_body(submit: Run, contract: Contract, said: tuple[str, str]) -> None:
    ended = submit(*said, "--tag", "t", "--key", "mine")

    assert (ended.code, ended.out) == (0, "job-1\n")
    (opened, body, first), (appended, items, _), (sealed, _, last) = _posted(contract)
    assert (opened, appended, sealed) == (
        "/api/v1/jobs",
        APPEND,
        "/api/v1/jobs/job-1/seal",
    )
    described = json.loads(body)
    assert (described["draft"], described["tags"]) == (True, ["t"])
    assert described[said[0].removeprefix("--")] == json.loads(said[1])
    assert items == b'{"a": 1}\n'
    assert first["Idempotency-Key"] == last["Idempotency-Key"] == "mine"


def test_a_long_name_of_other_letters_goes_in_a_body(submit: Run, contract: Contract) -> None:
    """A letter outside of ASCII takes up to twelve bytes of an address."""
    assert submit("--name", "\N{HIRAGANA LETTER A}" * 500).code == 0
    assert _posted(contract)[0][0] == "/api/v1/jobs"


def test_what_is_short_is_one_request(submit: Run, contract: Contract) -> None:
    assert submit("--params", json.dumps({"text": "x" * 900})).code == 0
    assert len(_posted(contract)) == 1


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_lost_answers_are_asked_for_again(submit: Run, contract: Contract, lost: int) -> None:
    contract.lost = lost

    assert submit("--params", LONG).code == 0
    assert contract.done == ["seal"]
    assert (
        len({headers.get("Idempotency-Key") for _, _, headers in _posted(contract)} - {None}) == 1
    )


def test_of_what_is_refused_no_draft_is_left(submit: Run, contract: Contract) -> None:
    contract.parts_refused = 422

    ended = submit("--params", LONG)

    assert ended.code == 2
    assert "the part is refused" in ended.err
    path, _, headers = _posted(contract)[-1]
    assert path == "/api/v1/jobs/job-1/cancel"
    assert headers["If-Match"] == '"1"', "whatever has become of it since is not cancelled"


def test_items_that_cannot_be_read_leave_no_draft(
    ask: Run, contract: Contract, tmp_path: Path
) -> None:
    contract.made = {"status": "draft"}
    many = [{"text": "x" * 1000} for _ in range(600)]
    (tmp_path / "items.json").write_text(json.dumps([*many, {"text": "\ud800"}]))

    ended = ask("submit", "notes.create", str(tmp_path / "items.json"), "--params", LONG)

    assert ended.code == 2
    assert "item 600 " in ended.err
    assert contract.requests[-1] == ("POST", "/api/v1/jobs/job-1/cancel")


def test_a_job_that_was_there_already_is_never_cancelled(submit: Run, contract: Contract) -> None:
    contract.made, contract.parts_refused = {"status": "running"}, 409

    assert submit("--params", LONG, "--key", "mine").code == 2
    assert contract.done == []


@pytest.mark.usefixtures("impatient")
def test_a_draft_that_nobody_can_go_on_with_now_is_named_with_its_key(
    submit: Run, contract: Contract
) -> None:
    contract.parts_refused = 503

    ended = submit("--params", LONG, "--key", "mine")

    assert ended.code == 3
    assert "repeat it with --key mine" in ended.err
    assert "draft job-1 is open" in ended.err
    assert contract.done == []


def test_no_draft_is_opened_for_nothing(ask: Run, contract: Contract, tmp_path: Path) -> None:
    (tmp_path / "items.ndjson").write_text("\n")

    ended = ask("submit", "notes.create", str(tmp_path / "items.ndjson"), "--params", LONG)

    assert ended.code == 2
    assert "has no items" in ended.err
    assert contract.requests == []


async def test_who_stops_the_sending_leaves_no_draft(
    contract: Contract, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contract.made = {"status": "draft"}
    fifo = tmp_path / "items.ndjson"
    os.mkfifo(fifo)
    said = Described(
        operation="notes.create", priority=5, name="", tags=[], params={"a": LONG}, options={}
    )
    async with Client(contract.url) as client:
        sending = asyncio.create_task(submitted(client, said, str(fifo), "mine"))
        pipe = await asyncio.to_thread(fifo.open, "wb", buffering=0)
        with pipe:
            # More than is read before anything is sent; what follows never comes.
            await asyncio.to_thread(pipe.write, b'{"a": 1}\n' * 40_000)
            # The server is in a thread of its own.
            while ("POST", APPEND) not in contract.requests:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending

    assert contract.requests[-1] == ("POST", "/api/v1/jobs/job-1/cancel")
    assert contract.done == ["cancel"]
    said_last = capsys.readouterr().err
    assert "draft job-1 is given up; submit it anew, with another key" in said_last
    assert "--key mine" not in said_last, "that would find the draft that was given up"


@asynccontextmanager
async def _silent() -> AsyncIterator[tuple[str, asyncio.Future[bytes]]]:
    """A server that never answers, and the head of what it is asked."""
    head: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def heard(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head.set_result(await reader.readuntil(b"\r\n\r\n"))
        await reader.read()
        writer.close()

    async with await asyncio.start_server(heard, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", head


async def _stopped(url: str, head: asyncio.Future[bytes], verb: Verb) -> str:
    """Ctrl-C, once the verb was heard; what it has asked."""
    async with Client(url) as client:
        asking = asyncio.create_task(verb(client))
        asked = (await asyncio.wait_for(head, 10)).decode()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    return asked


async def test_who_stops_a_submit_is_told_its_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "items.ndjson").write_text('{"a": 1}\n')
    said = Described(operation="notes.create", priority=5, name="", tags=[], params={}, options={})

    async def verb(client: Client) -> Any:
        return await submitted(client, said, str(tmp_path / "items.ndjson"), "")

    async with _silent() as (url, head):
        asked = await _stopped(url, head, verb)

    (key,) = re.findall("(?i)idempotency-key: (.*)\r", asked)
    assert (
        f"nobody knows whether it was done; repeat it with --key {key}" in capsys.readouterr().err
    )


async def test_who_stops_a_verb_is_told_its_key_once(capsys: pytest.CaptureFixture[str]) -> None:
    async with _silent() as (url, head):
        await _stopped(url, head, lambda client: client.command("job-1", "undo", key="mine"))

    assert capsys.readouterr().err.count("repeat it with --key mine") == 1


async def test_who_stops_an_append_is_told_that_it_may_be_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "items.ndjson").write_text('{"a": 1}\n')

    async with _silent() as (url, head):
        await _stopped(
            url, head, lambda client: appended(client, "job-1", 1, str(tmp_path / "items.ndjson"))
        )

    assert "repeat it: part 1 is there once" in capsys.readouterr().err
