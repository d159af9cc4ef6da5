"""Plans: what a dry run has found, for a job that is to do just that."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from streams.stores.records.changes import Target
from streams.stores.schema import plan_targets
from streams.stores.statements import insertion

_INSERT_TARGET = insertion(
    plan_targets, "job_id", "position", "record_table", "record_id", "version", or_ignore=True
)


def insert_targets(connection: Connection, job_id: str, targets: Sequence[Target]) -> None:
    """Keep which records items would change; what an earlier attempt has seen stays."""
    _INSERT_TARGET.run_many(
        connection,
        [
            {
                "job_id": job_id,
                "position": target.position,
                "record_table": target.table,
                "record_id": target.record,
                "version": target.version,
            }
            for target in targets
        ],
    )
