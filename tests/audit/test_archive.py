"""An archive is verified as its database is, and whatever is changed in it is found."""

from __future__ import annotations

import base64
import hashlib
import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import delete

from domain.errors import DataDirectoryUnusable, InvalidCommand, JobNotFound, WrongState
from streams.stores.audit import (
    AuditKey,
    Head,
    HeadsFile,
    Kind,
    Report,
    archive,
    verify_archive,
    write_archive,
)
from streams.stores.audit import lines as lines_of_archives
from streams.stores.schema import events
from tests.audit.flipping import as_older_releases_wrote
from tests.audit.trail import Trail

SEED = 20261126


def archive_of(trail: Trail, job_id: str = "job-draft") -> bytes:
    out = io.BytesIO()
    write_archive(trail.database, trail.heads, job_id, out, wait=lambda _: None)
    return out.getvalue()


def found_in(trail: Trail, text: bytes, *, key: bool = True) -> Report:
    own = AuditKey.load(trail.folder / "audit.key")
    return verify_archive(io.BytesIO(text), own if key else None)


def closed(lines: list[bytes]) -> bytes:
    """Lines with an end that names them: whoever changes a file can count as well."""
    text = b"".join(line + b"\n" for line in lines)
    end = {"lines": len(lines), "sha256": hashlib.sha256(text).hexdigest()}
    return text + orjson.dumps({"end": end}) + b"\n"


def rows_of(lines: list[bytes], table: str) -> list[int]:
    return [place for place, line in enumerate(lines) if orjson.loads(line).get("table") == table]


def test_an_archive_is_sound_and_whole(trail: Trail) -> None:
    for job_id in ("job-20", "job-draft"):
        report, own = found_in(trail, archive_of(trail, job_id)), trail.verify(job_id)
        assert report.findings == []
        assert (report.jobs, report.events) == (1, own.events)
        assert (report.parts, report.outcomes) == (own.parts, own.outcomes)


def test_an_archive_of_an_older_release_is_sound(trail: Trail) -> None:
    """Nothing stood behind what was compressed."""
    as_older_releases_wrote(trail.database)
    text = archive_of(trail, "job-20")
    lines = text.replace(b'"format":2', b'"format":1').splitlines()
    assert lines[0] != text.splitlines()[0]
    report = found_in(trail, closed(lines[:-1]))
    assert (report.findings, report.parts > 0) == ([], True)


def test_it_needs_no_database_any_more(trail: Trail) -> None:
    text = archive_of(trail)
    trail.database.write_now(
        lambda c: c.execute(delete(events).where(events.c.job_id == "job-draft"))
    )
    assert not trail.verify("job-draft").sound
    assert found_in(trail, text).sound


def test_each_line_counts(trail: Trail) -> None:
    """Taken out, with a right end, by somebody who has not the key."""
    *lines, _ = archive_of(trail).splitlines()
    for table in ("events", "uploads", "payloads", "payload_keys", "outcomes"):
        for place in rows_of(lines, table):
            left = closed(lines[:place] + lines[place + 1 :])
            assert not found_in(trail, left).sound, lines[place]
    last = rows_of(lines, "events")[-1]
    cut = closed(lines[:last] + lines[last + 1 :])
    assert Kind.TAIL_MISSING in {finding.kind for finding in found_in(trail, cut).findings}
    (head,) = (place for place, line in enumerate(lines) if b'"head"' in line)
    unsigned = found_in(trail, closed(lines[:head] + lines[head + 1 :]))
    assert {finding.kind for finding in unsigned.findings} == {Kind.UNSIGNED}


def test_no_byte_can_be_another_one(trail: Trail) -> None:
    chance = random.Random(SEED)
    text = archive_of(trail, "job-20")
    for place in sorted(chance.sample(range(len(text)), 40)):
        other = bytearray(text)
        other[place] ^= chance.randrange(1, 128)
        try:
            assert not found_in(trail, bytes(other)).sound, (place, SEED)
        except InvalidCommand:
            continue


@pytest.mark.parametrize("table", ["events", "payloads", "outcomes", "chunk_faults"])
def test_a_changed_row_with_a_right_end_is_found(trail: Trail, table: str) -> None:
    *lines, _ = archive_of(trail, "job-20").splitlines()
    column = {"events": "state", "payloads": "data", "outcomes": "ledger"}.get(table, "groups")
    place = rows_of(lines, table)[0]
    document = orjson.loads(lines[place])
    value = bytearray(base64.b64decode(document["row"][column]))
    value[-1] ^= 1
    document["row"][column] = base64.b64encode(value).decode()
    lines[place] = orjson.dumps(document)
    assert not found_in(trail, closed(lines)).sound


def test_without_the_key_the_chain_alone_is_looked_at(trail: Trail) -> None:
    text = archive_of(trail)
    assert found_in(trail, text, key=False).sound
    *lines, _ = text.splitlines()
    last = rows_of(lines, "events")[-1]
    cut = closed(lines[:last] + lines[last + 1 :])
    assert found_in(trail, cut, key=False).sound, "what the chain alone cannot find"


def test_a_torn_file_is_told(trail: Trail) -> None:
    *lines, end = archive_of(trail).splitlines(keepends=True)
    for text in (b"".join(lines), b"".join([*lines, end, lines[-1]])):
        assert not found_in(trail, text).sound
    swapped = [lines[0], *lines[2:], lines[1], end]
    (finding,) = found_in(trail, b"".join(swapped)).findings
    assert finding.kind is Kind.DAMAGED


@pytest.mark.parametrize(
    "change",
    [
        lambda _: b"",
        lambda _: b"{}\n",
        lambda _: b"no json\n",
        lambda _: b"[1]\n",
        lambda text: text.replace(b'"format":2', b'"format":3'),
        lambda text: text.replace(b'"table":"events"', b'"table":"timers"'),
        lambda text: text.replace(b'"actor"', b'"actress"'),
        lambda text: text.replace(b'"state":"', b'"state":"?'),
        lambda text: text.replace(b'"version":2', b'"version":1'),
        lambda text: text.replace(b'"version":2', b'"version":[]'),
    ],
)
def test_what_is_no_archive_is_refused(trail: Trail, change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(InvalidCommand, match="no whole archive"):
        found_in(trail, change(archive_of(trail)))


def test_only_a_job_at_rest_is_archived(trail: Trail) -> None:
    trail.submit("job-new", 5)
    for job_id, error in (("job-new", WrongState), ("nobody", JobNotFound)):
        with pytest.raises(error):
            archive_of(trail, job_id)


def test_a_job_that_goes_on_meanwhile_is_told(trail: Trail) -> None:
    trail.heads.append([Head("job-20", 21, 999, bytes(32))])
    with pytest.raises(WrongState, match="goes on"):
        archive_of(trail, "job-20")


def test_what_a_head_disputes_is_found_and_a_forged_one_counts_for_nothing(trail: Trail) -> None:
    plain = archive_of(trail, "job-20")
    forger = HeadsFile(trail.heads.path, AuditKey(bytes(32)))
    forger.append([Head("job-20", 21, 999, bytes(32))])
    forger.dispute([Head("job-20", 3, 3, bytes(32))])
    assert archive_of(trail, "job-20") == plain
    trail.heads.dispute([Head("job-20", 3, 3, bytes(32))])
    trail.heads.dispute([Head("job-draft", 2, 2, bytes(32))])
    report = found_in(trail, archive_of(trail, "job-20"))
    assert {(finding.job_id, finding.version) for finding in report.findings} == {("job-20", 3)}


class Spoiling(io.BytesIO):
    """Keeps another byte than it was given, once it has so many."""

    def write(self, data: Any) -> int:
        if self.tell() < 2000 <= self.tell() + len(data):
            data = data[:-3] + b"?" + data[-2:]
        return super().write(data)


def test_a_file_that_cannot_be_read_again_is_none(trail: Trail) -> None:
    """Rows are deleted once they are in it."""
    with pytest.raises(DataDirectoryUnusable, match=r"cannot be read again .* stays in the data"):
        write_archive(trail.database, trail.heads, "job-20", Spoiling(), wait=lambda _: None)


def test_what_is_written_is_left_at_its_end(trail: Trail) -> None:
    out = io.BytesIO()
    write_archive(trail.database, trail.heads, "job-20", out, wait=lambda _: None)
    assert out.tell() == len(out.getvalue())


def test_a_line_that_nobody_could_read_is_not_written(
    trail: Trail, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(lines_of_archives, "MAX_LINE", 500)
    # As the command line writes it, where nothing is read again.
    with (tmp_path / "file").open("wb") as out, pytest.raises(DataDirectoryUnusable) as refused:
        write_archive(trail.database, trail.heads, "job-20", out, wait=lambda _: None)
    assert "500" in refused.value.message


def test_a_line_that_is_longer_than_any_is_refused(
    trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = archive_of(trail, "job-20")
    longest = max(len(line) for line in text.splitlines(keepends=True))
    monkeypatch.setattr(lines_of_archives, "MAX_LINE", longest)
    assert found_in(trail, text).sound
    monkeypatch.setattr(lines_of_archives, "MAX_LINE", longest - 1)
    with pytest.raises(InvalidCommand, match="longer than any that is written"):
        found_in(trail, text)


def test_no_more_is_held_than_some_bytes_or_a_row(
    trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, taken = archive_of(trail), list[int]()
    insert = archive._insert

    def counted(rows: list[Any], connection: Any) -> None:
        taken.append(len(rows))
        insert(rows, connection)

    monkeypatch.setattr(archive, "_insert", counted)
    assert found_in(trail, text).sound
    assert max(taken) == archive.ROWS_AT_ONCE
    taken.clear()
    monkeypatch.setattr(archive, "BYTES_AT_ONCE", 1)
    assert found_in(trail, text).sound
    assert max(taken) == 1


def test_its_lines_are_those_of_the_tables(trail: Trail) -> None:
    first, *others = map(orjson.loads, archive_of(trail, "job-20").splitlines())
    assert first == {"archive": {"format": 2, "job_id": "job-20"}}
    tables: list[Any] = [line["table"] for line in others if "table" in line]
    assert set(tables) == {
        *("events", "uploads", "payload_keys", "payloads", "outcomes", "chunk_faults")
    }
