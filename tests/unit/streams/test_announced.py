"""What is announced of stored events survives the way, and stays below what PostgreSQL takes."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import pytest
from eventsourcing.persistence import StoredEvent
from hypothesis import given
from hypothesis import strategies as st

from streams.stores.event_order import MOST_TOLD, TOLD, Announced

NOTIFICATION_BYTES = 8000


@st.composite
def several(draw: st.DrawFn) -> list[StoredEvent]:
    """Events of one job, of kinds that are told, with any text in them."""
    first = draw(st.integers(1, 10**9))
    states = draw(st.lists(st.dictionaries(st.text(), st.text(), max_size=3), min_size=1))
    kinds = draw(st.lists(st.sampled_from(sorted(TOLD)), min_size=len(states)))
    return [
        StoredEvent("job-1", first + place, kinds[place], orjson.dumps(state))
        for place, state in enumerate(states)
    ]


@given(several(), st.integers(1, 2**62))
def test_all_that_was_stored_is_told_or_only_where_it_ends(
    stored: Sequence[StoredEvent], number: int
) -> None:
    announced = Announced.of(number, stored)
    payload = announced.payload()
    assert len(payload.encode()) < NOTIFICATION_BYTES
    found = Announced.parse(payload)
    assert (found.id, found.job_id) == (number, "job-1")
    assert found.version == stored[-1].originator_version
    assert found.told in {(), tuple(stored)}
    size = sum(len(one.state) for one in stored)
    if size + 60 * (len(stored) + 1) <= MOST_TOLD:
        assert found.told == tuple(stored)


def event(topic: str, job_id: str = "job-1", *, size: int = 10) -> StoredEvent:
    return StoredEvent(job_id, 3, topic, orjson.dumps("x" * size))


@pytest.mark.parametrize(
    "stored",
    [
        [event("job.submitted")],
        [event("job.submitted"), event("job.chunks_planned")],
        [event("job.finished", "another"), event("job.finished")],
        [event("job.chunks_closed", size=MOST_TOLD)],
    ],
    ids=["what a caller has said", "in part", "of two jobs", "too long"],
)
def test_anything_else_is_to_be_read(stored: Sequence[StoredEvent]) -> None:
    found = Announced.parse(Announced.of(7, stored).payload())
    assert found == Announced(7, "job-1", 3)
