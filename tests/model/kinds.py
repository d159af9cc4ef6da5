"""The jobs that callers of the model ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from domain.buckets import SharedLimit
from domain.commands import Cap, Edit, Selection, SentStep, UndoSelection, UploadedItems
from domain.options import (
    After,
    Backoff,
    Ending,
    JobOptions,
    Limit,
    OnDeadline,
    OnError,
    Reaction,
    RetryPolicy,
    Start,
)
from domain.ranges import Ranges
from domain.steps import Needs
from tests.model.buckets import BUCKETS
from tests.model.tables import NATURES

PATIENCE = 2
"""How often somebody outside is asked."""
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
DEADLINES = (BEGIN + timedelta(seconds=8), BEGIN + timedelta(seconds=40))

sizes = st.sampled_from((1, 2, 3, 5, 8, 13, 21))
natures = st.one_of(
    st.text(st.sampled_from("ssssllnft"), min_size=1, max_size=8),
    st.text(st.sampled_from(NATURES), min_size=1, max_size=8),
    st.text(st.sampled_from("sssub"), min_size=1, max_size=8),
)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a caller wants done; ``does`` are the natures of the items, repeated."""

    items: int
    does: str
    options: JobOptions
    slow: bool
    draft: bool
    grave: bool = False
    """Whether it needs approval."""
    outside: bool = False
    """Whether it does something elsewhere as well, which an undo must take back there."""
    draws: tuple[str, ...] = ()
    """The buckets that it draws from, which others draw from as well."""


policies = st.builds(
    RetryPolicy,
    attempts=st.sampled_from((2, 3)),
    delay=st.sampled_from((0.0, 1.0, 5.0)),
    codes=st.sampled_from(
        (
            {},
            {"bad": Backoff(attempts=2, delay=0)},
            {"worker_died": Backoff()},
            {"timeout": Backoff(attempts=3, delay=0)},
        )
    ),
)
_window = st.sampled_from((None, None, 4))
_codes = st.sampled_from(((), (), ("later", "timeout")))
_then = st.sampled_from(Reaction)
limits = st.builds(
    Limit, failed=st.sampled_from((0, 1, 2)), window=_window, codes=_codes, then=_then
) | st.builds(Limit, percent=st.sampled_from((10.0, 40.0)), window=_window, then=_then)
selections = st.sampled_from(
    (
        Selection(),
        Selection(unattempted=True),
        Selection(items=(0, 1, 2)),
        Selection(codes=("later",)),
        Selection(codes=("timeout",)),
        Selection(codes=("bad", "worker_died")),
        Selection(signatures=("bad even", "later odd", "timeout odd")),
        Selection(codes=("later",), signatures=("later even", "bad even")),
        Selection(edits=(Edit(item=0, body="s"), Edit(item=2, body="f"))),
    )
)

parts = st.sampled_from(
    (
        UndoSelection(),
        UndoSelection(),
        UndoSelection(items=(0,)),
        UndoSelection(items=(1, 4)),
        UndoSelection(chunks=(0, 3)),
        UndoSelection(records=("records/0",)),
        UndoSelection(records=("records/1", "records/2")),
    )
)

endings: st.SearchStrategy[dict[str, bool]] = st.sampled_from(
    ({}, {"roll_back": True}, {"graceful": True}, {"graceful": True, "roll_back": True})
)

adjustments = st.sampled_from(
    (
        {"rate": 1.0},
        {"rate": 10.0, "priority": 9},
        {"concurrency": 1},
        {"concurrency": 3, "lift": ("rate",)},
        {"lift": ("rate", "concurrency")},
        {"priority": 0},
        {"lift": ("start_at",)},
        {"start_at": BEGIN + timedelta(seconds=30)},
        {"deadline": BEGIN + timedelta(seconds=45)},
        {"lift": ("deadline",), "priority": 3},
    )
)


edits: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    (
        {"drop": (0,)},
        {"drop": (1, 4)},
        {"drop": (2,), "edits": (Edit(item=0, body="f"),)},
        {"edits": (Edit(item=1, body="s"), Edit(item=3, body="k"))},
    )
)


limited: st.SearchStrategy[tuple[str, SharedLimit]] = st.tuples(
    st.sampled_from(BUCKETS),
    st.sampled_from(
        (
            SharedLimit(concurrency=1),
            SharedLimit(concurrency=1),
            SharedLimit(concurrency=3),
            SharedLimit(rate=1.0),
            SharedLimit(rate=4.0, concurrency=2),
            SharedLimit(lift=(Cap.RATE,)),
            SharedLimit(lift=(Cap.RATE, Cap.CONCURRENCY)),
        )
    ),
)
"""What operators have jobs share of a provider, or of a queue."""
draws: st.SearchStrategy[tuple[str, ...]] = st.sampled_from(((), BUCKETS[1:], BUCKETS))


def _quick(kind: Kind, told: Mapping[str, object], **fields: Any) -> Kind:
    """The same of fast work, of which no item has a time of its own."""
    options = kind.options.model_copy(update={"item_timeout": None, **told})
    return replace(kind, options=options, slow=False, **fields)


def _able(kind: Kind) -> Kind:
    """The same with what its operation can have."""
    return kind if kind.slow else _quick(kind, {})


def _whole(kind: Kind) -> Kind:
    """The same as an atomic job, with what such a job can have."""
    told = {"atomic": True, "dry_run": False, "on_error": OnError.KEEP}
    return _quick(kind, told, outside=False)


def _elsewhere(kind: Kind) -> Kind:
    """The same of an operation that does something outside of the database."""
    return _quick(kind, {}, outside=True)


_jobs = st.builds(
    Kind,
    items=sizes,
    does=natures,
    options=st.builds(
        JobOptions,
        chunk_size=st.sampled_from((1, 2, 3, 5, 8, "auto")),
        start=st.sampled_from(Start),
        retry=st.none() | policies,
        dry_run=st.sampled_from((False,) * 7 + (True,)),
        rate=st.sampled_from((None, None, None, 1.0, 4.0)),
        concurrency=st.sampled_from((None, None, None, 1, 2)),
        tolerate=st.just(()) | st.lists(limits, min_size=1, max_size=2).map(tuple),
        key=st.sampled_from((None,) * 5 + ("/id",)),
        start_at=st.sampled_from((None,) * 5 + (BEGIN + timedelta(seconds=10),)),
        deadline=st.sampled_from((None,) * 4 + DEADLINES),
        on_deadline=st.sampled_from(OnDeadline),
        on_error=st.sampled_from((OnError.KEEP, OnError.KEEP, OnError.KEEP, OnError.ROLL_BACK)),
        timeout=st.sampled_from((None,) * 5 + (7.0, 25.0)),
        item_timeout=st.sampled_from((None, 2.0, 2.0, 6.0)),
    ),
    slow=st.booleans(),
    draft=st.booleans(),
    grave=st.sampled_from((False,) * 7 + (True,)),
    draws=draws,
).map(_able)
jobs = st.one_of(_jobs, _jobs, _jobs, _jobs.map(_whole), _jobs.map(_elsewhere))


def _rehearsed(kind: Kind) -> Kind:
    """The same as a dry run, which is to end soon."""
    told = {
        "dry_run": True,
        "start": Start.SEALED,
        "start_at": None,
        "rate": None,
        "on_error": OnError.KEEP,
        "retry": None,
    }
    return _quick(kind, told, items=min(kind.items, 5), draft=False)


def _calm(kind: Kind) -> Kind:
    """The same of fast work, whose items are all there when it begins."""
    told = {"start": Start.SEALED, "key": None, "dry_run": False}
    return _quick(kind, told, draft=False, grave=False)


selectable = _jobs.map(_calm)
"""Jobs that can be asked for by a filter."""
rehearsals = _jobs.map(_rehearsed)
"""Dry runs that may be applied."""

follows = st.lists(
    st.tuples(st.integers(0, 11), st.sampled_from(Ending), st.sampled_from((False, False, True))),
    min_size=1,
    max_size=2,
)
"""Which jobs one comes after, how these must have ended, and whether it takes their results."""


def following(kind: Kind, after: tuple[After, ...]) -> Kind:
    """The same behind other jobs, of which one at most gives it its items."""
    fed = next((each.job_id for each in after if each.consume), None)
    plain = [a if a.job_id == fed else a.model_copy(update={"consume": {}}) for a in after]
    told: dict[str, Any] = {"after": tuple(plain), "start": Start.SEALED}
    if fed is not None:
        told["key"] = None
    return replace(kind, options=kind.options.model_copy(update=told))


@dataclass(frozen=True, slots=True)
class Drawn:
    """A step of a batch; ``after`` are the steps before it, by number."""

    kind: Kind
    after: tuple[tuple[int, Ending, bool], ...]
    savepoint: bool


@st.composite
def batches(draw: st.DrawFn) -> list[Drawn]:
    """Two or three steps, of which each comes after some that were drawn before it."""
    return [
        Drawn(
            draw(jobs),
            tuple(
                (before, draw(st.sampled_from(Ending)), draw(st.sampled_from((False, True))))
                for before in sorted(draw(st.sets(st.integers(0, number - 1), max_size=2)))
            )
            if number
            else (),
            draw(st.booleans()),
        )
        for number in range(draw(st.integers(2, 3)))
    ]


def _in_a_row(kinds: list[Kind]) -> list[Drawn]:
    return [
        Drawn(kind, ((number - 1, Ending.SUCCEEDED, False),) if number else (), number == 0)
        for number, kind in enumerate(kinds)
    ]


calm_jobs = st.builds(
    Kind,
    items=st.integers(1, 4),
    does=st.sampled_from(("s", "s", "n", "sb", "su")),
    options=st.builds(JobOptions, chunk_size=st.sampled_from((1, 2, 5))),
    slow=st.just(False),
    draft=st.just(False),
    outside=st.sampled_from((False, False, True)),
)
chains = st.lists(calm_jobs, min_size=2, max_size=3).map(_in_a_row)
"""Batches of steps that go well, one behind the other."""


def step_of(number: int, drawn: Drawn) -> SentStep:
    """What a caller sends for a step."""
    fed = next((before for before, _, consumes in drawn.after if consumes), None)
    needs = tuple(
        Needs(step=f"s{before}", end=end, consume={"id": "id"} if before == fed else {})
        for before, end, _ in drawn.after
    )
    told: dict[str, Any] = {"start": Start.SEALED}
    if fed is not None:
        told["key"] = None
    return SentStep(
        name=f"s{number}",
        operation="model.work",
        options=drawn.kind.options.model_copy(update=told),
        after=needs,
        savepoint=f"p{number}" if drawn.savepoint else None,
        source=upload(drawn.kind.items) if fed is None else None,
    )


def repeated(options: JobOptions, items: int) -> Ranges:
    """Which of so many items are called as others, of a job whose items have keys."""
    keyed = options.key is not None and options.start is Start.SEALED
    return Ranges.of(range(2, items, 3)) if keyed else Ranges()


def upload(items: int) -> UploadedItems:
    """A stored part of so many items; the model keeps no contents."""
    return UploadedItems(upload_id="upload", items=items, size=items * 30, sha256="0" * 64)
