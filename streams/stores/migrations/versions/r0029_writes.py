"""How much somebody has written stands with who wrote, not in an index of the whole history."""

from __future__ import annotations

from typing import Literal

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision: str | None = "0028"
branch_labels = None
depends_on = None

_WHO = ("tenant", "actor", "job_id", "generation", "chunk", "written_at")
_COUNTS = ("created", "changed", "deleted")
_AT_ONCE = 5000


def upgrade() -> None:
    # SQLite appends a column behind the words that a table ends with.
    sqlite = op.get_context().dialect.name == "sqlite"
    recreate: Literal["always", "never"] = "always" if sqlite else "never"
    own = {"sqlite_autoincrement": True}
    with op.batch_alter_table("writers", recreate=recreate, table_kwargs=own) as table:
        table.add_column(sa.Column("table_id", sa.Integer()))
        for name in _COUNTS:
            table.add_column(sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
    _count()
    op.drop_index("history_writer", "history")


def _count() -> None:
    """From the history, some writers at a time, by the index that goes then."""
    last = op.get_bind().scalar(sa.text("SELECT max(writer) FROM writers")) or 0
    for first in range(1, last + 1, _AT_ONCE):
        _count_some(first, min(first + _AT_ONCE - 1, last))


def _count_some(first: int, last: int) -> None:
    known = set[int]()
    for row in op.get_bind().execute(_written(first, last)).mappings().all():
        counts = {name: int(row[name]) for name in ("table_id", *_COUNTS)}
        if row["writer"] in known:
            # A row for each table; the history goes on naming the first.
            who = {name: row[name] for name in _WHO}
            op.get_bind().execute(_writers.insert().values(**who, **counts))
            continue
        known.add(row["writer"])
        of_writer = _writers.c.writer == row["writer"]
        op.get_bind().execute(_writers.update().where(of_writer).values(**counts))


_history = sa.table("history", *map(sa.column, ("writer", "table_id", "deleted", "version")))
_writers = sa.table("writers", *map(sa.column, ("writer", *_WHO, "table_id", *_COUNTS)))


def _written(first: int, last: int) -> sa.Select[tuple[object, ...]]:
    deleted, old = _history.c.deleted.is_(sa.true()), _history.c.version > 1
    kinds = (sa.and_(~deleted, ~old), sa.and_(~deleted, old), deleted)
    sums = [
        sa.func.sum(sa.case((kind, 1), else_=0)).label(name)
        for name, kind in zip(_COUNTS, kinds, strict=True)
    ]
    who = [_writers.c[name] for name in _WHO]
    return (
        sa.select(_history.c.writer, _history.c.table_id, *who, *sums)
        .join(_writers, _writers.c.writer == _history.c.writer)
        .where(_history.c.writer.between(first, last))
        .group_by(_history.c.writer, _history.c.table_id, *who)
        .order_by(_history.c.writer, _history.c.table_id)
    )
