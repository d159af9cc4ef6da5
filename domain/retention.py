"""Retention: how long jobs at rest keep what was sent to them, and stay at hand. Pure.

A rule is a tenant's or everybody's, and is about one kind of operation, all kinds with a
prefix, or all. Of those that are about a job one governs it whole: a tenant's own before
everybody's, and among these that which names the kind most closely. What an operation was called
before counts as well, so that a rule holds on when its operation gets another name.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from domain.errors import InvalidCommand
from domain.values import WORD, Value

ANY = "*"
"""All tenants, or all kinds."""
MAX_SECONDS = 100 * 366 * 86400.0

Age = Annotated[float, Field(ge=0, le=MAX_SECONDS, allow_inf_nan=False)]
"""Seconds since a job came to rest."""
TenantName = Annotated[str, Field(min_length=1, max_length=100, pattern=WORD)]
Kind = Annotated[
    str, Field(min_length=1, max_length=200, pattern=r"^(\*|[^\x00-\x1f\x7f*/]+(\.\*)?)$")
]
"""An operation's kind, a prefix of kinds as ``shop.*``, or ``*``."""


class Rule(Value):
    """After how long at rest items are shredded, and a job is put away; None is never."""

    tenant: TenantName = ANY
    kind: Kind = ANY
    shred_after: Age | None = None
    archive_after: Age | None = None

    def governs(self, tenant: str, operation: str) -> bool:
        """Whether it is about a tenant's jobs of an operation."""
        if self.tenant not in (ANY, tenant):
            return False
        if self.kind.endswith(ANY):
            return operation.startswith(self.kind.removesuffix(ANY))
        return operation == self.kind

    @property
    def closeness(self) -> tuple[bool, bool, int]:
        """Larger, the more closely it names what it is about; a prefix by its dots."""
        prefix = self.kind.endswith(ANY)
        return self.tenant != ANY, not prefix, self.kind.count(".") if prefix else 0

    def __str__(self) -> str:
        whose = "all tenants" if self.tenant == ANY else f"tenant {self.tenant}"
        return f"the rule of {whose} for {self.kind}"


class KnownRule(Rule):
    """A rule, who has set it, and when."""

    changed_at: datetime
    changed_by: str


class RuleChange(Rule):
    """A rule that was set or removed; ``number`` rises."""

    number: int
    action: Literal["set", "remove"]
    actor: str
    reason: str
    at: datetime


def governing(rules: Iterable[Rule], tenant: str, *names: str) -> Rule | None:
    """The rule that says what is kept of a tenant's jobs of an operation, if there is one.

    ``names`` are what the operation is called, and then what it was called. Of rules that name two
    of them as closely, that of the earlier one governs.
    """
    about = [
        (rule, place)
        for rule in rules
        for place, name in enumerate(names)
        if rule.governs(tenant, name)
    ]
    closest = max(about, key=lambda one: (one[0].closeness, -one[1]), default=None)
    return None if closest is None else closest[0]


def check_rule(rule: Rule, *, keep: bool) -> None:
    """Raise InvalidCommand, which points at the field, for a rule that contradicts itself.

    ``keep`` says that nothing is ever shredded or put away: so that silence is no such rule.
    """
    shred, archive = rule.shred_after, rule.archive_after
    if keep and (shred is not None or archive is not None):
        raise InvalidCommand(
            "keep is for ever; leave it out, or leave shred_after and archive_after out",
            pointer="/keep",
        )
    if not keep and shred is None and archive is None:
        raise InvalidCommand(
            "the rule says nothing; give shred_after or archive_after, or keep (for ever)",
            pointer="/shred_after",
        )
    if shred is not None and archive is not None and shred > archive:
        raise InvalidCommand(
            "what is to be shredded comes into no archive, so shred_after must not be longer than "
            "archive_after",
            pointer="/shred_after",
        )
