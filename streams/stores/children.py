"""Children: the jobs of batches, and whether their batches have heard how they are.

A child that has moved says so in the transaction in which it moves. Its batch takes that back
before it looks: who moves after that says so again. Whoever locks control rows of children
has locked that of the batch before, and all of them before it touches rows of this table; and
events are appended after that, as all who append wait for each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from sqlalchemy import Connection, and_, bindparam, insert, select, update

from domain.events import Child, JobStatus
from domain.outcomes import Counts
from streams.stores.schema import children, events, job_control
from streams.stores.statements import fixed

_MOVED = fixed(update(children).where(children.c.job_id == bindparam("job")).values(moved=True))
_HEARD = fixed(
    update(children)
    .where(children.c.batch == bindparam("job"), children.c.moved)
    .values(moved=False)
)


def insert_children(connection: Connection, batch: str, job_ids: Sequence[str]) -> None:
    """The jobs of a new batch, by step."""
    connection.execute(
        insert(children),
        [
            {"batch": batch, "step": step, "job_id": job_id, "moved": False}
            for step, job_id in enumerate(job_ids)
        ],
    )


def say_moved(connection: Connection, job_id: str) -> None:
    """The child is no longer what its batch knows."""
    _MOVED.run(connection, job=job_id)


def hear_all(connection: Connection, batch: str) -> dict[int, Child]:
    """The children as they are now; those that move from now on say so again."""
    _HEARD.run(connection, job=batch)
    rows = connection.execute(
        select(children.c.step, children.c.job_id, events.c.state, job_control.c.ended)
        .join(job_control, job_control.c.job_id == children.c.job_id)
        .join(
            events,
            and_(
                events.c.job_id == job_control.c.job_id,
                events.c.version == job_control.c.version,
            ),
        )
        .where(children.c.batch == batch)
    )
    return {
        step: child_of(step, job_id, orjson.loads(bytes(state)), ended)
        for step, job_id, state, ended in rows
    }


def child_of(step: int, job_id: str, told: dict[str, object], ended: str | None = None) -> Child:
    """A child as its last event tells of it; one that was put away is as it had ended."""
    counts = Counts.model_validate(told["counts"])
    status = JobStatus(str(told["status"]))
    if status is JobStatus.ARCHIVED:
        # What is said of its keeping since then does not tell.
        status = JobStatus(str(ended or told.get("was") or status))
    return Child(step=step, job_id=job_id, status=status, counts=counts)


def unheard(connection: Connection, after: str = "", limit: int = 500) -> list[str]:
    """Batches of which a child has moved, by id behind ``after``; for a sweep."""
    moved = select(children.c.batch).where(children.c.moved, children.c.batch > after)
    page = moved.distinct().order_by(children.c.batch).limit(limit)
    return list(connection.scalars(page))


def status_of(connection: Connection, job_id: str) -> JobStatus | None:
    """The status of a job; None when there is none, as of a batch that was refused in part."""
    state = connection.execute(
        select(events.c.state)
        .join(
            job_control,
            and_(
                events.c.job_id == job_control.c.job_id,
                events.c.version == job_control.c.version,
            ),
        )
        .where(job_control.c.job_id == job_id)
    ).scalar_one_or_none()
    return None if state is None else JobStatus(orjson.loads(bytes(state))["status"])
