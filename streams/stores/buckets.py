"""Buckets: the limits that jobs share, and which jobs draw from them, for all coordinators.

Whoever plans for a job locks the rows of its buckets by name, before the grants of its system:
so no two take the same tokens. What a job has in flight is a row that its own transactions
write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, Dialect, bindparam, delete, select, update
from sqlalchemy.sql.expression import ClauseElement

from domain.buckets import Shared
from domain.caps import Bucket
from domain.options import Caps
from streams.stores.event_order import NOT_FROZEN
from streams.stores.schema import job_control
from streams.stores.schema_buckets import bucket_uses, buckets
from streams.stores.statements import INSERTS, Statement, fixed, run_sql

BY_SETTINGS = ""


@dataclass(frozen=True, slots=True)
class BucketRow:
    """A bucket as it is stored; times in seconds since the epoch."""

    name: str
    rate: float | None
    concurrency: int | None
    tokens: float
    at: float | None
    version: int
    lowered: int
    changed_by: str
    changed_at: float

    @property
    def caps(self) -> Caps:
        """What it limits."""
        return Caps(rate=self.rate, concurrency=self.concurrency)

    def shared(self, uses: Iterable[Use]) -> Shared:
        """As it stands with what is under way."""
        own = [use for use in uses if use.name == self.name]
        return Shared(
            name=self.name,
            caps=self.caps,
            bucket=_bucket(self.tokens, self.at),
            calls=sum(use.calls for use in own),
            ahead=sum(use.ahead for use in own),
        )


@dataclass(frozen=True, slots=True)
class Use:
    """What a job has of a bucket; see the table."""

    name: str
    job_id: str
    tenant: str
    calls: int = 0
    ahead: int = 0
    waits: bool = False
    heeded: int = 0
    tokens: float = 0.0
    at: float | None = None
    served: float = 0.0
    looked: float = 0.0

    @property
    def bucket(self) -> Bucket:
        """Its own part of the tokens."""
        return _bucket(self.tokens, self.at)


def _bucket(tokens: float, at: float | None) -> Bucket:
    return Bucket(tokens=tokens, at=None if at is None else datetime.fromtimestamp(at, UTC))


_BUCKET_COLUMNS = [buckets.c[name] for name in BucketRow.__slots__]
_USE_COLUMNS = [bucket_uses.c[name] for name in Use.__slots__]


def _put_use(dialect: Dialect) -> ClauseElement:
    names = list(Use.__slots__)
    row = INSERTS[dialect.name](bucket_uses).values({name: bindparam(name) for name in names})
    changed = {name: row.excluded[name] for name in names[3:]}
    made: ClauseElement = row.on_conflict_do_update(index_elements=["name", "job_id"], set_=changed)
    return made


_KNOWN = fixed(select(*_BUCKET_COLUMNS).order_by(buckets.c.name))
_PUT_USE = Statement(_put_use)
_DROP_USE = fixed(
    delete(bucket_uses).where(
        bucket_uses.c.name == bindparam("bucket"), bucket_uses.c.job_id == bindparam("job")
    )
)
_TAKE = fixed(
    update(buckets)
    .where(buckets.c.name == bindparam("bucket"))
    .values(tokens=bindparam("left"), at=bindparam("now"))
)


def known(connection: Connection) -> Mapping[str, BucketRow]:
    """All buckets that somebody has set, by name."""
    return {row[0]: BucketRow(*row) for row in _KNOWN.run(connection)}


def locked(connection: Connection, names: Sequence[str]) -> list[BucketRow]:
    """Those buckets, to oneself until the transaction ends; by name.

    A process that is frozen meanwhile loses its session. SQLite has one writer anyway.
    """
    if connection.dialect.name == "postgresql":
        run_sql(connection, NOT_FROZEN, ())
    statement = (
        select(*_BUCKET_COLUMNS)
        .where(buckets.c.name.in_(names))
        .order_by(buckets.c.name)
        .with_for_update()
    )
    return [BucketRow(*row) for row in connection.execute(statement).tuples()]


def uses(connection: Connection, names: Sequence[str]) -> list[Use]:
    """The jobs that draw from those buckets, but for such as have ended.

    Of an operation that has another bucket since, or is not installed any more, rows may be left.
    """
    ended = select(job_control.c.job_id).where(
        job_control.c.job_id == bucket_uses.c.job_id, job_control.c.ended.is_not(None)
    )
    statement = select(*_USE_COLUMNS).where(bucket_uses.c.name.in_(names), ~ended.exists())
    return [Use(*row) for row in connection.execute(statement).tuples()]


def put_use(connection: Connection, use: Use) -> None:
    """Write what a job has of a bucket."""
    if use.calls or use.waits:
        _PUT_USE.run(connection, **asdict(use))
    else:
        _DROP_USE.run(connection, bucket=use.name, job=use.job_id)


def take(connection: Connection, name: str, bucket: Bucket) -> None:
    """Write what is left in a bucket; its row is locked."""
    at = None if bucket.at is None else bucket.at.timestamp()
    _TAKE.run(connection, bucket=name, left=bucket.tokens, now=at)


def configure(connection: Connection, name: str, caps: Caps, *, by: str, now: float) -> BucketRow:
    """Give a bucket its limits from now on; ``by`` is empty for what the settings say."""
    found = locked(connection, [name])
    before = found[0] if found else None
    version = before.version + 1 if before else 1
    lowers = caps.lowers(before.caps if before else Caps())
    anew = before is None or before.rate != caps.rate
    row = BucketRow(
        name=name,
        rate=caps.rate,
        concurrency=caps.concurrency,
        # The tokens of another rate say nothing about this one.
        tokens=0.0 if anew or before is None else before.tokens,
        at=now if anew or before is None else before.at,
        version=version,
        lowered=version if lowers or before is None else before.lowered,
        changed_by=by,
        changed_at=now,
    )
    values = asdict(row)
    put = INSERTS[connection.dialect.name](buckets).values(**values)
    changed = {key: put.excluded[key] for key in values if key != "name"}
    connection.execute(put.on_conflict_do_update(index_elements=["name"], set_=changed))
    return row


def seed(connection: Connection, table: Mapping[str, Caps], now: float) -> None:
    """Give buckets what the settings say, but for those that somebody has changed since.

    What the settings no longer say holds no longer.
    """
    present = known(connection)
    for name, caps in table.items():
        row = present.get(name)
        if row is None or (row.changed_by == BY_SETTINGS and row.caps != caps):
            configure(connection, name, caps, by=BY_SETTINGS, now=now)
    for name, row in present.items():
        if row.changed_by == BY_SETTINGS and name not in table and row.caps:
            configure(connection, name, Caps(), by=BY_SETTINGS, now=now)
