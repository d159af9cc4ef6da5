"""Retaining: has jobs shredded and put away that are due by the rules, some at a time.

One at a time in the whole installation looks. It only sends commands: the coordinator
decides on each as on anybody's, and only while the job is at the version at which it was found:
one that was held meanwhile, or worked again, is let alone. A command's id names that version and
the hour: what was refused is asked again when the job has moved, and now and then, for a batch may
have to wait for its jobs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

import structlog
from sqlalchemy import Connection

from domain.commands import ArchiveJob, ShredJob
from domain.ports import Clock
from domain.registry import Registry
from domain.retention import KnownRule, Rule, governing
from streams import topics
from streams.envelope import Outgoing, hint
from streams.stores import retention
from streams.stores.database import Database
from streams.stores.retention import Act, Due, Pair

log = structlog.get_logger(__name__)

Send = Callable[[Outgoing], Awaitable[None]]

ACTOR = "retention"
"""As whom the rules act in the audit trail."""
JOBS_AT_ONCE = 20
"""Of a tenant and an operation, at each look."""
ASKED_AGAIN = 3600.0
"""Seconds after which a job that has refused is asked once more."""
LOOKS = 2
"""Sweeps between two looks."""


@dataclass(slots=True)
class Retained:
    """What this process has done by the rules since it began."""

    shred: int = 0
    archive: int = 0
    files: int = 0
    cleared: int = 0
    unwritten: int = 0
    """Attempts at a file that came to nothing, as files that are ``missing`` are looked for."""
    missing: int = 0

    @property
    def counted(self) -> dict[str, int]:
        """By what was done."""
        return {
            "shred": self.shred,
            "archive": self.archive,
            "write_file": self.files,
            "clear": self.cleared,
            "file_not_written": self.unwritten,
            "file_missing": self.missing,
        }


@dataclass(slots=True)
class _Found:
    """A job that is due, by a rule."""

    act: Act
    rule: Rule
    pair: Pair
    due: Due


@dataclass(slots=True)
class _Places:
    """Behind which job each look goes on: who is refused must not keep others from theirs."""

    behind: dict[tuple[Act, Pair], Due] = field(default_factory=dict)

    def move(self, act: Act, pair: Pair, found: list[Due]) -> None:
        """A full page has more behind it; after any other the next look begins anew."""
        if len(found) < JOBS_AT_ONCE:
            self.behind.pop((act, pair), None)
        else:
            self.behind[act, pair] = found[-1]


class Retainer:
    """Looks for jobs that are due."""

    def __init__(
        self,
        *,
        database: Database,
        registry: Registry,
        clock: Clock,
        send: Send,
        retained: Retained,
    ) -> None:
        self._database = database
        self._registry = registry
        self._clock = clock
        self._send = send
        self._retained = retained
        self._places = _Places()

    async def look(self) -> int:
        """Send what the rules have to say of some of the jobs that are due; returns how many."""
        found = await self._database.read(self._due)
        for one in found:
            await self._send(self._command(one))
            if one.act is Act.SHRED:
                self._retained.shred += 1
            else:
                self._retained.archive += 1
        if found:
            log.info("retention", commands=len(found))
        return len(found)

    def _due(self, connection: Connection) -> list[_Found]:
        rules = retention.rules_of(connection)
        if not rules:
            return []
        now = self._clock.now().timestamp()
        found: list[_Found] = []
        for act in Act:
            for pair in retention.pairs(connection, act):
                rule = self._governing(rules, pair.tenant, pair.operation)
                age = None if rule is None else age_of(rule, act)
                if rule is None or age is None:
                    continue
                behind = self._places.behind.get((act, pair))
                due = retention.due_jobs(
                    connection, act, pair, until=now - age, after=behind, most=JOBS_AT_ONCE
                )
                self._places.move(act, pair, due)
                found += [
                    _Found(act, rule, pair, one)
                    for one in due
                    if act is Act.SHRED or not self._overrules(connection, rules, pair, one, now)
                ]
        return _after_shredding(found)

    def _overrules(
        self, connection: Connection, rules: Sequence[KnownRule], pair: Pair, due: Due, now: float
    ) -> bool:
        """Whether with a batch jobs would go of which a rule of their own says: not yet."""
        for operation, since in retention.jobs_of(connection, due.job_id):
            rule = self._governing(rules, pair.tenant, operation)
            age = None if rule is None else age_of(rule, Act.ARCHIVE)
            if rule is not None and (age is None or since > now - age):
                return True
        return False

    def _governing(self, rules: Sequence[KnownRule], tenant: str, operation: str) -> Rule | None:
        return governing(rules, tenant, *self._registry.names_of(operation))

    def _command(self, found: _Found) -> Outgoing:
        due, act = found.due, found.act
        kind = ShredJob if act is Act.SHRED else ArchiveJob
        hour = int(self._clock.now().timestamp() // ASKED_AGAIN)
        command = kind(
            command_id=f"{due.job_id}.{ACTOR}.{act.value}.{due.version}.{hour}",
            job_id=due.job_id,
            tenant=found.pair.tenant,
            actor=ACTOR,
            if_version=due.version,
            reason=f"{found.rule}: {said(age_of(found.rule, act) or 0.0)} at rest",
        )
        return hint(command, topics.COMMANDS)


def _after_shredding(found: list[_Found]) -> list[_Found]:
    """With the versions at which jobs will be that are shredded before they are put away.

    A shredding is one version. Else a job that is due for both would be put away only when a walk
    through all that are due has come to it again.
    """
    shredded = {one.due.job_id for one in found if one.act is Act.SHRED}
    for one in found:
        if one.act is Act.ARCHIVE and one.due.job_id in shredded:
            one.due = replace(one.due, version=one.due.version + 1)
    return found


def age_of(rule: Rule, act: Act) -> float | None:
    """After how long at rest a rule has it done."""
    return rule.shred_after if act is Act.SHRED else rule.archive_after


def said(seconds: float) -> str:
    """An age in the largest unit in which it is a whole number."""
    for name, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds and seconds % length == 0:
            return f"{seconds / length:g} {name}"
    return f"{seconds:g} seconds"
