"""An address may hold a password; what is said of it does not."""

from __future__ import annotations

import pytest

from domain.errors import InvalidCommand
from streams.cli.address import parts_of, shown
from streams.cli.asking import readiness
from streams.cli.client import Client
from streams.cli.exits import Stranger, Unreachable
from tests.cli.conftest import Run
from tests.cli.contract_server import Contract


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://ci:s3cret@gateway/jobs", "https://[...]@gateway/jobs"),
        ("https://ci:s3/c@ret@gateway", "https://[...]@gateway"),
        ("ci:s3cret@gateway", "[...]@gateway"),
        ("htp://ci@gateway", "htp://[...]@gateway"),
    ],
)
def test_an_address_is_shown_without_who_asks(url: str, words: str) -> None:
    assert shown(url) == words


@pytest.mark.parametrize(
    "wrong",
    [
        "ci:s3cret@gateway",
        "ftp://ci:s3cret@x",
        "http://ci:s3cret@[::",
        "http://ci:s3cret@",
        "http://ci:s3cret/x@gateway",
    ],
)
def test_one_that_is_none_is_refused_without_its_password(wrong: str) -> None:
    with pytest.raises(InvalidCommand, match="is no address") as caught:
        parts_of(wrong)
    assert "s3cret" not in str(caught.value)


async def test_who_does_not_answer_is_named_without_it() -> None:
    async with Client("http://ci:s3cret@127.0.0.1:1") as client:
        with pytest.raises(Unreachable, match="no answer from") as caught:
            await client.job("job-1")
    assert "s3cret" not in str(caught.value)


def test_a_health_check_does_not_tell_it() -> None:
    with pytest.raises(Unreachable, match="no answer from") as caught:
        readiness("http://ci:s3cret@127.0.0.1:1", 1.0)
    assert "s3cret" not in str(caught.value)


async def test_a_stranger_is_named_without_it(contract: Contract) -> None:
    contract.answer = ("text/html", "<p>Who are you?")
    url = contract.url.replace("//", "//ci:s3cret@")

    async with Client(url) as client:
        with pytest.raises(Stranger) as caught:
            await client.job("job-1")
    assert "s3cret" not in str(caught.value)


async def test_a_server_that_sends_on_is_named_without_it(contract: Contract) -> None:
    contract.elsewhere = "https://jobs.example.org/api/v1/jobs/job-1"
    url = contract.url.replace("//", "//ci:s3cret@")

    async with Client(url) as client:
        with pytest.raises(InvalidCommand, match="the server is at https://jobs") as caught:
            await client.job("job-1")
    assert "s3cret" not in str(caught.value)


def test_health_is_asked_for_at_an_address_with_a_password(run: Run, contract: Contract) -> None:
    ended = run("health", url=contract.url.replace("//", "//ci:s3cret@"))

    assert (ended.code, ended.out) == (0, "ready\n")
