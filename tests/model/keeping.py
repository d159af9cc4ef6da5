"""What is said of the keeping of jobs at rest, beside all that the machine draws."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from domain.commands import BaseCommand, HoldJob, ReleaseJob, ShredJob
from tests.model.callers import pick
from tests.model.machine import EngineMachine
from tests.model.tables import JobTables

KEEPS: tuple[type[BaseCommand], ...] = (HoldJob, ReleaseJob, HoldJob, ReleaseJob, ShredJob)
"""The last one, which is for good, is rarer."""


class KeptMachine(EngineMachine):
    """Jobs that are held, released and shredded. That they are put away is left to other tests."""

    @precondition(lambda self: any(map(_at_rest, self.store.jobs.values())))
    @rule(which=pick, kind=st.sampled_from(KEEPS))
    def keep(self, which: int, kind: type[BaseCommand]) -> None:
        """A job at rest is held, released or shredded; or it has gone on by then."""
        able = [tables for tables in self.store.jobs.values() if _at_rest(tables)]
        self._ask(kind, able[which % len(able)].job_id, reason="the law")


def _at_rest(tables: JobTables) -> bool:
    return tables.status is not None and tables.status.terminal and not tables.steps
