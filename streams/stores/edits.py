"""Edits: new bodies of items of a job, stored beside the old ones.

An edit is an upload of its own, which the job claims behind all items: its first line names
the items, each other line is a body. The last one that names an item holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from sqlalchemy import Connection

from domain.commands import UploadedItems
from domain.ranges import Ranges
from streams.stores.payloads import (
    EDITS_FROM,
    Part,
    PartCutter,
    claim_upload,
    store_whole,
)


@dataclass(frozen=True, slots=True)
class Bodies:
    """New bodies of items, in order, and when they came."""

    items: Ranges
    lines: Sequence[bytes]
    at: float


def store_edit(
    connection: Connection, upload_id: str, job: tuple[str, str], edition: int, edit: Bodies
) -> UploadedItems:
    """Store new bodies of items of a job, given by its tenant and id, beside the old ones."""
    tenant, job_id = job
    cutter = PartCutter()
    parts: list[Part] = []
    for line in (orjson.dumps(edit.items.to_json()), *edit.lines):
        parts += cutter.feed(line + b"\n")
    parts += cutter.finish()
    stored = cutter.upload(upload_id)
    store_whole(connection, stored, tenant, edit.at, parts)
    claim_upload(connection, stored, job_id=job_id, part=-edition, first_item=EDITS_FROM + edition)
    return stored
