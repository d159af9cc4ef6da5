"""Keys: what the items of an upload are called, and which of a job are called the same.

A key is kept as a digest of its canonical JSON, so that a row is small however long the key
is. The rows are written with the parts of the upload; the database finds equal ones, so that
nobody has a million keys in memory. Items without the key have no row, and equal none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import (
    JSON,
    Connection,
    Dialect,
    Integer,
    Select,
    String,
    Subquery,
    bindparam,
    cast,
    delete,
    func,
    insert,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.sql.expression import ClauseElement, ColumnElement

from domain.errors import InvalidCommand
from domain.item_keys import key_of, parts_of
from domain.options import Duplicates
from domain.ranges import Ranges
from streams.stores import sealing
from streams.stores.compression import decompress
from streams.stores.payloads import EDITS_FROM, Part
from streams.stores.schema import events, payloads, uploads
from streams.stores.schema_items import item_keys, repeated_items
from streams.stores.statements import Statement, fixed

DIGEST_BYTES = 16
PARTS_AT_ONCE = 5
"""Parts whose keys are stored in one transaction of an upload: others must not wait long."""
NAMED = 10
"""Repeated items that a refusal names."""
BATCH = 500
MOST = 200_000
"""Repeated items of a job; with more of them the key is hardly what items are called."""


def _inserting(dialect: Dialect) -> ClauseElement:
    """One INSERT from a JSON document: rows one by one take PostgreSQL ten times as long."""
    if dialect.name == "sqlite":
        return insert(item_keys).values(
            upload_id=bindparam("upload"),
            digest=bindparam("digest"),
            position=bindparam("place"),
        )
    element = func.json_array_elements(cast(bindparam("rows"), JSON)).column_valued("element")
    digest = func.decode(element.op("->>")(text("0")), "hex")
    place = cast(element.op("->>")(text("1")), Integer)
    return insert(item_keys).from_select(
        ["upload_id", "digest", "position"], select(bindparam("upload"), digest, place)
    )


_INSERT = Statement(_inserting)
_MARK = fixed(
    update(uploads)
    .where(uploads.c.upload_id == bindparam("upload"))
    .values(keyed_by=bindparam("by"))
)
_MARKED = fixed(select(uploads.c.keyed_by).where(uploads.c.upload_id == bindparam("upload")))


def digest_of(key: bytes) -> bytes:
    """What is kept of a key."""
    return hashlib.blake2b(key, digest_size=DIGEST_BYTES).digest()


def mark(connection: Connection, upload_id: str, pointer: str) -> None:
    """Say that the keys of an upload are stored with its parts."""
    _MARK.run(connection, upload=upload_id, by=pointer)


def store_keys(connection: Connection, upload_id: str, pointer: str, parts: Sequence[Part]) -> None:
    """Store what the items of some parts are called."""
    steps = parts_of(pointer)
    for part in parts:
        _store(connection, upload_id, _digests(part.first_item, part.data, steps))


def ensure_keys(connection: Connection, upload_id: str, pointer: str) -> None:
    """Store the keys of an upload that came without, or with others, part by part."""
    known = _MARKED.run(connection, upload=upload_id).scalar()
    if known == pointer:
        return
    if known is not None:
        connection.execute(delete(item_keys).where(item_keys.c.upload_id == upload_id))
    steps = parts_of(pointer)
    numbers = select(payloads.c.part, payloads.c.first_item).where(
        payloads.c.upload_id == upload_id
    )
    for part, first in connection.execute(numbers).all():
        data = sealing.stored_part(connection, upload_id, part)
        _store(connection, upload_id, _digests(first, data, steps))
    mark(connection, upload_id, pointer)


def _digests(first: int, data: bytes, steps: Sequence[str]) -> list[tuple[bytes, int]]:
    lines = decompress(data).split(b"\n")[:-1]
    keys = ((key_of(line, steps), first + place) for place, line in enumerate(lines))
    # In the order of the index, which is cheaper to write.
    return sorted((digest_of(key), place) for key, place in keys if key is not None)


def _store(connection: Connection, upload_id: str, rows: Sequence[tuple[bytes, int]]) -> None:
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        given = [{"upload": upload_id, "digest": digest, "place": p} for digest, p in rows]
        _INSERT.run_many(connection, given)
        return
    document = orjson.dumps([(digest.hex(), place) for digest, place in rows]).decode()
    _INSERT.run(connection, upload=upload_id, rows=document)


def forget_keys(connection: Connection, job_id: str, positions: Ranges) -> None:
    """Drop the keys of items of a draft, which got other bodies or are not to be worked."""
    for upload_id, first, count in _uploads(connection, job_id):
        wanted = [position - first for position in positions.within(first, first + count)]
        for start in range(0, len(wanted), BATCH):
            some = wanted[start : start + BATCH]
            connection.execute(
                delete(item_keys).where(
                    item_keys.c.upload_id == upload_id, item_keys.c.position.in_(some)
                )
            )


def add_keys(
    connection: Connection, job_id: str, pointer: str, bodies: Mapping[int, bytes]
) -> None:
    """Store what items of a draft are called by their new bodies."""
    steps = parts_of(pointer)
    for upload_id, first, count in _uploads(connection, job_id):
        mine = ((p, key_of(line, steps)) for p, line in bodies.items() if 0 <= p - first < count)
        rows = [(digest_of(key), place - first) for place, key in mine if key is not None]
        _store(connection, upload_id, sorted(rows))


def _uploads(connection: Connection, job_id: str) -> list[tuple[str, int, int]]:
    rows = connection.execute(
        select(uploads.c.upload_id, uploads.c.first_item, uploads.c["items"]).where(
            of_job(job_id)()
        )
    )
    return [(row[0], row[1], row[2]) for row in rows]


# -- which are called the same ----------------------------------------------------------------

Mine = Callable[[], ColumnElement[bool]]
"""Which uploads have a job's items."""


def of_upload(upload_id: str) -> Mine:
    """Those of one upload that no job has claimed yet."""
    return lambda: uploads.c.upload_id == upload_id


def of_job(job_id: str) -> Mine:
    """All that a job has."""
    return lambda: (uploads.c.job_id == job_id) & (uploads.c.first_item < EDITS_FROM)


def _places(mine: Mine) -> Subquery:
    """Digests of keys with positions in the job."""
    first = func.coalesce(uploads.c.first_item, 0)
    return (
        select(item_keys.c.digest, (first + item_keys.c.position).label("place"))
        .join(uploads, uploads.c.upload_id == item_keys.c.upload_id)
        .where(mine())
        .subquery()
    )


def _repeats(mine: Mine, rule: Duplicates) -> Select[Any]:
    """Positions of items that are not to be worked, each with the one that is."""
    places = _places(mine)
    best = func.max if rule is Duplicates.LAST else func.min
    winner = best(places.c.place).over(partition_by=places.c.digest).label("winner")
    judged = select(places.c.place, winner).subquery()
    return select(judged.c.place, judged.c.winner).where(judged.c.place != judged.c.winner)


def settle_repeats(
    connection: Connection,
    job_id: str,
    mine: Mine,
    pointer: str,
    rule: Duplicates,
    *,
    most: int = MOST,
) -> Ranges:
    """The items that others stand for, kept with those.

    Raises InvalidCommand by the rule, and for more of them than ``most``.
    """
    digest = _places(mine).c.digest
    twice = select(digest).group_by(digest).having(func.count() > 1).limit(1)
    if connection.execute(twice).first() is None:
        return Ranges()
    found = _repeats(mine, rule)
    count = connection.scalar(select(func.count()).select_from(found.subquery())) or 0
    if rule is Duplicates.REFUSE:
        named = connection.execute(found.order_by("place").limit(NAMED)).all()
        raise _refusal([(int(place), int(winner)) for place, winner in named], count, pointer)
    if count > most:
        raise InvalidCommand(
            f"{count} items have a {pointer} that others have as well, {most} are possible; name "
            "another key",
            pointer="/options/key",
        )
    # A seal that was refused for something else has left them.
    connection.execute(delete(repeated_items).where(repeated_items.c.job_id == job_id))
    kept = select(literal(job_id, String), *found.subquery().c)
    connection.execute(insert(repeated_items).from_select(["job_id", "position", "winner"], kept))
    return Ranges.of(_kept(connection, job_id))


def _kept(connection: Connection, job_id: str) -> Iterator[int]:
    yield from connection.scalars(
        select(repeated_items.c.position)
        .where(repeated_items.c.job_id == job_id)
        .order_by(repeated_items.c.position)
        .execution_options(yield_per=1000)
    )


def _refusal(named: Sequence[tuple[int, int]], count: int, pointer: str) -> InvalidCommand:
    each = ", ".join(f"{place} (as {winner})" for place, winner in named)
    more = f" and {count - len(named)} more" if count > len(named) else ""
    return InvalidCommand(
        f"items have the same {pointer} as earlier ones: {each}{more}; send each once, or say "
        "which counts by duplicates: first or last",
        pointer=f"/items/{named[0][0]}",
    )


_WINNERS = fixed(
    select(repeated_items.c.position, repeated_items.c.winner).where(
        repeated_items.c.job_id == bindparam("job"),
        repeated_items.c.position >= bindparam("low"),
        repeated_items.c.position < bindparam("high"),
    )
)


def winners(connection: Connection, job_id: str, first: int, end: int) -> dict[int, int]:
    """Of the skipped items of a span, those that stand for them."""
    return dict(_WINNERS.run(connection, job=job_id, low=first, high=end).rows)


def called(connection: Connection, job_id: str, keys: Sequence[bytes]) -> Ranges:
    """The positions of a job's items that have one of the keys."""
    digests = [digest_of(key) for key in keys]
    first = func.coalesce(uploads.c.first_item, 0)
    return Ranges.of(
        connection.scalars(
            select(first + item_keys.c.position)
            .join(uploads, uploads.c.upload_id == item_keys.c.upload_id)
            .where(of_job(job_id)(), item_keys.c.digest.in_(digests))
        )
    )


def pointer_of(connection: Connection, tenant: str, job_id: str) -> str | None:
    """Where the items of a draft have their keys; None where they have none."""
    state = connection.scalar(
        select(events.c.state).where(
            events.c.job_id == job_id, events.c.version == 1, events.c.tenant == tenant
        )
    )
    found = orjson.loads(state)["spec"]["options"].get("key") if state else None
    return None if found is None else str(found)
