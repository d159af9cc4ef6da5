"""Verification finds every change of what is stored, and nothing where nothing was changed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from streams.stores.audit import AuditKey, HeadsFile, Kind, Report, verify, verify_trail
from streams.stores.schema import events, outcomes, payload_keys, payloads, snapshots, uploads
from tests.audit.trail import Trail
from tests.proof.figures import tell
from tests.stored_events import stamp


def _change(trail: Trail, statement: Any) -> None:
    trail.database.write_now(lambda connection: connection.execute(statement))


def _at(version: int, job_id: str = "job-20") -> Any:
    return (events.c.job_id == job_id) & (events.c.version == version)


def _kinds(report: Report) -> set[Kind]:
    return {finding.kind for finding in report.findings}


def test_an_untouched_trail_is_sound(trail: Trail) -> None:
    report = trail.verify()
    assert report.findings == []
    assert report.sound
    assert report.jobs == 2
    assert report.parts == 4
    chunks = 9 + 3 + 3 + 3
    assert report.outcomes == chunks
    assert report.events == 20 + (1 + 3 + 1 + 7) + 2 * 8


def test_one_job_can_be_verified_alone(trail: Trail) -> None:
    _change(trail, update(events).where(_at(5)).values(actor="eve"))
    assert trail.verify("job-draft").findings == []
    assert trail.verify("job-draft").jobs == 1
    assert trail.verify("job-20").findings[0].job_id == "job-20"


def test_a_finding_names_job_version_and_fault(trail: Trail) -> None:
    _change(trail, update(events).where(_at(5)).values(actor="eve"))
    (finding,) = trail.verify().findings
    assert (finding.kind, finding.job_id, finding.version) == (Kind.EVENT_CHANGED, "job-20", 5)
    assert "bytes do not give its hash" in finding.message


def test_snapshots_are_no_part_of_the_trail(trail: Trail) -> None:
    trail.jobs.take_job_snapshot(trail.jobs.load("job-20"))
    _change(trail, update(snapshots).values(state=b"{}"))
    assert trail.verify().sound


def test_a_cut_tail_is_found(trail: Trail) -> None:
    for version in range(20, 17, -1):
        _change(trail, delete(events).where(_at(version)))
        (finding,) = trail.verify().findings
        assert (finding.kind, finding.version) == (Kind.TAIL_MISSING, 20)
        assert f"left is {version - 1}" in finding.message
    tell("cut tails found, of one event to three", 3)


def test_a_missing_event_in_the_middle_is_found(trail: Trail) -> None:
    _change(trail, delete(events).where(_at(7)))
    (finding,) = trail.verify().findings
    assert (finding.kind, finding.version) == (Kind.EVENT_MISSING, 8)


def test_a_missing_first_event_is_found(trail: Trail) -> None:
    _change(trail, delete(events).where(_at(1)))
    assert Kind.EVENT_MISSING in _kinds(trail.verify())


def test_a_missing_job_is_found(trail: Trail) -> None:
    _change(trail, delete(events).where(events.c.job_id == "job-20"))
    (finding,) = trail.verify().findings
    assert (finding.kind, finding.job_id, finding.version) == (Kind.JOB_MISSING, "job-20", 20)
    assert trail.verify("job-draft").sound
    assert not trail.verify("job-20").sound


@pytest.mark.parametrize("pair", [(4, 6), (2, 3), (19, 20)])
def test_swapped_events_are_found(trail: Trail, pair: tuple[int, int]) -> None:
    """As they are, with all their bytes, only in each other's place."""
    low, high = pair
    for was, becomes in ((low, 99), (high, low), (99, high)):
        _change(trail, update(events).where(_at(was)).values(version=becomes))
    assert Kind.EVENT_CHANGED in _kinds(trail.verify())


def test_an_event_of_another_job_is_found(trail: Trail) -> None:
    _change(trail, delete(events).where(_at(20)))
    _change(trail, update(events).where(_at(20, "job-draft")).values(job_id="job-20"))
    assert Kind.EVENT_CHANGED in _kinds(trail.verify())


def test_a_changed_last_event_with_a_right_hash_is_found_by_its_head(trail: Trail) -> None:
    """Who can write the database can compute hashes as well, and has no key."""
    _rewrite_last(trail)
    (finding,) = trail.verify().findings
    assert (finding.kind, finding.version) == (Kind.HEAD_DIFFERS, 20)
    assert verify(trail.database, None).sound, "what the chain alone cannot find"


def _rewrite_last(trail: Trail) -> None:
    """Take the last event out and let the recorder write another one in its place."""
    (stored,) = trail.recorder.select_events("job-20", gt=19)
    forged = type(stored)(
        stored.originator_id,
        stored.originator_version,
        stored.topic,
        stored.state.replace(b"ann", b"eve"),
    )
    _change(trail, delete(events).where(_at(20)))
    trail.database.write_now(
        lambda connection: trail.recorder.insert_events([forged], connection=connection)
    )


def test_a_job_that_nobody_signed_is_found(trail: Trail) -> None:
    trail.signing = False
    trail.work(trail.submit("forged", 10))
    (finding,) = trail.verify().findings
    assert (finding.kind, finding.job_id, finding.version) == (Kind.UNSIGNED, "forged", 4)


def test_a_server_at_work_may_sign_a_moment_later(trail: Trail) -> None:
    trail.signing = False
    job = trail.submit("busy", 10)
    waits: list[float] = []

    def signed_meanwhile(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            trail.heads.append(heads)

    planned = job.plan(stamp("undo", seconds=9), room=1, slow=False)
    recordings = trail.database.write_now(
        lambda connection: trail.jobs.save(job, connection=connection)
    )
    heads = trail.recorder.heads_of(recordings)
    assert planned
    assert verify(trail.database, trail.heads, wait=signed_meanwhile).sound
    assert len(waits) == 3


def test_the_wrong_key_is_told_once(trail: Trail) -> None:
    other = HeadsFile(trail.heads.path, AuditKey(bytes(32)))
    (finding,) = verify(trail.database, other).findings
    assert finding.kind is Kind.HEADS_LINE
    assert "find the key" in finding.message


def test_a_missing_heads_file_is_found(trail: Trail) -> None:
    trail.heads.path.unlink()
    assert _kinds(trail.verify()) == {Kind.UNSIGNED}


def test_each_changed_byte_of_the_heads_file_is_found(trail: Trail) -> None:
    trail.heads.compact()
    content = trail.heads.path.read_bytes()
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1
        trail.heads.path.write_bytes(changed)
        assert not trail.verify("job-20").sound or not trail.verify("job-draft").sound, position
    trail.heads.path.write_bytes(content)
    assert trail.verify().sound


def test_for_one_job_the_heads_of_the_others_are_not_verified(
    trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each costs a signature, and there is one for every job that ever was."""

    def refuse(_self: HeadsFile) -> None:
        raise AssertionError("all heads were read")

    monkeypatch.setattr(HeadsFile, "read", refuse)
    assert verify_trail(trail.database, trail.heads, job_id="job-20").sound
    trail.signing = False
    trail.work(trail.submit("forged", 10))
    report = verify_trail(trail.database, trail.heads, job_id="forged", wait=lambda _: None)
    assert _kinds(report) == {Kind.UNSIGNED}


def test_each_changed_byte_of_the_head_of_one_job_is_found(trail: Trail) -> None:
    trail.heads.compact()
    content = trail.heads.path.read_bytes()
    (begin,) = (found.start() for found in re.finditer(rb"^head job-20 ", content, re.MULTILINE))
    for position in range(begin, content.index(b"\n", begin)):
        changed = bytearray(content)
        changed[position] ^= 1
        trail.heads.path.write_bytes(changed)
        report = verify_trail(trail.database, trail.heads, job_id="job-20", wait=lambda _: None)
        assert not report.sound, position


PAYLOAD_CHANGES: list[Callable[[], Any]] = [
    lambda: delete(payloads).where(payloads.c.upload_id == "upload-1"),
    lambda: delete(payloads).where(payloads.c.upload_id == "upload-3"),
    lambda: delete(uploads).where(uploads.c.upload_id == "upload-1"),
    lambda: update(uploads).where(uploads.c.upload_id == "upload-2").values(first_item=1),
    lambda: update(uploads).where(uploads.c.upload_id == "upload-2").values(sha256="0" * 64),
    lambda: update(uploads).where(uploads.c.upload_id == "upload-2").values(size=1),
    lambda: update(uploads).where(uploads.c.upload_id == "upload-2").values(items=1),
    lambda: update(uploads).where(uploads.c.upload_id == "upload-2").values(job_id="job-20"),
    lambda: update(payloads).where(payloads.c.upload_id == "upload-1").values(items=89),
    lambda: update(payloads).where(payloads.c.upload_id == "upload-1").values(first_item=1),
    lambda: update(payloads).where(payloads.c.upload_id == "upload-1").values(part=1),
    lambda: update(payloads).where(payloads.c.upload_id == "upload-1").values(sha256="0" * 64),
    lambda: update(payloads).where(payloads.c.upload_id == "upload-1").values(data=b""),
    lambda: update(payloads).where(payloads.c.upload_id == "upload-1").values(data=b"text"),
    lambda: delete(payload_keys).where(payload_keys.c.upload_id == "upload-1"),
]


@pytest.mark.parametrize("change", PAYLOAD_CHANGES)
def test_a_changed_payload_is_found(trail: Trail, change: Callable[[], Any]) -> None:
    _change(trail, change())
    assert Kind.PAYLOAD in _kinds(trail.verify())


def test_a_payload_put_in_anothers_place_is_found(trail: Trail) -> None:
    """Part and digest fit together; only the event knows that it was another one."""
    other = trail.database.read_now(
        lambda connection: connection.execute(
            select(payloads.c.data, payloads.c.sha256).where(payloads.c.upload_id == "upload-3")
        ).one()
    )
    values = {"data": other.data, "sha256": other.sha256, "items": 10}
    _change(trail, update(payloads).where(payloads.c.upload_id == "upload-1").values(**values))
    assert _kinds(trail.verify()) == {Kind.PAYLOAD}


OUTCOME_CHANGES: list[Callable[[], Any]] = [
    lambda: delete(outcomes).where(_chunk(3)),
    lambda: update(outcomes).where(_chunk(3)).values(chunk=99),
    lambda: update(outcomes).where(_chunk(3)).values(ledger=b""),
    lambda: update(outcomes).where(_chunk(3)).values(sha256="0" * 64),
    lambda: update(outcomes).where(_chunk(3)).values(failed=7),
    lambda: update(outcomes).where(_chunk(3)).values(closing="died"),
    lambda: update(outcomes).where(_chunk(3)).values(summary="{"),
    lambda: update(outcomes).where(_chunk(3)).values(summary='{"chunk": 3}'),
]


def _chunk(number: int) -> Any:
    return (outcomes.c.job_id == "job-20") & (outcomes.c.chunk == number)


@pytest.mark.parametrize("change", OUTCOME_CHANGES)
def test_a_changed_outcome_is_found(trail: Trail, change: Callable[[], Any]) -> None:
    _change(trail, change())
    (finding,) = trail.verify().findings
    assert (finding.kind, finding.job_id, finding.version) == (Kind.OUTCOME, "job-20", 9)
    assert "chunk 3" in finding.message


def test_more_faults_than_can_be_kept_are_counted(
    trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.stores.audit.findings.MAX_FINDINGS", 3)
    _change(trail, update(outcomes).values(failed=7))
    report = trail.verify()
    assert (len(report.findings), report.more) == (3, report.outcomes - 3)
    assert not report.sound
