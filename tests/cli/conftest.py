from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from streams.cli.main import main
from streams.cli.patience import Patience
from tests.cli.contract_server import Contract, serving

QUICK = Patience(first=0.001, longest=0.01, asking=30.0, give_up=30.0)
"""Waits that take no time; what should go well is given all that a loaded machine needs."""
IMPATIENT = replace(QUICK, asking=0.2, give_up=0.2)
"""For what ends in giving up."""


@dataclass(frozen=True)
class Ended:
    """How a command line ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def document(self) -> Any:
        (only,) = self.lines
        return only


Run = Callable[..., Ended]


@pytest.fixture
def contract() -> Iterator[Contract]:
    with serving() as server:
        yield server


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setattr("streams.cli.client.PATIENCE", QUICK)

    def command(*arguments: str, url: str = "http://127.0.0.1:1") -> Ended:
        monkeypatch.setenv("COUNTERMAND_URL", url)
        monkeypatch.setattr(sys, "argv", ["countermand", *arguments])
        capfd.readouterr()
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        sys.stdout.flush()
        return Ended(code, *capfd.readouterr())

    return command


@pytest.fixture
def impatient(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """``run`` and ``ask`` give up soon."""
    monkeypatch.setattr("streams.cli.client.PATIENCE", IMPATIENT)


@pytest.fixture
def ask(run: Run, contract: Contract) -> Run:
    """As ``run``, with the contract server at the other end."""

    def command(*arguments: str) -> Ended:
        return run(*arguments, url=contract.url)

    return command
