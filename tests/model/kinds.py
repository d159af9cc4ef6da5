"""The jobs that callers of the model ask for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from domain.commands import Selection, UndoSelection, UploadedItems
from domain.options import (
    Backoff,
    JobOptions,
    Limit,
    OnDeadline,
    OnError,
    Reaction,
    RetryPolicy,
    Start,
)
from domain.ranges import Ranges
from tests.model.tables import NATURES

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
DEADLINES = (BEGIN + timedelta(seconds=8), BEGIN + timedelta(seconds=40))

sizes = st.sampled_from((1, 2, 3, 5, 8, 13, 21))
natures = st.one_of(
    st.text(st.sampled_from("ssssssnft"), min_size=1, max_size=8),
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


policies = st.builds(
    RetryPolicy,
    attempts=st.sampled_from((2, 3)),
    delay=st.sampled_from((0.0, 1.0, 5.0)),
    codes=st.sampled_from(({}, {"bad": Backoff(attempts=2, delay=0)}, {"worker_died": Backoff()})),
)
limits = st.builds(
    Limit,
    failed=st.sampled_from((0, 1, 2)),
    window=st.sampled_from((None, None, 4)),
    codes=st.sampled_from(((), (), ("later",))),
    then=st.sampled_from(Reaction),
)
selections = st.sampled_from(
    (
        Selection(),
        Selection(unattempted=True),
        Selection(items=(0, 1, 2)),
        Selection(codes=("later",)),
    )
)

parts = st.sampled_from(
    (
        UndoSelection(),
        UndoSelection(),
        UndoSelection(items=(0,)),
        UndoSelection(items=(1, 4)),
        UndoSelection(chunks=(0, 3)),
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


def _whole(kind: Kind) -> Kind:
    """The same as an atomic job, with what such a job can have."""
    told = {"atomic": True, "dry_run": False, "on_error": OnError.KEEP}
    return replace(kind, options=kind.options.model_copy(update=told), slow=False)


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
    ),
    slow=st.booleans(),
    draft=st.booleans(),
    grave=st.sampled_from((False,) * 7 + (True,)),
)
jobs = st.one_of(_jobs, _jobs, _jobs, _jobs.map(_whole))


def repeated(options: JobOptions, items: int) -> Ranges:
    """Which of so many items are called as others, of a job whose items have keys."""
    keyed = options.key is not None and options.start is Start.SEALED
    return Ranges.of(range(2, items, 3)) if keyed else Ranges()


def upload(items: int) -> UploadedItems:
    """A stored part of so many items; the model keeps no contents."""
    return UploadedItems(upload_id="upload", items=items, size=items * 30, sha256="0" * 64)
