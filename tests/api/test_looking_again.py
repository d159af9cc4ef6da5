"""When the caller of a request that lasts is looked at again."""

from __future__ import annotations

from typing import Any

import pytest

from api import standing
from api.edge import IDENTITY
from api.limits import Limits
from api.standing import MOMENT, Standing
from domain.errors import CredentialRefused, StoreUnavailable
from streams.callers import Caller
from streams.identity import Identity
from tests.engine.stages import HandClock

WHO = Identity(Caller("acme", "ada"))


class Edge:
    """As much of one as is looked at; ``answers`` are what it finds out of a caller."""

    def __init__(self, *answers: bool | Exception) -> None:
        self.clock = HandClock()
        self.limits = Limits()
        self.callers = self
        self._answers = [*answers]

    async def holds(self, _identity: Identity) -> bool:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def _looking(monkeypatch: pytest.MonkeyPatch, edge: Edge) -> Standing:
    monkeypatch.setattr(standing, "edge", lambda _request: edge)
    request: Any = {IDENTITY: WHO}
    return Standing(request)


async def test_what_took_longer_than_a_moment_is_looked_at_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    edge = Edge(False)
    looks = _looking(monkeypatch, edge)
    edge.clock.pass_seconds(MOMENT / 2)
    await looks.check_last()
    edge.clock.pass_seconds(MOMENT)
    await looks.check()
    with pytest.raises(CredentialRefused):
        await looks.check_last()


async def test_a_look_that_failed_is_nobody_s_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    edge = Edge(StoreUnavailable("away"), True, False)
    looks = _looking(monkeypatch, edge)
    edge.clock.pass_seconds(edge.limits.recheck)
    await looks.look()
    await looks.check_last()
    edge.clock.pass_seconds(MOMENT)
    with pytest.raises(CredentialRefused):
        await looks.check_last()
