"""How far a consumer on Kafka may commit."""

from __future__ import annotations

from faust.types import TP
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.transport.kafka.in_flight import InFlight

TP0 = TP("work", 0)


def delivered(*offsets: int) -> InFlight:
    in_flight = InFlight()
    for offset in offsets:
        in_flight.deliver(TP0, offset)
    return in_flight


def test_nothing_done_is_nothing_to_commit() -> None:
    assert delivered(5).committable(TP0, set()) is None
    assert InFlight().committable(TP0, set()) is None


def test_it_stops_before_what_is_in_flight() -> None:
    in_flight, acked = delivered(5, 6, 7, 8), {5, 6, 8}
    assert in_flight.committable(TP0, acked) == 7
    assert acked == {8}
    assert in_flight.committable(TP0, acked) == 7, "asked again, it says the same"
    acked.add(7)
    assert in_flight.committable(TP0, acked) == 9


def test_what_was_begun_or_not_and_is_not_done_is_counted() -> None:
    in_flight, acked = delivered(5, 6, 9, 12), {5, 9}
    assert in_flight.unfinished(TP0, acked) == 2
    assert in_flight.committable(TP0, acked) == 6
    assert in_flight.unfinished(TP0, acked) == 2
    assert InFlight().unfinished(TP0, {1}) == 0


def test_it_passes_offsets_that_hold_no_message() -> None:
    assert delivered(5, 9, 12).committable(TP0, {5, 9}) == 10


def test_what_is_forgotten_is_not_committed() -> None:
    in_flight = delivered(5, 6)
    in_flight.forget([TP0])
    acked = {5}
    assert in_flight.committable(TP0, acked) is None
    assert acked == set()


@settings(deadline=None)
@given(st.data())
def test_no_schedule_commits_past_what_is_in_flight(data: st.DataObject) -> None:
    in_flight, acked, pending, done = InFlight(), set[int](), list[int](), set[int]()
    offset = data.draw(st.integers(0, 3))
    for step in data.draw(st.lists(st.sampled_from(["deliver", "ack", "commit"]), max_size=60)):
        if step == "deliver":
            in_flight.deliver(TP0, offset)
            pending.append(offset)
            offset += data.draw(st.integers(1, 4))
        elif step == "ack" and pending:
            finished = pending.pop(data.draw(st.integers(0, len(pending) - 1)))
            acked.add(finished)
            done.add(finished)
        committable = in_flight.committable(TP0, acked)
        if pending:
            assert committable is None or committable <= min(pending)
        elif done:
            assert committable == max(done) + 1
