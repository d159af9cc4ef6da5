"""Processes on machines whose clocks differ go by the database's, and say how far off theirs is."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import pytest
from structlog.testing import capture_logs

from domain.errors import StoreUnavailable
from streams.bootstrap import scaled
from streams.shared_clock import ClockWatch
from streams.stores.database import Database
from streams.vitals import Health, Vitals
from tests.engine.roles import REGISTRY, Roles, migrated_postgres, roles, until

__all__ = ["migrated_postgres", "roles"]

pytestmark = [pytest.mark.service("postgresql"), pytest.mark.timeout(60)]

Role = Callable[..., AbstractAsyncContextManager[Vitals]]
FAR = 60.0
"""Further than any journey to a database takes here."""
OFF = r"the clock of this machine is [56]\d\.\d s {} the database's, by which this process goes: "
BEHIND, AHEAD = (re.compile(OFF.format(way)) for way in ("behind", "ahead of"))


def of_clocks(health: Health) -> str:
    """What a process says of them, beside whatever else it says."""
    return "; ".join(each for each in health.notes if "clock" in each)


async def note(vitals: Vitals) -> str:
    """Of a process that is ready, once it says something of a clock."""

    async def look() -> str:
        health = await vitals.health()
        return of_clocks(health) if health.ready else ""

    return await until(look)


def agrees_again(vitals: Vitals) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return not of_clocks(await vitals.health())

    return look


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaled, "CLOCK_SECONDS", 0.1)


@pytest.mark.parametrize(("ahead", "said"), [(-FAR, BEHIND), (FAR, AHEAD)])
async def test_a_clock_that_is_off_is_set_right_and_said_once(
    roles: Roles, ahead: float, said: re.Pattern[str]
) -> None:
    watch = ClockWatch(roles.database, roles.clock)
    with capture_logs() as logs:
        await watch.look()
        assert (watch.difference, watch.clock.added) == ("", 0.0)
        roles.clock.ahead = ahead
        for _ in range(3):
            await watch.look()
        assert said.match(watch.difference)
        assert "NTP" in watch.difference
        assert watch.clock.now().timestamp() == pytest.approx(time.time(), abs=30)
        roles.clock.ahead = 0.0
        await watch.look()
        assert (watch.difference, watch.clock.added) == ("", 0.0)
    assert [entry["event"] for entry in logs] == ["clock_differs", "clock_agrees"]
    assert logs[0]["ahead_seconds"] == pytest.approx(ahead, abs=30)


async def test_it_is_not_compared_without_the_database(roles: Roles) -> None:
    with Database("postgresql+psycopg://nobody@127.0.0.1:1/none") as away:
        watch = ClockWatch(away, roles.clock)
        with pytest.raises(StoreUnavailable):
            await watch.look()
        assert watch.difference == ""


@pytest.mark.parametrize("role", [scaled.worker, scaled.coordinator])
async def test_who_works_goes_by_the_clock_of_the_database(roles: Roles, role: Role) -> None:
    roles.clock.ahead = -FAR
    async with role(roles.settings(), REGISTRY) as vitals:
        assert BEHIND.match(await note(vitals))
        if role is scaled.worker:
            assert await roles.until_seen() == pytest.approx(time.time(), abs=30)
        roles.clock.ahead = FAR

        async def is_ahead() -> bool:
            return AHEAD.match(await note(vitals)) is not None

        await until(is_ahead)
        shown = vitals.metrics.registry.get_sample_value
        assert shown("countermand_clock_ahead_seconds") == pytest.approx(FAR, abs=30)
        roles.clock.ahead = 0.0
        await until(agrees_again(vitals))
        assert shown("countermand_clock_ahead_seconds") == 0
    assert roles.hard_ends == []


async def test_who_serves_callers_does_so_too(roles: Roles) -> None:
    roles.clock.ahead = -FAR
    async with scaled.api(roles.settings(), REGISTRY) as engine:
        assert BEHIND.match(await note(engine.vitals))
