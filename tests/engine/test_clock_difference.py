"""Processes on machines whose clocks differ: they are not ready, say so, and take no work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from structlog.testing import capture_logs

from domain.errors import Unavailable
from streams.bootstrap import scaled
from streams.clock_difference import ClockWatch
from streams.vitals import Vitals
from tests.engine.roles import REGISTRY, Roles, migrated_postgres, roles, until

__all__ = ["migrated_postgres", "roles"]

pytestmark = [pytest.mark.service("postgresql"), pytest.mark.timeout(60)]

Role = Callable[..., AbstractAsyncContextManager[Vitals]]
BEHIND = "the clock of this machine is 6.0 s behind the database's; this process is ready once "
REMEDY = "synchronise the clocks of all machines, the database's among them (NTP)"


async def until_ready(vitals: Vitals) -> None:
    async def look() -> bool:
        return (await vitals.health()).ready

    await until(look)


async def reasons(vitals: Vitals) -> str:
    """Of a process, once it has some that name a clock."""

    async def look() -> str:
        said = "; ".join((await vitals.health()).reasons)
        return said if "clock" in said else ""

    return await until(look)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaled, "CLOCK_SECONDS", 0.1)


@pytest.mark.parametrize("ahead", [-6.0, 6.0])
async def test_it_says_once_how_far_off_a_clock_is_and_when_it_is_right(
    roles: Roles, ahead: float
) -> None:
    watch = ClockWatch(roles.database, roles.clock)
    with capture_logs() as logs:
        await watch.look()
        assert watch.fault == ""
        roles.clock.ahead = ahead
        await watch.look()
        await watch.look()
        way = "ahead of" if ahead > 0 else "behind"
        assert watch.fault.startswith(f"the clock of this machine is 6.0 s {way} the database's")
        assert watch.fault.endswith(REMEDY)
        roles.clock.ahead = 0.0
        await watch.look()
        assert watch.fault == ""
    assert [(entry["event"], entry["ahead_seconds"]) for entry in logs] == [
        ("clock_differs", ahead),
        ("clock_agrees", 0.0),
    ]


async def test_what_is_at_the_edge_changes_no_mind(roles: Roles) -> None:
    watch, found = ClockWatch(roles.database, roles.clock), []
    for ahead in (0.9, 0.7, 0.9, 1.1, 0.9, 0.7):
        roles.clock.ahead = ahead
        await watch.look()
        found.append(bool(watch.fault))
    assert found == [True, False, False, True, True, False]


@pytest.mark.parametrize("role", [scaled.worker, scaled.coordinator])
async def test_who_works_waits_until_its_clock_is_right_before_it_joins_the_others(
    roles: Roles, role: Role
) -> None:
    roles.clock.ahead = -6.0
    async with role(roles.settings(), REGISTRY) as vitals:
        said = await reasons(vitals)
        assert said.startswith(f"it waits: {BEHIND}")
        assert said.count(REMEDY) == 1
        await asyncio.sleep(0.3)
        assert not any(app.started for app in roles.apps)
        assert await roles.seen() == []
        roles.clock.ahead = 0.0
        await until_ready(vitals)


@pytest.mark.parametrize("role", [scaled.worker, scaled.coordinator])
async def test_who_works_ends_and_leaves_the_others_when_its_clock_goes_wrong(
    roles: Roles, role: Role
) -> None:
    """Its supervisor starts it again, and it waits."""

    async def run() -> None:
        async with role(roles.settings(), REGISTRY) as vitals:
            await until_ready(vitals)
            roles.clock.ahead = -6.0
            await asyncio.sleep(20)

    with pytest.raises(Unavailable, match=r"6\.0 s behind the database's.*NTP"):
        await run()
    assert all(app.should_stop for app in roles.apps)
    assert await roles.seen() == []
    assert roles.hard_ends == []


async def test_who_serves_callers_is_not_ready_and_serves_on(roles: Roles) -> None:
    roles.clock.ahead = -6.0
    async with scaled.api(roles.settings(), REGISTRY) as engine:
        assert (await reasons(engine.vitals)).startswith(BEHIND)
        assert roles.apps[0].started
        roles.clock.ahead = 0.0
        await until_ready(engine.vitals)
        roles.clock.ahead = 6.0
        assert "6.0 s ahead of the database's" in await reasons(engine.vitals)
        assert roles.apps[0].started
