"""No event is larger than a message, however the items of a job lie."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from domain import portions
from domain.events import ChunksClosed, ChunksPlanned, JobEvent, RetryStarted
from domain.options import MAX_CHUNK, MAX_ITEMS
from domain.outcomes import ClosedChunk, Closing
from domain.ranges import Ranges
from streams.envelope import encode_event
from streams.topics import MAX_MESSAGE_BYTES
from tests.unit.domain.story import Story

ITEMS = 150_000


def every_other(items: int, first: int = 0) -> Ranges:
    return Ranges.of(range(first + 1, first + items, 2))


def largest(events: list[JobEvent]) -> int:
    return max(len(encode_event(2**40, event)) for event in events)


def worked(story: Story) -> Story:
    """The whole job, with every other item failed."""
    while story.job.wants_chunks() or story.job.open:
        story.plan(room=50)
        story.record(
            *(
                ClosedChunk(
                    chunk=chunk,
                    succeeded=len(opened.items) - len(opened.items) // 2,
                    failed=len(opened.items) // 2,
                    duration_ms=5.0,
                    sha256="ab" * 32,
                    images="cd" * 32,
                )
                for chunk, opened in story.job.open.items()
            )
        )
    return story


def test_a_retry_of_every_other_item_fits_into_messages() -> None:
    story = worked(Story(chunk_size=MAX_CHUNK).submit(ITEMS))
    story.collect()
    story.retry(every_other(ITEMS))
    assert story.job.counts.failed == 0
    assert story.job.counts.pending == ITEMS // 2
    started = story.collect()
    assert {type(event) for event in started} == {RetryStarted}
    assert Ranges.from_spans(
        span for event in started if isinstance(event, RetryStarted) for span in event.items.spans
    ) == every_other(ITEMS)
    assert largest(started) < MAX_MESSAGE_BYTES / 2

    story.plan(room=50)
    for chunk in list(story.job.open):
        story.revoked(chunk)
    while story.job.wants_chunks() or story.job.open:
        story.plan(room=50)
        for chunk in list(story.job.open):
            story.done(chunk)
    assert story.job.counts.succeeded == ITEMS
    assert largest(story.collect()) < MAX_MESSAGE_BYTES / 2
    assert story.replayed() == story.job


def test_chunks_that_come_back_with_every_other_item_fit_into_messages() -> None:
    story = Story(chunk_size=MAX_CHUNK).submit(ITEMS).plan(room=15)
    story.collect()
    story.record(
        *(
            ClosedChunk(
                chunk=chunk,
                closing=Closing.REVOKED,
                succeeded=MAX_CHUNK // 2,
                returned=every_other(MAX_CHUNK, first=MAX_CHUNK * chunk),
            )
            for chunk in list(story.job.open)
        )
    )
    closed = story.collect()
    assert [type(event) for event in closed] == [ChunksClosed] * len(closed)
    assert len(closed) > 1
    assert story.job.counts.pending == ITEMS // 2
    story.plan(room=15)
    (planned,) = story.collect()
    assert isinstance(planned, ChunksPlanned)
    assert 0 < len(planned.chunks) < 15
    assert largest([*closed, planned]) < MAX_MESSAGE_BYTES / 2
    assert story.replayed() == story.job


spans = st.integers(0, 3 * portions.MAX_SPANS)


@given(spans)
def test_portions_are_the_whole_in_order(count: int) -> None:
    whole = Ranges(tuple((3 * n, 3 * n + 1) for n in range(count)))
    found = list(portions.of_ranges(whole))
    assert tuple(span for portion in found for span in portion.spans) == whole.spans
    assert all(portion.spans for portion in found)
    assert all(len(portion.spans) <= portions.MAX_SPANS for portion in found)


@given(st.lists(st.integers(0, MAX_CHUNK // 2), max_size=40))
def test_portions_of_chunks_are_all_in_order_and_none_is_too_heavy(returned: list[int]) -> None:
    chunks = [
        ClosedChunk(chunk=n, returned=Ranges(tuple((3 * k, 3 * k + 1) for k in range(count))))
        for n, count in enumerate(returned)
    ]
    found = list(portions.of_chunks(chunks))
    assert [chunk for portion in found for chunk in portion] == chunks
    for portion in found:
        assert sum(portions.weight(chunk.returned) for chunk in portion) <= portions.MAX_SPANS


def test_one_chunk_alone_always_fits() -> None:
    assert portions.weight(every_other(MAX_CHUNK)) < portions.MAX_SPANS
    assert len(str(MAX_ITEMS)) * 2 + 4 <= 20
