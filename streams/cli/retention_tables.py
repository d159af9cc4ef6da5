"""Retention tables: rules and their changes, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table

from streams.cli.output import plain

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
    table = Table("tenant", "kind", "shredded after", "archived after", "since", "by")
    table.box = box.SIMPLE_HEAD
    for rule in rules:
        table.add_row(*_said(rule), plain(rule["changed_at"][:19]), plain(rule["changed_by"]))
    return table


def change_table(changes: Sequence[dict[str, Any]]) -> Table:
    """A line for each change."""
    table = Table("when", "who", "what", "tenant", "kind", "shredded", "archived", "why")
    table.box = box.SIMPLE_HEAD
    for change in changes:
        who = plain(change["at"][:19]), plain(change["actor"]), change["action"]
        table.add_row(*who, *_said(change), plain(change["reason"]))
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
    return plain(rule["tenant"]), plain(rule["kind"]), *ages
