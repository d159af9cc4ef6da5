"""Retention tables: rules and their changes, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from streams.cli.render import table_of

_UNITS = (("y", 365 * 86400), ("d", 86400), ("h", 3600), ("m", 60))


def age(seconds: float | None) -> str:
    """As the option takes it: ``90d``; ``never`` when there is none."""
    if seconds is None:
        return "never"
    for unit, length in _UNITS:
        if seconds and seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"


def rule_table(rules: Sequence[dict[str, Any]]) -> Table:
    """A line for each rule."""
    table = table_of("tenant", "kind", "shredded after", "archived after", "since", "by")
    for rule in rules:
        table.add_row(*_said(rule), rule["changed_at"][:19], rule["changed_by"])
    return table


def change_table(changes: Sequence[dict[str, Any]]) -> Table:
    """A line for each change."""
    table = table_of("when", "who", "what", "tenant", "kind", "shredded", "archived", "why")
    for change in changes:
        who = change["at"][:19], change["actor"], change["action"]
        table.add_row(*who, *_said(change), change["reason"])
    return table


def sentence(rule: dict[str, Any]) -> str:
    """A rule in words."""
    whose = "everybody's jobs" if rule["tenant"] == "*" else f"jobs of {rule['tenant']}"
    shred, archive = age(rule["shred_after"]), age(rule["archive_after"])
    return f"{whose} of {rule['kind']}: items shredded {_after(shred)}, archived {_after(archive)}"


def _after(said: str) -> str:
    return said if said == "never" else f"after {said}"


def _said(rule: dict[str, Any]) -> tuple[str, str, str, str]:
    ages = age(rule["shred_after"]), age(rule["archive_after"])
    return rule["tenant"], rule["kind"], *ages
