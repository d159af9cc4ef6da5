"""Rules of retention in memory, for the edge: what is checked by the domain is checked here too."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from domain.errors import RuleNotFound
from domain.retention import KnownRule, Rule, RuleChange, check_rule

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)


@dataclass
class MemoryRules:
    """Rules and what was changed of them, the latest last."""

    kept: dict[tuple[str, str], KnownRule] = field(default_factory=dict)
    changed: list[RuleChange] = field(default_factory=list)

    async def rules(self) -> list[KnownRule]:
        return [self.kept[key] for key in sorted(self.kept)]

    async def set_rule(self, rule: Rule, *, keep: bool, actor: str, reason: str) -> KnownRule:
        check_rule(rule, keep=keep)
        known = KnownRule(**rule.model_dump(), changed_at=AT, changed_by=actor)
        self.kept[rule.tenant, rule.kind] = known
        self._note(rule, "set", actor, reason)
        return known

    async def remove_rule(self, tenant: str, kind: str, *, actor: str, reason: str) -> None:
        if self.kept.pop((tenant, kind), None) is None:
            raise RuleNotFound(f"there is no rule for tenant {tenant} and kind {kind}")
        self._note(Rule(tenant=tenant, kind=kind), "remove", actor, reason)

    async def changes(self, cursor: int | None, limit: int) -> tuple[list[RuleChange], int | None]:
        below = [c for c in reversed(self.changed) if cursor is None or c.number < cursor]
        return below[:limit], below[limit - 1].number if len(below) > limit else None

    def _note(self, rule: Rule, action: str, actor: str, reason: str) -> None:
        number = len(self.changed) + 1
        said = {"action": action, "actor": actor, "reason": reason, "at": AT, "number": number}
        self.changed.append(RuleChange.model_validate(rule.model_dump() | said))
