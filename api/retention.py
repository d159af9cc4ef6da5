"""Retention: the rules by which jobs at rest are kept, and who has changed them."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from api import bodies
from api.answers import answer
from api.edge import caller, edge
from api.models import checked
from api.parameters import MAX_ID, Parameters
from domain.commands import Reason
from domain.retention import Kind, KnownRule, Rule, RuleChange, TenantName
from domain.values import Value


class Keeping(Rule):
    """The body of a rule; ``keep`` is said of one that keeps everything for ever."""

    keep: bool = False
    reason: Reason = ""


class Removal(Value):
    """Which rule is removed, and why."""

    tenant: TenantName
    kind: Kind
    reason: Reason = ""


async def rules(request: web.Request) -> web.Response:
    """All rules; there are a few hundred at most."""
    Parameters(request, ())
    return answer({"items": [_rule(rule) for rule in await edge(request).retention.rules()]})


async def set_rule(request: web.Request) -> web.Response:
    """A rule as it is from now on."""
    own, who = edge(request), caller(request)
    Parameters(request, ())
    body = await bodies.read_optional(request, own.limits)
    said = checked(Keeping, body, own.limits.json_depth)
    rule = Rule(**said.model_dump(include=set(Rule.model_fields)))
    known = await own.retention.set_rule(rule, keep=said.keep, actor=who.actor, reason=said.reason)
    return answer(_rule(known))


async def remove(request: web.Request) -> web.Response:
    """No such rule any more; ``?reason=`` goes into the list of changes."""
    own, who = edge(request), caller(request)
    why = Parameters(request, ("reason",)).given("reason")
    named = {**request.match_info, "reason": why or ""}
    gone = checked(Removal, named, own.limits.json_depth)
    await own.retention.remove_rule(gone.tenant, gone.kind, actor=who.actor, reason=gone.reason)
    return answer({"tenant": gone.tenant, "kind": gone.kind, "removed": True})


async def changes(request: web.Request) -> web.Response:
    """Who has set and removed which rules, the latest first."""
    own = edge(request)
    query = Parameters(request, ("cursor", "limit"))
    limit = query.integer("limit", 1, own.limits.max_page) or own.limits.page
    cursor = query.integer("cursor", 1, MAX_ID)
    found, following = await own.retention.changes(cursor, limit)
    items = [_change(change) for change in found]
    return answer({"items": items, "next_cursor": None if following is None else str(following)})


def _rule(rule: KnownRule) -> dict[str, Any]:
    return rule.model_dump(mode="json")


def _change(change: RuleChange) -> dict[str, Any]:
    return change.model_dump(mode="json")
