"""The same command in two processes at once: the first decision holds for both."""

from __future__ import annotations

from collections.abc import Callable

from domain.commands import PauseJob
from domain.registry import Registry
from streams.bootstrap.plugins import prepare
from streams.failpoints import Failpoint, Failpoints
from streams.stores.database import Database
from streams.stores.decisions import Decision, store_decision
from tests.engine.stages import Stages
from tests.engine.stock import create


class Overtaken(Failpoints):
    """Has something happen once, just before a decision is stored."""

    def __init__(self, happens: Callable[[], None]) -> None:
        super().__init__()
        self._happens = [happens]

    def reach(self, place: Failpoint) -> None:
        if place is Failpoint.BEFORE_DECISION and self._happens:
            self._happens.pop()()


async def test_another_process_has_decided_meanwhile(migrated_postgres: str) -> None:
    with Database(migrated_postgres) as database, Database(migrated_postgres) as other:
        prepare(database, Registry([create]))
        stages = Stages(database, Registry([create]))
        job_id = await stages.submit("stock.create", [{"name": "a"}])
        decided = Decision(job_id, 2, {"code": "wrong_state", "message": "too late", "pointer": ""})
        command = PauseJob(command_id="pause", job_id=job_id, tenant="local", actor="tester")

        def overtake() -> None:
            other.write_now(lambda c: store_decision(c, command.command_id, decided, 1.0))

        second = Stages(database, Registry([create]), failpoints=Overtaken(overtake))
        await second.coordinator.handle(command)
        assert second.decisions["pause"] == decided
        assert (await second.job(job_id)).status == "running", "what was refused took effect"
