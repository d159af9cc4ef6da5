"""Who has changed a rule of retention cannot be changed unseen."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from streams.stores import audit
from streams.stores.audit import Kind
from streams.stores.database import Database
from tests.databases import damage, database, database_url
from tests.engine.keeping import Keeping, kept

__all__ = ["database", "database_url"]


@pytest.fixture
async def keeping(database: Database, tmp_path: Path) -> Keeping:
    """Three changes, of which two rules are left."""
    keeping = kept(database, tmp_path)
    await keeping.rule("stock.*", shred_after=100)
    await keeping.rule("stock.create", shred_after=50, archive_after=60)
    await keeping.rule("stock.*", shred_after=70)
    return keeping


def _signer(keeping: Keeping) -> audit.RuleSigner:
    return audit.RuleSigner(keeping.folder, keeping.stages.database)


def _found(keeping: Keeping) -> list[audit.Finding]:
    key = audit.AuditKey.load(keeping.folder / "audit.key")
    report = audit.Report()
    heads = audit.rule_heads(keeping.folder, key)
    audit.verify_rules(keeping.stages.database, heads, report, wait=lambda _: None)
    return report.findings


async def _tamper(keeping: Keeping, statement: str) -> None:
    await asyncio.to_thread(damage, keeping.stages.database, statement)


async def test_changes_are_signed_once_and_by_whoever_comes_next(keeping: Keeping) -> None:
    assert [finding.kind for finding in _found(keeping)] == [Kind.UNSIGNED]
    signer = _signer(keeping)
    signer.sign()
    signer.sign()
    assert _found(keeping) == []
    file = keeping.folder / "heads.retention"
    assert len(file.read_bytes().splitlines()) == 1
    await keeping.retention.remove_rule("*", "stock.*", actor="grace", reason="")
    assert [finding.kind for finding in _found(keeping)] == [Kind.UNSIGNED]
    _signer(keeping).sign()
    assert _found(keeping) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("UPDATE retention_changes SET actor = 'eve' WHERE change = 2", "changed after it was"),
        ("UPDATE retention_changes SET reason = 'none' WHERE change = 3", "changed after it was"),
        ("DELETE FROM retention_changes WHERE change = 1", "changed after it was"),
        ("DELETE FROM retention_changes WHERE change = 3", "is gone"),
        ("UPDATE retention_rules SET shred_after = 1 WHERE kind = 'stock.*'", "not what was last"),
        ("DELETE FROM retention_rules WHERE kind = 'stock.*'", "not what was last"),
    ],
)
async def test_what_was_changed_is_found_and_not_covered_up(
    keeping: Keeping, change: str, says: str
) -> None:
    _signer(keeping).sign()
    await _tamper(keeping, change)
    assert any(says in finding.message for finding in _found(keeping))
    # Neither by who signs from now on, nor by a change that follows.
    another = _signer(keeping)
    another.sign()
    await keeping.rule("stock.add", shred_after=7)
    another.sign()
    found = _found(keeping)
    assert any(says in finding.message for finding in found)
    assert all(finding.kind in (Kind.RULE, Kind.UNSIGNED) for finding in found)


async def test_another_key_signs_nothing_for_us(keeping: Keeping) -> None:
    _signer(keeping).sign()
    (keeping.folder / "audit.key").unlink()
    audit.AuditKey.load_or_create(keeping.folder / "audit.key")
    assert [finding.kind for finding in _found(keeping)] == [Kind.HEADS_LINE]
