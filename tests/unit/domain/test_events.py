"""Events: what was ever stored is read for ever; what is newer is refused with the reason."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import orjson
import pytest
from eventsourcing.persistence import StoredEvent
from pydantic import ValidationError

import domain.events
from domain.errors import UnsupportedVersion
from domain.events import EVENTS, JobEvent, JobSealed, JobSnapshot, JobStatus
from domain.job import Job
from domain.jobs import JobMapper
from domain.metering import Meter
from tests import golden
from tests.golden.__main__ import all_kinds, ending, missing
from tests.unit.domain.story import Story


def _stored_of(story: Story) -> list[StoredEvent]:
    story.collect()
    mapper = JobMapper()
    return [mapper.to_stored_event(event) for event in story.events]


def _changed(stored: StoredEvent, **changes: Any) -> StoredEvent:
    """The stored event with another topic or other fields."""
    topic = changes.pop("topic", stored.topic)
    state = orjson.dumps(orjson.loads(stored.state) | changes)
    return StoredEvent(stored.originator_id, stored.originator_version, topic, state)


# -- golden -----------------------------------------------------------------------


def test_every_kind_and_schema_has_a_golden_history() -> None:
    assert missing(golden.load()) == set(), "run `python -m tests.golden` and commit its file"


@pytest.mark.parametrize("history", golden.load(), ids=lambda history: history["name"])
def test_a_golden_history_still_tells_the_same_story(history: dict[str, Any]) -> None:
    mapper = JobMapper()
    events = [mapper.to_domain_event(stored) for stored in golden.stored(history)]
    told = Job.project(None, [event for event in events if isinstance(event, JobEvent)])
    assert told is not None
    assert ending(told) == history["then"]

    (snapshot,) = [event for event in events if isinstance(event, JobSnapshot)]
    # One of a release that did not measure yet begins to with what comes after it; nor did all
    # note that a job has ended before anybody agreed to it.
    unknown: dict[str, Any] = {"meter": Meter(), "running_since": None, "never_agreed": False}
    new = {name: value for name, value in unknown.items() if name not in snapshot.state}
    assert Job.project(None, [snapshot]) == told.model_copy(update=new)


@pytest.mark.parametrize("history", golden.load(), ids=lambda history: history["name"])
def test_this_release_writes_the_bytes_that_it_says_it_writes(history: dict[str, Any]) -> None:
    mapper = JobMapper()
    for stored in golden.stored(history):
        kind = EVENTS.get(stored.topic)
        if kind and orjson.loads(stored.state)["schema"] == kind.schema_number:
            again = mapper.to_stored_event(mapper.to_domain_event(stored))
            assert again == stored, "the bytes changed: give the event a new schema and an upcaster"


@pytest.mark.parametrize("kind", EVENTS.values(), ids=lambda kind: kind.alias)
def test_what_a_schema_may_say_does_not_change(kind: type[JobEvent]) -> None:
    """An older process takes an event for damaged that says more under a number that it knows."""
    told = "raise the event's schema number, with an upcaster, and run `python -m tests.golden`"
    assert golden.shapes().get(golden.named(kind)) == golden.shape(kind), told


def test_a_word_more_is_another_shape() -> None:
    class Mood(StrEnum):
        SUNNY = "sunny"

    class Sealed(JobSealed):
        mood: Mood = Mood.SUNNY

    before = golden.shape(Sealed)
    assert before != golden.shape(JobSealed)
    Sealed.__doc__ = "In other words."
    Sealed.model_rebuild(force=True)
    assert golden.shape(Sealed) == before


# -- what is stored ---------------------------------------------------------------


def test_the_stories_have_every_kind_of_event() -> None:
    assert {event.topic for story in all_kinds() for event in _stored_of(story)} == set(EVENTS)


def test_no_class_path_is_stored() -> None:
    names = [kind.__name__ for kind in (*EVENTS.values(), JobSnapshot, Job)]
    for story in all_kinds():
        stored = _stored_of(story)
        stored.append(JobMapper().to_stored_event(story.job.snapshot()))
        for event in stored:
            text = event.topic + event.state.decode()
            assert "domain." not in text
            assert not [name for name in names if name in text]


def test_every_event_says_who_when_by_what_command_and_where_the_job_stands() -> None:
    for story in all_kinds():
        for stored in _stored_of(story):
            state = orjson.loads(stored.state)
            assert state["tenant"] == "local"
            second = stored.topic in ("job.approved", "job.rejected")
            assert state["actor"] == ("grace" if second else "ada")
            assert state["command_id"].startswith("command-")
            assert state["at"].endswith("Z")
            assert state["status"] in set(JobStatus)
            assert sum(state["counts"].values()) >= 0
            assert state["schema"] == EVENTS[stored.topic].schema_number
            assert "originator_id" not in state


def test_aliases_are_one_to_one_and_all_events_are_registered() -> None:
    kinds = {
        kind
        for kind in vars(domain.events).values()
        if isinstance(kind, type) and issubclass(kind, JobEvent) and kind is not JobEvent
    }
    assert set(EVENTS.values()) == kinds
    assert all(alias == kind.alias and alias.startswith("job.") for alias, kind in EVENTS.items())
    assert JobSnapshot.alias not in EVENTS


def test_a_stranger_is_not_stored() -> None:
    class Stranger:
        originator_id = "job-1"
        originator_version = 1

    with pytest.raises(TypeError, match="Stranger"):
        JobMapper().to_stored_event(Stranger())  # type: ignore[arg-type]


def test_events_do_not_change() -> None:
    event = Story().submit().collect()[0]
    with pytest.raises(ValidationError):
        event.status = JobStatus.FAILED


# -- newer and older --------------------------------------------------------------


def test_an_unknown_alias_is_refused() -> None:
    stored = _changed(_stored_of(Story().submit())[0], topic="job.cloned")
    with pytest.raises(UnsupportedVersion, match=r"'job\.cloned'.*upgrade the reader"):
        JobMapper().to_domain_event(stored)


def test_a_newer_schema_is_refused() -> None:
    stored = _changed(_stored_of(Story().submit())[0], schema=2)
    with pytest.raises(UnsupportedVersion, match="schema 2, this release reads up to 1"):
        JobMapper().to_domain_event(stored)


def test_a_field_that_a_later_release_adds_is_left_alone() -> None:
    stored = _changed(_stored_of(Story().submit())[0], mood="sunny")
    assert JobMapper().to_domain_event(stored).alias == "job.submitted"


class _SealedWithReason(JobSealed):
    schema_number = 3
    because: str


def _to_two(state: dict[str, Any]) -> dict[str, Any]:
    return state | {"why": f"sealed by {state['actor']}"}


def _to_three(state: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key != "why"} | {
        "because": state["why"].upper()
    }


_NEWER = {**EVENTS, JobSealed.alias: _SealedWithReason}


def test_an_older_event_goes_through_every_upcaster_in_turn() -> None:
    stored = _stored_of(Story().open_draft().append(2).seal())[-1]
    upcasters = {(JobSealed.alias, 1): _to_two, (JobSealed.alias, 2): _to_three}
    mapper = JobMapper(_NEWER, upcasters)
    event = mapper.to_domain_event(stored)
    assert isinstance(event, _SealedWithReason)
    assert event.because == "SEALED BY ADA"
    again = mapper.to_stored_event(event)
    assert orjson.loads(again.state)["schema"] == 3
    assert mapper.to_domain_event(again) == event


def test_an_older_event_without_upcaster_is_refused() -> None:
    stored = _stored_of(Story().open_draft().append(2).seal())[-1]
    with pytest.raises(UnsupportedVersion, match="schema 2, which this release no longer reads"):
        JobMapper(_NEWER, {(JobSealed.alias, 1): _to_two}).to_domain_event(stored)
