"""What is verified, compared and archived is of one moment, whatever others commit meanwhile."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, delete

from domain.archiving import ArchiveFile
from domain.job import Job
from domain.retention import Rule
from streams.stores import retention, sealing
from streams.stores.audit import (
    AuditKey,
    Report,
    RuleSigner,
    archive,
    contents,
    reconcile,
    rule_heads,
    rules,
    verify_archive,
    verify_rules,
    write_archive,
)
from streams.stores.database import Database
from streams.stores.events import EventRecorder
from streams.stores.schema import outcomes, payloads
from tests.audit.trail import Trail
from tests.stored_events import BEGIN, stamp

Change = Callable[[Connection, Job], None]


@pytest.fixture
def trail(database: Database, tmp_path: Path) -> Trail:
    """Two jobs at rest."""
    trail = Trail(database, tmp_path)
    trail.work(trail.submit("job-a", 10))
    trail.work(trail.submit("job-b", 10))
    return trail


def _shred(connection: Connection, job: Job) -> None:
    job.shred(stamp("shred", seconds=9), "asked for")
    sealing.shred(connection, job.id)


def _empty(connection: Connection, job: Job) -> None:
    """Put away, and what it gives up removed at once."""
    job.archive(stamp("archive", seconds=9), "the season is over")
    job.empty(stamp("empty", seconds=9), ArchiveFile(name="file", sha256="0" * 64, size=1))
    connection.execute(delete(outcomes).where(outcomes.c.job_id == job.id))
    connection.execute(delete(payloads).where(payloads.c.upload_id == "upload-2"))


def _commit(trail: Trail, change: Change, *, signed: bool = True) -> None:
    """As another process has the second job do something."""
    job = trail.jobs.load("job-b")

    def write(connection: Connection) -> Any:
        change(connection, job)
        return trail.jobs.save(job, connection=connection)

    recordings = trail.database.write_now(write)
    if signed:
        trail.heads.append(EventRecorder.heads_of(recordings))


def _before_first(
    monkeypatch: pytest.MonkeyPatch, place: Any, name: str, do: Callable[[], None]
) -> None:
    """Have something done once, before a function is called for the first time."""
    real, left = getattr(place, name), [do]

    def called(*given: Any, **named: Any) -> Any:
        if left:
            left.pop()()
        return real(*given, **named)

    monkeypatch.setattr(place, name, called)


@pytest.mark.parametrize("job_id", [None, "job-b"], ids=["all", "one"])
@pytest.mark.parametrize("change", [_shred, _empty])
def test_a_job_that_moves_while_it_is_verified_is_no_finding(
    trail: Trail, monkeypatch: pytest.MonkeyPatch, change: Change, job_id: str | None
) -> None:
    """What its events name and what is there were read one after the other."""
    _before_first(monkeypatch, contents.ContentCheck, "finish", partial(_commit, trail, change))
    assert trail.verify(job_id).findings == []
    assert trail.heads.read().last["job-b"].version > 4, "it has moved"
    assert trail.verify(job_id).findings == []


def test_a_rule_that_is_changed_while_all_are_verified_is_no_finding(
    trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rules were read first, and then what has made them."""

    def set_rule(age: float) -> None:
        rule = Rule(kind="test.touch", shred_after=age)
        trail.database.write_now(
            lambda c: retention.set_rule(c, rule, actor="ann", reason="", now=BEGIN.timestamp())
        )

    signer = RuleSigner(trail.folder, trail.database)
    set_rule(900.0)
    signer.sign()
    looks = iter([lambda: None, lambda: set_rule(700.0)])
    real = rules._changes

    def changes(*given: Any) -> Any:
        next(looks)()
        return real(*given)

    monkeypatch.setattr(rules, "_changes", changes)
    heads, report = rule_heads(trail.folder, AuditKey.load(trail.folder / "audit.key")), Report()
    verify_rules(trail.database, heads, report, wait=lambda _: None)
    assert report.findings == []


def test_an_archive_of_a_job_that_is_shredded_meanwhile_is_of_before(
    trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had events of before and keys of after where the signature came a moment later."""
    _before_first(
        monkeypatch, archive, "_in_the_clear", partial(_commit, trail, _shred, signed=False)
    )
    out = io.BytesIO()
    write_archive(trail.database, trail.heads, "job-b", out, wait=lambda _: None)
    out.seek(0)
    report = verify_archive(out, AuditKey.load(trail.folder / "audit.key"))
    assert (report.findings, report.parts) == ([], 1)


def test_what_is_stored_while_a_start_compares_is_left_to_who_comes_next(
    trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = trail.heads.read().last
    # The package has the function under the module's name.
    module = importlib.import_module("streams.stores.audit.reconcile")
    _before_first(monkeypatch, module, "rows_after", partial(_commit, trail, _shred, signed=False))
    assert reconcile(trail.database, trail.heads).sound
    assert trail.heads.read().last == before
    assert reconcile(trail.database, trail.heads).sound
    assert trail.heads.read().last["job-b"].version == before["job-b"].version + 1
