from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.cli.conftest import Run
from tests.cli.contract_server import Contract

NOT_READY = {
    "status": 503,
    "title": "Service Unavailable",
    "detail": "the broker did not answer within 5 s; it waits: the database is away",
    "code": "not_ready",
}


def test_a_process_that_takes_work(ask: Run, contract: Contract) -> None:
    ended = ask("health")

    assert (ended.code, ended.out, ended.err) == (0, "ready\n", "")
    assert contract.requests == [("GET", "/health/ready")]


def test_one_that_takes_none_says_why(ask: Run, contract: Contract) -> None:
    contract.problem = NOT_READY

    ended = ask("health")

    assert (ended.code, ended.out) == (1, f"not ready: {NOT_READY['detail']}\n")


def test_for_scripts(ask: Run, contract: Contract) -> None:
    well = ask("health", "--json")
    contract.problem = NOT_READY
    ill = ask("health", "--json")

    assert (well.code, well.document) == (0, {"ready": True, "reason": ""})
    assert (ill.code, ill.document) == (1, {"ready": False, "reason": NOT_READY["detail"]})


@pytest.mark.parametrize(("status", "code"), [(403, 2), (500, 3), (503, 3)])
def test_an_answer_of_another_kind_is_not_health(
    ask: Run, contract: Contract, status: int, code: int
) -> None:
    contract.problem = {"status": status, "title": "Sorry", "detail": "no", "code": "other"}

    ended = ask("health")

    assert (ended.code, ended.out, ended.err) == (code, "", "countermand: Sorry: no\n")


def test_nobody_there(run: Run) -> None:
    ended = run("health")

    assert (ended.code, ended.out) == (3, "")
    assert "no answer from http://127.0.0.1:1 (Connection refused)" in ended.err


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a process that is frozen: the kernel takes connections, nobody answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_frozen_process_is_not_waited_for(run: Run, silent: str) -> None:
    ended = run("health", "--timeout", "0.1", url=silent)

    assert ended.code == 3
    assert "it took too long" in ended.err


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://127.0.0.1", "http://"])
def test_what_is_no_address(run: Run, url: str) -> None:
    ended = run("health", url=url)

    assert (ended.code, ended.out) == (2, "")
    assert "is no address" in ended.err
