"""Items that others stand for: skipped before anything runs, and for good."""

from __future__ import annotations

import orjson
import pytest

from domain import portions
from domain.contradictions import check_options
from domain.errors import InvalidCommand, WrongState
from domain.events import JobStatus
from domain.item_keys import key_of, keys_like, shown_document
from domain.options import JobOptions
from domain.outcomes import Counts
from domain.ranges import Ranges
from tests.unit.domain.story import Story


def test_what_is_repeated_is_skipped_and_the_others_are_worked() -> None:
    story = Story(key="/id", duplicates="first", chunk_size=4).submit(10).skip(3, 4, 9)
    assert story.job.counts == Counts(pending=7, skipped=3)
    story.work()
    assert (story.job.status, story.job.counts.succeeded) == (JobStatus.COMPLETED, 7)
    assert story.replayed() == story.job
    assert story.job.repeated == Ranges.of([3, 4, 9])


def test_many_scattered_ones_go_into_several_events() -> None:
    story = Story(key="/id", duplicates="last").submit(90_000)
    story.skip(*range(0, 90_000, 2))
    skipped = [event for event in story.collect() if event.alias == "job.repeats_skipped"]
    assert len(skipped) == -(-45_000 // portions.MAX_SPANS)
    assert story.job.counts == Counts(pending=45_000, skipped=45_000)


def test_what_another_stands_for_is_not_retried() -> None:
    story = Story(key="/id", duplicates="first").submit(4).skip(3).cancel()
    with pytest.raises(WrongState, match="item 3 has neither failed"):
        story.retry(Ranges(), Ranges.of([3]))
    story.retry(Ranges(), Ranges.of([0])).work()
    assert story.job.counts == Counts(succeeded=1, skipped=3)


def test_nothing_is_skipped_once_something_may_run() -> None:
    with pytest.raises(RuntimeError, match="before anything"):
        Story(key="/id").submit(4).plan().skip(1)


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({"duplicates": "first"}, "/options/duplicates"),
        ({"key": "/id", "start": "eager"}, "/options/key"),
    ],
)
def test_options_that_contradict_one_another_are_refused(
    options: dict[str, str], pointer: str
) -> None:
    with pytest.raises(InvalidCommand) as refused:
        check_options(JobOptions.model_validate(options), ())
    assert refused.value.pointer == pointer


@pytest.mark.parametrize("key", ["id", "", "/a\x00", "/" + "x" * 200, "/a\n"])
def test_a_key_that_is_no_pointer_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="key"):
        JobOptions.model_validate({"key": key})


def test_a_key_that_is_asked_for_may_be_a_value_or_a_string() -> None:
    assert keys_like("17") == [b"17", b'"17"']
    assert keys_like("null") == [b'"null"']
    assert keys_like("no json") == [b'"no json"']
    assert keys_like('{"b":1,"a":2}')[0] == b'{"a":2,"b":1}'


LARGE = b"340282366920938463463374607431768211455"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (LARGE, LARGE[:-1] + b"4"),
        (b"-9223372036854775809", b"-9223372036854775810"),
        (b"18446744073709551616", b"18446744073709551617"),
        (b'{"part": [%b]}' % LARGE, b'{"part": [%b0]}' % LARGE),
    ],
)
def test_keys_are_told_apart_however_long_their_numbers_are(one: bytes, other: bytes) -> None:
    first, second = (key_of(b'{"id": %b}' % value, ["id"]) for value in (one, other))
    assert first != second
    assert first == key_of(b'{"x": 1.5, "id": %b}' % one, ["id"])
    assert keys_like(one.decode())[0] == first


def test_a_key_is_asked_for_as_an_earlier_release_has_rounded_it_as_well() -> None:
    exact, *others = keys_like(LARGE.decode())
    assert exact == LARGE
    assert others == [orjson.dumps(orjson.loads(LARGE)), b'"%b"' % LARGE]
    assert keys_like("18446744073709551615") == [
        b"18446744073709551615",
        b'"18446744073709551615"',
    ]


@pytest.mark.parametrize("number", [b"18446744073709551615", b"-9223372036854775808", b"17"])
def test_a_key_is_what_it_was_where_its_number_fits(number: bytes) -> None:
    line = b'{"id": %b, "hash": %b}' % (number, LARGE)
    assert key_of(line, ["id"]) == orjson.dumps(orjson.loads(number)) == number


def test_a_key_is_found_however_deep_its_item_is() -> None:
    line = b'{"id": 1, "hash": %b, "x": %b}' % (LARGE, b"[" * 1000 + b"]" * 1000)
    assert key_of(line, ["id"]) == b"1"


@pytest.mark.parametrize("levels", [300, 1000])
def test_what_nests_deeper_than_can_be_written_is_no_key(levels: int) -> None:
    deep = b"[" * levels + b"]" * levels
    assert key_of(b'{"id": %b}' % deep, ["id"]) is None
    assert keys_like(deep.decode()) == [b'"%b"' % deep]


@pytest.mark.parametrize("levels", [150, 199, 200, 250, 300, 1000, 1100])
def test_an_item_is_shown_so_that_it_can_be_written_with_others(levels: int) -> None:
    line = b'{"x": %b, "hash": %b}' % (b"[" * levels + b"]" * levels, LARGE)
    shown = shown_document(line)
    assert isinstance(shown, dict if levels <= 200 else str)
    written = orjson.dumps({"items": [{"item": shown}]})
    assert (line.decode() in written.decode().replace("\\", "")) == (levels > 200)
    assert LARGE in written


def test_an_item_of_many_lists_is_shown_as_it_was_sent() -> None:
    line = b'{"points":[%b],"hash":%b}' % (b",".join([b"[1,2]"] * 1000), LARGE)
    assert orjson.dumps(shown_document(line)) == line
