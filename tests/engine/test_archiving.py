"""An archived job gives up what it was worked with, once all of it is safe in a file."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard
from sqlalchemy import select, update

from domain.commands import (
    ArchiveJob,
    CancelJob,
    HoldJob,
    JobSpec,
    OpenJob,
    ReleaseJob,
    RetryJob,
    ShredJob,
    UndoJob,
)
from domain.errors import ItemsArchived, NotReversible, WrongState
from domain.events import JobStatus
from domain.job import Job
from domain.options import JobOptions
from streams import archiving
from streams.archiving import RESTS_AFTER_FAULT
from streams.diffs import Run
from streams.failpoints import Failpoint, Failpoints
from streams.stores import audit
from streams.stores.database import Database
from streams.stores.schema import payload_keys, uploads
from streams.stores.sealing import InstallationKey
from tests.databases import database, database_url
from tests.engine.batches import children, step, submit
from tests.engine.keeping import NAMES, Death, Keeping, kept

__all__ = ["database", "database_url"]

GIVEN_UP = ("outcomes", "payloads", "payload_keys", "item_keys", "chunk_faults", "plan_targets")
PLACES = (
    Failpoint.BEFORE_ARCHIVE,
    Failpoint.ARCHIVE_WRITTEN,
    Failpoint.ARCHIVE_NAMED,
    Failpoint.WITHIN_CLEARING,
)


@pytest.fixture
def keeping(database: Database, tmp_path: Path) -> Keeping:
    return kept(database, tmp_path)


class AtWritten(Failpoints):
    """Does something when a file is written and does not count yet."""

    def __init__(self, do: Callable[[], None]) -> None:
        super().__init__()
        self._do = do

    def reach(self, place: Failpoint) -> None:
        if place is Failpoint.ARCHIVE_WRITTEN:
            self._do()


class Between:
    """A database; once it has begun, another's work is done behind what is read of it next."""

    def __init__(self, database: Database, work: Callable[[], Awaitable[None]]) -> None:
        self._database = database
        self._work = work
        self._begun = False

    def begin(self, remains: Sequence[Path]) -> None:
        """The other one removes what it takes for remains, and is then at work itself."""
        for path in remains:
            path.unlink()
        self._begun = True

    async def read(self, work: Any) -> Any:
        found = await self._database.read(work)
        if self._begun:
            self._begun = False
            await self._work()
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)


async def _archived(keeping: Keeping, job_id: str) -> Job:
    (await keeping.stages.command(ArchiveJob, job_id, reason="the season is over")).accepted()
    await keeping.stages.run_dry()
    return await keeping.stages.job(job_id)


async def _left(keeping: Keeping) -> dict[str, int]:
    """How many rows are left in the tables of what is given up."""
    found = {}
    for table in GIVEN_UP:
        ((found[table],),) = await keeping.stages.rows(f"SELECT count(*) FROM {table}")
    return {table: rows for table, rows in found.items() if rows}


def _verified(file: Path, keeping: Keeping) -> list[audit.Finding]:
    key = audit.AuditKey.load(keeping.folder / "audit.key")
    with file.open("rb") as opened:
        return audit.verify_archive(opened, key).findings


async def test_without_a_file_an_archived_job_is_only_put_away(keeping: Keeping) -> None:
    job_id = await keeping.done()
    before = await keeping.stages.job(job_id)
    job = await _archived(keeping, job_id)
    assert (job.status, job.ended) == (JobStatus.ARCHIVED, JobStatus.COMPLETED)
    assert (job.counts, job.finished_at) == (before.counts, before.finished_at)
    assert len([view async for view in keeping.queries.items("local", job_id)]) == len(NAMES)
    for kind in (UndoJob, RetryJob):
        decision = await keeping.stages.command(kind, job_id)
        with pytest.raises(WrongState, match=r"archived by tester \(the season is over\)"):
            decision.accepted()
    assert keeping.report().findings == []


async def test_what_it_was_worked_with_is_in_a_file_and_nowhere_else(keeping: Keeping) -> None:
    stages = keeping.stages
    items = [*NAMES, {"name": "!no"}]
    job_id = await stages.submit("stock.create", items, options=JobOptions(key="/name"))
    await stages.run_dry()
    before = await _archived(keeping, job_id)
    await keeping.archive()
    job = await stages.job(job_id)
    (file,) = keeping.files(job_id)
    assert job.emptied is not None
    assert job.emptied.name == f"{job_id}/{file.name}"
    content = file.read_bytes()
    assert job.emptied.sha256 == hashlib.sha256(content).hexdigest()
    assert job.emptied.size == len(content)
    assert file.stat().st_mode & 0o077 == 0
    assert _verified(file, keeping) == []

    assert await _left(keeping) == {}
    assert (job.counts, job.ended, job.possible()) == (before.counts, before.ended, [])
    assert await stages.rows("SELECT stage FROM archives") == [("cleared",)]
    report = keeping.report()
    assert (report.findings, report.archived, report.events) == ([], 1, job.version)
    assert Job.project(None, stages.jobs.events.get(job_id)) == job
    assert keeping.retained.counted["clear"] == 1


async def test_who_asks_for_items_is_told_in_which_file_they_are(keeping: Keeping) -> None:
    job_id, other = await keeping.done(), await keeping.done()
    job = await _archived(keeping, job_id)
    await keeping.archive()
    queries = keeping.queries
    asked: dict[str, Any] = {
        "items": lambda: anext(queries.items("local", job_id)),
        "one": lambda: queries.item_past("local", job_id, 3),
        "errors": lambda: queries.errors("local", job_id),
        "codes": lambda: queries.codes("local", job_id),
        "diff": lambda: queries.diff_summary("local", Run(other), Run(job_id)),
        "an earlier run": lambda: queries.diff_summary(
            "local", Run(job_id, job.version - 1), Run(other)
        ),
    }
    (file,) = keeping.files(job_id)
    for question in asked.values():
        with pytest.raises(ItemsArchived, match=rf"{job_id}/{file.name} \(SHA-256 [0-9a-f]{{64}}"):
            await question()
    assert (await queries.job("local", job_id, 1)).counts.pending == len(NAMES)
    versions, _ = await queries.history("local", "stock", 1, limit=5)
    assert (versions[0].write.writer.job_id, versions[0].write.cause) == (job_id, "apply")
    with (
        (keeping.folder / "again").open("w+b") as again,
        pytest.raises(WrongState, match="archived already: its archive is"),
    ):
        audit.write_archive(keeping.stages.database, keeping.heads, job_id, again)


@pytest.mark.parametrize("place", PLACES)
async def test_a_death_between_any_two_steps_leaves_the_rows_or_both(
    keeping: Keeping, place: Failpoint
) -> None:
    stages, job_id = keeping.stages, await keeping.done()
    await _archived(keeping, job_id)
    keeping.renew(place)
    with pytest.raises(Death):
        await keeping.archive(looks=3)
    left, file = await _left(keeping), (await stages.job(job_id)).emptied
    assert file is not None or left["outcomes"]
    if file is not None:
        (kept_file,) = keeping.files(job_id)
        assert _verified(kept_file, keeping) == []
    assert keeping.report().findings == []

    stages.bus.clear()
    stages.restart()
    keeping.renew()
    await keeping.archive(looks=3)
    job = await stages.job(job_id)
    (whole,) = keeping.files(job_id)
    assert job.emptied is not None
    assert job.emptied.sha256 == hashlib.sha256(whole.read_bytes()).hexdigest()
    assert _verified(whole, keeping) == []
    assert await _left(keeping) == {}
    assert await stages.kinds(job_id) == [*(await stages.kinds(job_id))[:-2], *_AT_LAST]
    assert keeping.report().findings == []


_AT_LAST = ["job.archived", "job.emptied"]


async def test_what_a_death_has_left_of_a_file_is_removed(keeping: Keeping) -> None:
    job_id = await keeping.done()
    await _archived(keeping, job_id)
    folder = keeping.archives / job_id
    folder.mkdir(parents=True)
    for remains in ("id-0.part", "0123456789abcdef.ndjson"):
        (folder / remains).write_text("in the clear")
    await keeping.archive()
    assert len(keeping.files(job_id)) == 1


async def test_two_who_write_the_same_file_leave_one_that_counts(keeping: Keeping) -> None:
    stages, job_id = keeping.stages, await keeping.done()
    await _archived(keeping, job_id)
    first = keeping.archivist
    keeping.renew()
    await asyncio.gather(first.look(), keeping.archivist.look())
    await stages.run_dry()
    keeping.renew()
    await keeping.archive()
    job = await stages.job(job_id)
    (file,) = keeping.files(job_id)
    assert job.emptied is not None
    assert job.emptied.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert await _left(keeping) == {}


async def test_who_is_too_late_does_not_remove_the_same_file_of_another(
    keeping: Keeping,
) -> None:
    job_id, quick = await keeping.done(), keeping.archivist
    await _archived(keeping, job_id)
    between = Between(keeping.stages.database, quick.look)
    late = keeping.another(between, AtWritten(lambda: between.begin(keeping.files(job_id))))
    await late.look()
    await quick.look()
    (file,) = keeping.files(job_id)
    assert await keeping.stages.rows("SELECT name FROM archives") == [(f"{job_id}/{file.name}",)]


async def test_a_job_that_is_held_before_its_file_counts_gives_up_nothing(
    keeping: Keeping,
) -> None:
    stages, job_id = keeping.stages, await keeping.done()
    await _archived(keeping, job_id)
    keeping.renew(Failpoint.ARCHIVE_WRITTEN)
    with pytest.raises(Death):
        await keeping.archivist.look()
    keeping.renew()
    (await stages.command(HoldJob, job_id, reason="case 17")).accepted()
    await keeping.archive()
    assert (await stages.job(job_id)).emptied is None
    assert "outcomes" in await _left(keeping)
    (await stages.command(ReleaseJob, job_id)).accepted()
    await keeping.archive()
    job = await stages.job(job_id)
    assert job.emptied is not None
    assert [file.name for file in keeping.files(job_id)] == [job.emptied.name.partition("/")[2]]
    assert await _left(keeping) == {}


async def test_no_file_has_what_a_rule_says_is_to_be_shredded(keeping: Keeping) -> None:
    stages, job_id = keeping.stages, await keeping.done()
    await keeping.rule("stock.*", shred_after=100)
    await _archived(keeping, job_id)
    await keeping.archive()
    assert keeping.files(job_id) == []
    stages.clock.pass_seconds(200)
    assert await keeping.look() == 1
    assert (await stages.job(job_id)).shredded is not None
    await keeping.archive()
    (file,) = keeping.files(job_id)
    assert b"bjE3" not in file.read_bytes()
    assert _verified(file, keeping) == []
    assert keeping.report().findings == []


async def test_those_that_wait_for_their_shredding_keep_no_other_from_its_file(
    keeping: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiving, "FILES_AT_ONCE", 2)
    await keeping.rule("stock.create", shred_after=100)
    waiting = [await keeping.done() for _ in range(5)]
    free = [await keeping.done("stock.remove") for _ in range(3)]
    for job_id in (*waiting, *free):
        await _archived(keeping, job_id)
    await keeping.archive(looks=1)
    assert [len(keeping.files(job_id)) for job_id in free] == [1, 1, 0]
    await keeping.archive(looks=1)
    assert [len(keeping.files(job_id)) for job_id in free] == [1, 1, 1]
    assert not any(keeping.files(job_id) for job_id in waiting)


async def test_so_many_jobs_are_read_at_a_look_and_the_next_goes_on_behind_them(
    keeping: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiving, "READ_AT_ONCE", 2)
    monkeypatch.setattr(archiving, "READS_AT_A_LOOK", 2)
    await keeping.rule("stock.create", shred_after=100)
    jobs = [await keeping.done() for _ in range(5)]
    free = await keeping.done("stock.remove")
    for job_id in (*jobs, free):
        await _archived(keeping, job_id)
    await keeping.archive(looks=1)
    assert keeping.files(free) == []
    await keeping.archive(looks=1)
    assert len(keeping.files(free)) == 1
    # And from the beginning again.
    keeping.stages.clock.pass_seconds(200)
    assert await keeping.look() == len(jobs)
    await keeping.archive(looks=2)
    assert [len(keeping.files(job_id)) for job_id in jobs] == [1] * len(jobs)


async def test_no_signature_of_another_job_is_looked_at_for_a_file(
    keeping: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [await keeping.done() for _ in range(3)]
    for job_id in jobs:
        await _archived(keeping, job_id)
    keeping.heads.append(audit.Head(f"other-{n}", 1, n, bytes(32)) for n in range(50))
    signed, sign = list[str](), audit.AuditKey.sign

    def counted(key: audit.AuditKey, tag: str, head: audit.Head) -> bytes:
        signed.append(head.job_id)
        return sign(key, tag, head)

    monkeypatch.setattr(audit.AuditKey, "sign", counted)
    await keeping.archivist.look()
    monkeypatch.undo()
    assert set(signed) == set(jobs)
    for job_id in jobs:
        (file,) = keeping.files(job_id)
        assert _verified(file, keeping) == []


async def test_what_was_given_up_cannot_be_shredded_and_says_where_it_is(keeping: Keeping) -> None:
    job_id = await keeping.done()
    await _archived(keeping, job_id)
    await keeping.archive()
    decision = await keeping.stages.command(ShredJob, job_id, reason="asked")
    with pytest.raises(WrongState, match=r"archived by tester.*; possible: nothing"):
        decision.accepted()


@pytest.fixture
def sealed(database_url: str, tmp_path: Path) -> Iterator[Keeping]:
    """An installation that seals what it is sent."""
    with Database(database_url, key=InstallationKey(bytes(range(32)))) as database:
        yield kept(database, tmp_path)


def _unsealed(file: Path, keeping: Keeping) -> Path:
    out = keeping.folder / "clear.ndjson"
    with file.open("rb") as archive, out.open("wb") as clear:
        audit.unseal_archive(keeping.stages.database, archive, clear)
    return out


def _sent(file: Path) -> bytes:
    """What of an archive was sent, as far as that can be read."""
    rows = [orjson.loads(line).get("row", {}) for line in file.read_bytes().splitlines()]
    parts = [base64.b64decode(row["data"]) for row in rows if "data" in row]
    return b"".join(zstandard.decompress(part) for part in parts)


async def test_what_was_sent_is_sealed_in_the_file_and_can_be_shredded_there(
    sealed: Keeping,
) -> None:
    keeping = sealed
    job_id = await keeping.done()
    await _archived(keeping, job_id)
    await keeping.archive()
    job = await keeping.stages.job(job_id)
    (file,) = keeping.files(job_id)
    assert job.emptied is not None
    assert (job.emptied.sealed, job.possible()) == (True, ["hold", "shred"])
    with pytest.raises(zstandard.ZstdError):
        _sent(file)
    assert _verified(file, keeping) == []
    clear = _unsealed(file, keeping)
    assert _verified(clear, keeping) == []
    assert _sent(clear).count(b"\n") == len(NAMES)

    (await keeping.stages.command(ShredJob, job_id, reason="asked")).accepted()
    with pytest.raises(WrongState, match="nobody can read it any more"):
        _unsealed(file, keeping)
    assert (await keeping.stages.job(job_id)).possible() == []
    assert _verified(file, keeping) == []
    assert keeping.report().findings == []
    assert await keeping.stages.rows("SELECT stage FROM archives") == [("cleared",)]


async def test_what_is_held_after_it_was_archived_is_not_shredded(sealed: Keeping) -> None:
    keeping = sealed
    job_id = await keeping.done()
    await _archived(keeping, job_id)
    await keeping.archive()
    (await keeping.stages.command(HoldJob, job_id, reason="the court")).accepted()
    decision = await keeping.stages.command(ShredJob, job_id, reason="asked")
    with pytest.raises(WrongState, match="held by tester"):
        decision.accepted()
    another = keeping.folder / "another"
    with another.open("w+b") as out, pytest.raises(WrongState, match="archived already"):
        audit.write_archive(keeping.stages.database, keeping.heads, job_id, out)


async def test_a_disk_that_takes_nothing_loses_nothing_and_is_let_rest(keeping: Keeping) -> None:
    job_id = await keeping.done()
    await _archived(keeping, job_id)
    keeping.archives.write_text("no directory")
    await keeping.archive()
    assert "outcomes" in await _left(keeping)
    assert keeping.retained.counted["file_not_written"] == 1
    keeping.archives.unlink()
    await keeping.archive(looks=RESTS_AFTER_FAULT - 1)
    assert not keeping.archives.exists()
    await keeping.archive(looks=3)
    assert await _left(keeping) == {}
    assert len(keeping.files(job_id)) == 1


async def test_a_job_that_cannot_be_read_keeps_no_other_from_its_file(keeping: Keeping) -> None:
    sick, well = await keeping.done(), await keeping.done()
    unknown = update(payload_keys).values(algorithm="another")
    mine = select(uploads.c.upload_id).where(uploads.c.job_id == sick).scalar_subquery()
    await keeping.stages.database.write(
        lambda c: c.execute(unknown.where(payload_keys.c.upload_id.in_(mine)))
    )
    for job_id in (sick, well):
        await _archived(keeping, job_id)
    await keeping.archive()
    assert (keeping.files(sick), len(keeping.files(well))) == ([], 1)
    assert keeping.retained.counted["file_not_written"] == 1
    assert (await keeping.stages.job(sick)).emptied is None


async def test_nothing_is_deleted_while_its_file_is_not_there(keeping: Keeping) -> None:
    job_id = await keeping.done()
    await _archived(keeping, job_id)
    await keeping.archive(looks=1)
    (file,) = keeping.files(job_id)
    elsewhere = file.rename(keeping.folder / "elsewhere")
    await keeping.archive(looks=2)
    assert "outcomes" in await _left(keeping)
    assert keeping.retained.counted["file_missing"] == 2
    elsewhere.rename(file)
    await keeping.archive()
    assert await _left(keeping) == {}


async def test_a_batch_is_archived_with_its_jobs_or_not_at_all(keeping: Keeping) -> None:
    stages = keeping.stages
    batch = await submit(stages, step("first"), step("second", "first"))
    await stages.run_dry()
    jobs = await children(stages, batch)
    (await stages.command(HoldJob, jobs["second"].id, reason="case 17")).accepted()
    refused = await stages.command(ArchiveJob, batch)
    with pytest.raises(WrongState, match=r"held by tester \(case 17\): archive is not") as why:
        refused.accepted()
    assert why.value.pointer.startswith("/steps/1")
    assert (await children(stages, batch))["first"].status is JobStatus.COMPLETED
    (await stages.command(ReleaseJob, jobs["second"].id)).accepted()
    await _archived(keeping, batch)
    told = {name: job.status for name, job in (await children(stages, batch)).items()}
    assert told == dict.fromkeys(("first", "second"), JobStatus.ARCHIVED)
    await keeping.archive()
    assert await _left(keeping) == {}
    for job_id in (batch, *(job.id for job in jobs.values())):
        (file,) = keeping.files(job_id)
        assert _verified(file, keeping) == []
    assert keeping.report().findings == []
    assert (await stages.job(batch)).ended is JobStatus.COMPLETED


async def test_a_batch_of_which_a_job_is_archived_stays_and_is_not_undone(keeping: Keeping) -> None:
    stages = keeping.stages
    batch = await submit(stages, step("first"), step("second", "first"))
    await stages.run_dry()
    first = (await children(stages, batch))["first"]
    version = (await stages.job(batch)).version
    await _archived(keeping, first.id)
    assert ((await stages.job(batch)).version, (await stages.job(batch)).status) == (
        version,
        JobStatus.COMPLETED,
    )
    decision = await stages.command(UndoJob, batch)
    with pytest.raises((WrongState, NotReversible), match="is archived by tester"):
        decision.accepted()
    assert (await stages.job(batch)).status is JobStatus.COMPLETED


async def test_who_comes_after_an_archived_job_goes_by_how_that_has_ended(
    keeping: Keeping,
) -> None:
    stages, job_id = keeping.stages, await keeping.done()
    await _archived(keeping, job_id)
    await keeping.archive()
    behind = await keeping.done(options=JobOptions.model_validate({"after": [{"job_id": job_id}]}))
    assert (await stages.job(behind)).status is JobStatus.COMPLETED


async def test_what_is_said_of_an_archived_job_s_keeping_changes_nothing_of_its_batch(
    keeping: Keeping,
) -> None:
    stages = keeping.stages
    batch = await submit(stages, step("first"), step("late", options=LATE))
    await stages.run_dry()
    first = (await children(stages, batch))["first"]
    await _archived(keeping, first.id)
    (await stages.command(HoldJob, first.id, reason="case 17")).accepted()
    (await stages.command(CancelJob, (await children(stages, batch))["late"].id)).accepted()
    await stages.run_dry()
    told = {child.job_id: child.status for child in (await stages.job(batch)).children}
    assert told[first.id] is JobStatus.COMPLETED


LATE = {"start_at": "2030-01-01T00:00:00Z"}


async def test_who_wants_the_results_of_an_emptied_job_is_told_where_they_are(
    keeping: Keeping,
) -> None:
    stages = keeping.stages
    batch = await submit(stages, step("first"))
    await stages.run_dry()
    first = (await children(stages, batch))["first"]
    await _archived(keeping, first.id)
    await keeping.archive()
    spec = JobSpec.model_validate(
        {
            "operation": "stock.remove",
            "options": {"after": [{"job_id": first.id, "consume": {"id": "id"}}]},
        }
    )
    fed = stages.ids.new()
    (await stages.command(OpenJob, fed, spec=spec)).accepted()
    await stages.run_dry()
    job = await stages.job(fed)
    assert job.status is JobStatus.CANCELLED
    assert f"the results of job {first.id} are archived in {first.id}/" in job.skipped
