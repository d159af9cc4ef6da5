"""A full disk ends nobody, keeps nobody from a start, and costs no signature for good."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import pytest
import structlog

from domain.registry import Registry
from domain.retention import Rule
from streams.bootstrap import embedded
from streams.settings import Settings
from streams.stores import retention, sealing
from streams.stores.audit import (
    AuditKey,
    Kind,
    Report,
    RuleSigner,
    heads,
    known_heads,
    rule_heads,
    verify,
    verify_rules,
)
from streams.stores.database import Database, sqlite_url
from streams.stores.sealing import InstallationKey
from tests.databases import data_dir
from tests.engine.conftest import Desk
from tests.engine.stock import operations
from tests.stored_events import BEGIN

__all__ = ["data_dir"]

PATIENCE = 30.0


def _fill(disk: pytest.MonkeyPatch) -> None:
    """No head can be appended, and nothing be made safe, until it is undone."""

    def no_room(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    disk.setattr(heads, "_append", no_room)
    disk.setattr(os, "fsync", no_room)


def test_changes_of_rules_are_signed_when_there_is_room_again(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def set_rule(age: float) -> None:
        rule = Rule(kind="test.touch", shred_after=age)
        database.write_now(
            lambda c: retention.set_rule(c, rule, actor="ann", reason="", now=BEGIN.timestamp())
        )

    def found() -> list[Kind]:
        report, own = Report(), AuditKey.load(tmp_path / "audit.key")
        verify_rules(database, rule_heads(tmp_path, own), report, wait=lambda _: None)
        return [finding.kind for finding in report.findings]

    AuditKey.load_or_create(tmp_path / "audit.key")
    (tmp_path / "heads.retention").touch()
    signer = RuleSigner(tmp_path, database)
    set_rule(900.0)
    with monkeypatch.context() as disk, structlog.testing.capture_logs() as logs:
        _fill(disk)
        signer.sign()
        signer.sign()
    assert {entry["log_level"] for entry in logs} == {"warning"}
    assert signer.unwritten == 1
    assert found() == [Kind.UNSIGNED]
    signer.sign()
    assert (found(), signer.unwritten) == ([], 0)
    assert len((tmp_path / "heads.retention").read_bytes().splitlines()) == 1


async def test_an_engine_starts_works_and_signs_later(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, file = Settings(data_dir=data_dir, sweep=0.1), data_dir / "heads"
    async with embedded(settings, Registry(operations)) as engine:
        desk = Desk(engine)
        await desk.settle(await desk.submit("stock.create", [{"name": "a"}]))
    before = file.read_bytes()
    with monkeypatch.context() as disk:
        _fill(disk)
        async with embedded(settings, Registry(operations)) as engine:
            desk = Desk(engine)
            await desk.settle(await desk.submit("stock.create", [{"name": "b"}]))
            assert file.read_bytes() == before
            shown = engine.vitals.metrics.registry.get_sample_value
            assert shown("countermand_heads_unwritten") > 0
            # Nothing is committed of any job from here on.
            disk.undo()
            async with asyncio.timeout(PATIENCE):
                while True:
                    if file.read_bytes() != before:
                        break
                    await asyncio.sleep(0.05)
            assert shown("countermand_heads_unwritten") == 0
    key = InstallationKey.load(data_dir / sealing.FILE_NAME)
    with Database(sqlite_url(data_dir / "countermand.db"), key=key) as database:
        assert verify(database, known_heads(data_dir), wait=lambda _: None).findings == []
