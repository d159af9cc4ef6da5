"""Retention: the rules by which jobs at rest are kept, as operators read and change them.

Whoever changes one is noted beside it, in the same transaction. What comes of the rules is
:mod:`.retaining`'s.
"""

from __future__ import annotations

from sqlalchemy import Connection

from domain.errors import InvalidCommand, RuleNotFound
from domain.ports import Clock
from domain.registry import Registry
from domain.retention import ANY, KnownRule, Rule, RuleChange, check_rule
from domain.steps import BATCH
from streams.stores import retention
from streams.stores.database import Database

MAX_RULES = 500
"""All of them are read at each look, and shown on one page."""


class Retention:
    """Rules of the whole installation; ``actor`` is who changes them."""

    def __init__(self, database: Database, registry: Registry, clock: Clock) -> None:
        self._database = database
        self._registry = registry
        self._clock = clock

    async def rules(self) -> list[KnownRule]:
        """All rules, by tenant and kind."""
        return await self._database.read(retention.rules_of)

    async def set_rule(self, rule: Rule, *, keep: bool, actor: str, reason: str) -> KnownRule:
        """Have a rule say this from now on; raises InvalidCommand, with a pointer to the field.

        ``keep`` is said of a rule by which nothing is ever shredded or put away.
        """
        check_rule(rule, keep=keep)
        self._check_kind(rule.kind)
        now = self._clock.now()

        def change(connection: Connection) -> None:
            retention.set_rule(connection, rule, actor=actor, reason=reason, now=now.timestamp())
            if retention.count_rules(connection) > MAX_RULES:
                raise InvalidCommand(
                    f"there are {MAX_RULES} rules already; remove some, or have one say it for "
                    "more kinds",
                    pointer="/kind",
                )

        await self._database.write(change)
        return KnownRule(**rule.model_dump(), changed_at=now, changed_by=actor)

    async def remove_rule(self, tenant: str, kind: str, *, actor: str, reason: str) -> None:
        """Remove a rule; raises RuleNotFound."""
        now = self._clock.now().timestamp()
        there = await self._database.write(
            lambda found: retention.remove_rule(
                found, tenant, kind, actor=actor, reason=reason, now=now
            )
        )
        if not there:
            raise RuleNotFound(
                f"there is no rule for tenant {tenant} and kind {kind}; `countermand retention "
                "list` shows them"
            )

    async def changes(self, cursor: int | None, limit: int) -> tuple[list[RuleChange], int | None]:
        """Who has changed what, the latest first, below ``cursor``; the next page's cursor."""
        found = await self._database.read(
            lambda connection: retention.changes_of(connection, cursor, limit + 1)
        )
        page = found[:limit]
        return page, page[-1].number if len(found) > limit else None

    def _check_kind(self, kind: str) -> None:
        """A rule for what no operation is or was called would keep nobody's jobs, unsaid."""
        about = Rule(kind=kind)
        if not any(about.governs(ANY, known) for known in (*self._registry.kinds(), BATCH)):
            kinds = [*(operation.kind for operation in self._registry), BATCH]
            raise InvalidCommand(
                f"no installed operation is called {kind}; there are {', '.join(sorted(kinds))}",
                pointer="/kind",
            )
