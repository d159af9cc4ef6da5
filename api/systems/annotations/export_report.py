"""Export report: what an export has read, and what its file will not have of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from api.systems.annotations.wire import moment
from domain.events import JobStatus
from domain.job import Job
from domain.outcomes import ItemStatus
from domain.systems.annotations.export_reading import NONE_FITS, STALE, STALE_MESSAGE
from domain.systems.annotations.export_terms import written
from domain.systems.annotations.formats import box_losses, losses
from domain.systems.annotations.formats.contract import Subject
from domain.systems.annotations.outlets import terms_of
from streams.items import ItemView
from streams.stores.job_files import MAX_SECONDS, JobFile
from streams.systems.annotations.numbers import Numbered

BESIDE: Final = (
    "ids and versions of records",
    "who made and who changed them, and when",
    "colours and hotkeys of labels, and labels that no annotation has",
)
"""What no file has, whatever its format."""

_ENDED: Final = frozenset({JobStatus.COMPLETED, JobStatus.ARCHIVED})
_MESSAGES: Final[Mapping[Subject, Mapping[str, str]]] = {
    Subject.TEXT: {**losses.MESSAGES, STALE: STALE_MESSAGE},
    Subject.IMAGE: box_losses.MESSAGES,
}


async def report_of(
    found: Numbered, job: Job, items: AsyncIterator[ItemView], file: JobFile | None
) -> dict[str, Any]:
    """The report as JSON; it counts what was read so far."""
    form = written(terms_of(found.kind, job.spec.params).format)
    messages = _MESSAGES[form.subject]
    documents = annotations = left_out = failed = 0
    lost: Counter[str] = Counter()
    async for item in items:
        result = item.result if isinstance(item.result, Mapping) else {}
        if "annotations" in result:
            documents += 1
            annotations += int(result["annotations"])
            lost.update(result.get("losses", ()))
        elif item.status is ItemStatus.SKIPPED:
            left_out += 1
            if item.error is not None and item.error.message == NONE_FITS:
                lost[STALE] += 1
        elif item.status is ItemStatus.FAILED:
            failed += 1
    return {
        "operation_id": found.operation_id,
        "export": {
            "format": form.name,
            "title": form.title,
            "media_type": form.media_type,
            "status": job.status.value,
            "dry_run": job.options.dry_run,
            "complete": job.status in _ENDED and not failed,
            "documents": documents,
            "annotations": annotations,
            "left_out": left_out,
            "failed": failed,
            "losses": [
                {"code": code, "message": messages[code], "documents": count}
                for code, count in sorted(lost.items())
            ],
            "beside": list(BESIDE),
            "file": None if file is None else _file(file),
        },
    }


def _file(file: JobFile) -> dict[str, Any]:
    return {
        "name": file.name,
        "size": file.size,
        "sha256": file.sha256,
        "expires_at": moment(file.created_at + MAX_SECONDS),
    }
