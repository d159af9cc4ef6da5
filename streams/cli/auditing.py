"""Auditing: what the audit verbs read from the database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from domain.errors import InvalidCommand, JobNotFound
from domain.job import Job
from domain.jobs import JobMapper
from domain.views import job_view
from streams.cli.documents import JobDocument
from streams.cli.output import plain, whole_file
from streams.cli.storage import existing
from streams.settings import Settings
from streams.stores import audit, migrate
from streams.stores.audit import heads as heads_files
from streams.stores.audit import key as keys
from streams.stores.events import EventRecorder


def replayed(settings: Settings, job_id: str, at: int | None) -> JobDocument:
    """A job as its events up to version ``at`` make it, figures as of the last of them.

    Raises JobNotFound when there is no such job or no such version of it.
    """
    with existing(settings) as database:
        migrate.check(database)
        mapper, stored = JobMapper(), EventRecorder(database).select_events(job_id, lte=at)
        job = Job.project(None, [mapper.to_domain_event(event) for event in stored])
    if job is None or job.updated_at is None:
        raise JobNotFound.of(job_id)
    if at is not None and job.version != at:
        raise JobNotFound(f"job {job_id} has no version {at}; its latest is {job.version}")
    document: JobDocument = job_view(job, job.updated_at).model_dump(mode="json")  # type: ignore[assignment]  # the view's fields are the document's
    return document


def verified(settings: Settings, job_id: str) -> audit.Report:
    """What verification finds, of one job, or of all and of the rules by which jobs are kept.

    Raises JobNotFound for a job of which there is nothing to look at, nor ever was.
    """
    with existing(settings) as database:
        migrate.check(database)
        key = audit.AuditKey.load(settings.data_dir / keys.FILE_NAME)
        heads = audit.HeadsFile(settings.data_dir / heads_files.FILE_NAME, key)
        report = audit.verify(database, heads, job_id=job_id or None)
        if not job_id:
            audit.verify_rules(database, audit.rule_heads(settings.data_dir, key), report)
        elif report.sound and not report.jobs:
            raise JobNotFound.of(job_id)
        return report


def archived(settings: Settings, job_id: str, path: Path) -> audit.Archived:
    """Write the archive of a job; the file is there once all is in it."""
    with existing(settings) as database:
        migrate.check(database)
        key = audit.AuditKey.load(settings.data_dir / keys.FILE_NAME)
        heads = audit.HeadsFile(settings.data_dir / heads_files.FILE_NAME, key)
        with whole_file(path) as file:
            return audit.write_archive(database, heads, job_id, file)


def unsealed(settings: Settings, archive: Path, path: Path) -> int:
    """Write an archive with what is sealed in it opened; how many parts that were."""
    try:
        with existing(settings) as database, archive.open("rb") as file, whole_file(path) as out:
            migrate.check(database)
            return audit.unseal_archive(database, file, out)
    except OSError as error:
        raise InvalidCommand(f"cannot read {archive} ({error.strerror})") from None


def verified_archive(settings: Settings, path: Path) -> tuple[audit.Report, bool]:
    """What is found in an archive, and whether its signatures were looked at."""
    place = settings.data_dir / keys.FILE_NAME
    key = audit.AuditKey.load(place) if place.exists() else None
    try:
        with path.open("rb") as file:
            return audit.verify_archive(file, key), key is not None
    except OSError as error:
        raise InvalidCommand(f"cannot read {path} ({error.strerror})") from None


def told(finding: audit.Finding) -> str:
    """A finding as a line, with its place; what is stored may be anything by now."""
    place = [f"job {finding.job_id}"] if finding.job_id else []
    if finding.version is not None:
        place.append(f"version {finding.version}")
    parts = (finding.kind.value, ", ".join(place), finding.message)
    return plain(": ".join(part for part in parts if part))


def summary(report: audit.Report) -> str:
    """A report as a sentence."""
    found = len(report.findings) + report.more
    looked = f"{_number(report.jobs, 'job')}, {_number(report.events, 'event')}"
    said = f"{looked}: {_number(found, 'finding') if found else 'all is as it was written'}"
    if report.archived:
        said += f"; of {_number(report.archived, 'job')} what is archived was not looked at"
    if report.sealed:
        said += "; what was sent is sealed, and was not looked at: countermand audit unseal"
    return said


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def document(report: audit.Report) -> dict[str, Any]:
    """A report as JSON values."""
    return {
        "sound": report.sound,
        "jobs": report.jobs,
        "events": report.events,
        "parts": report.parts,
        "outcomes": report.outcomes,
        "archived": report.archived,
        "sealed": report.sealed,
        "findings": [
            {
                "kind": finding.kind.value,
                "message": finding.message,
                "job_id": finding.job_id or None,
                "version": finding.version,
            }
            for finding in report.findings
        ],
        "more": report.more,
    }
