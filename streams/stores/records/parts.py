"""Parts: what a job makes of its items, written along with what it does to records."""

from __future__ import annotations

from sqlalchemy import insert

from streams.stores.compression import compress
from streams.stores.records.port import SqlRecords
from streams.stores.schema_files import job_parts


class JobParts:
    """The parts of a job, in the transaction of its records; a :class:`domain.records.Parts`."""

    def __init__(self, records: SqlRecords, job_id: str) -> None:
        self._records = records
        self._job_id = job_id

    def add(self, position: int, data: bytes) -> None:
        """A part that begins with that item; see the port."""
        self._records.part(position)
        self._records.connection.execute(
            insert(job_parts).values(
                job_id=self._job_id,
                position=position,
                created_at=self._records.now,
                data=compress(data),
            )
        )
