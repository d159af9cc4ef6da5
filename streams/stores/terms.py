"""Terms: how an undo meets what was written since, as the event that began it says.

Workers ask here and not the message: whoever can send one must not be able to overwrite
what others have written.
"""

from __future__ import annotations

import orjson
from sqlalchemy import Connection, bindparam, select

from domain.events import UndoStarted
from domain.reversal import Terms
from streams.stores.schema import events
from streams.stores.statements import fixed

_BEGUN = fixed(
    select(events.c.state)
    .where(events.c.job_id == bindparam("job"), events.c.alias == UndoStarted.alias)
    .order_by(events.c.version.desc())
    .limit(1)
)


def terms_of(connection: Connection, job_id: str) -> Terms:
    """The terms of a job's present undo."""
    state = _BEGUN.run(connection, job=job_id).scalar()
    if state is None:
        return Terms()
    begun = orjson.loads(bytes(state))
    return Terms(force=begun.get("force", False), partial=bool(begun.get("parts")))
