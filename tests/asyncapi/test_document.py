"""The document is what the code says, valid for the specification and for its own examples."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator, Draft202012Validator
from jsonschema.protocols import Validator

import domain.commands
import streams.envelope
from api.documents import event_document
from domain.commands import BaseCommand
from domain.events import EVENTS, JobEvent
from domain.jobs import JobMapper
from domain.ranges import Ranges
from domain.values import Value
from streams.asyncapi import describe, text
from streams.asyncapi.schemas import COMMANDS, EVENT_KINDS, OUTCOMES
from streams.envelope import (
    Work,
    decode_command,
    decode_event,
    decode_outcome,
    decode_work,
    encode,
    encode_event,
)
from tests import golden
from tests.asyncapi.making import Making
from tests.sampled import sampled

FILE = Path(__file__).parents[2] / "docs" / "asyncapi.json"
GUIDE = FILE.with_name("messages.md")
OFFICIAL = Path(__file__).parent / "asyncapi-3.0.0.json"
DIALECTS = (Draft7Validator, Draft202012Validator)

DOCUMENT: dict[str, Any] = json.loads(FILE.read_bytes())
MESSAGES: dict[str, Any] = DOCUMENT["components"]["messages"]
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
MAKING = Making(DOCUMENT)


@cache
def validators(name: str) -> list[Validator]:
    """For the schema of a name, one of each dialect."""
    root = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    return [dialect(root, format_checker=dialect.FORMAT_CHECKER) for dialect in DIALECTS]


def check(name: str, value: Any) -> None:
    for validator in validators(name):
        validator.validate(value)


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


# -- the file ---------------------------------------------------------------------


def test_the_file_is_what_the_code_says() -> None:
    assert FILE.read_bytes() == text(describe()), (
        "the messages have changed: run `.venv/bin/countermand asyncapi > docs/asyncapi.json`, "
        "look at the difference, and say in streams/asyncapi/document.py which version it is"
    )


@pytest.mark.parametrize("servers", [(), ("kafka-1:9092", "kafka-2:9092")])
def test_the_specification_accepts_it(servers: tuple[str, ...]) -> None:
    official = json.loads(OFFICIAL.read_bytes())
    Draft7Validator(official).validate(json.loads(text(describe(servers))))


def test_the_specification_s_schema_refuses_what_is_wrong() -> None:
    official = Draft7Validator(json.loads(OFFICIAL.read_bytes()))
    assert not official.is_valid(DOCUMENT | {"asyncapi": "2.6.0"})
    assert not official.is_valid(DOCUMENT | {"operations": {"decide": {"action": "guess"}}})


def test_the_command_prints_it() -> None:
    command = [sys.executable, "-m", "streams.cli.main", "asyncapi", "--server", "kafka-1:9092"]
    printed = subprocess.run(command, capture_output=True, check=True, timeout=60)
    assert printed.stdout == text(describe(["kafka-1:9092"]))


def test_every_reference_leads_somewhere() -> None:
    for reference in set(references(DOCUMENT)):
        place: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_schemas_are_schemas_of_both_dialects(dialect: Any) -> None:
    for schema in SCHEMAS.values():
        dialect.check_schema(schema)


def test_every_message_of_the_vocabularies_is_described() -> None:
    commands = {
        kind
        for kind in vars(domain.commands).values()
        if isinstance(kind, type) and issubclass(kind, BaseCommand) and kind is not BaseCommand
    }
    versioned = {
        kind
        for kind in vars(streams.envelope).values()
        if isinstance(kind, type)
        and issubclass(kind, Value)
        and kind.__module__ == streams.envelope.__name__
        and "schema_version" in kind.model_fields
    }
    names = {kind.__name__ for kind in commands | versioned | set(EVENTS.values())}
    assert names | {"DeadLetter"} == set(MESSAGES)
    spoken = {name for each in DOCUMENT["channels"].values() for name in each["messages"]}
    assert spoken == set(MESSAGES)


def test_the_guide_lists_the_statuses_at_rest() -> None:
    said = GUIDE.read_text().partition("when `status` is one of")[2].partition("(a retry")[0]
    assert set(re.findall(r"`(\w+)`", said)) == set(SCHEMAS["JobStatus"]["x-at-rest"])


# -- examples ---------------------------------------------------------------------


@pytest.mark.parametrize("name", MESSAGES)
def test_each_message_has_examples_and_they_are_valid(name: str) -> None:
    examples = MESSAGES[name]["examples"]
    assert examples
    for example in examples:
        check(name, example["payload"])
        if "headers" in MESSAGES[name]:
            check(MESSAGES[name]["headers"]["$ref"].rpartition("/")[2], example["headers"])


@pytest.mark.parametrize("name", [kind.__name__ for kind in COMMANDS])
def test_examples_of_commands_are_commands(name: str) -> None:
    for example in MESSAGES[name]["examples"]:
        assert type(decode_command(orjson.dumps(example["payload"]))).__name__ == name


@pytest.mark.parametrize("history", golden.load(), ids=lambda history: history["name"])
def test_stored_histories_are_valid_as_published(history: dict[str, Any]) -> None:
    mapper = JobMapper()
    for position, stored in enumerate(golden.stored(history)):
        event = mapper.to_domain_event(stored)
        if isinstance(event, JobEvent):
            published = encode_event(position, event)
            check(type(event).__name__, orjson.loads(published))
            assert decode_event(published) == event


def _left_out() -> set[str]:
    """What the guide says that older events are without."""
    said = GUIDE.read_text().partition("\n## Older events\n")[2].partition("\n## ")[0]
    found = re.search(r"with `event` for `type`, without ([^;]+);", " ".join(said.split()))
    assert found, said
    return set(re.findall(r"`(\w+)`", found[1]))


@pytest.mark.parametrize("history", golden.load(), ids=lambda history: history["name"])
def test_who_reads_older_events_from_the_api_finds_what_was_on_the_topic(
    history: dict[str, Any],
) -> None:
    mapper, left_out = JobMapper(), _left_out()
    for position, stored in enumerate(golden.stored(history)):
        event = mapper.to_domain_event(stored)
        if isinstance(event, JobEvent):
            published = orjson.loads(encode_event(position, event))
            # Of the page, beside the event's own fields.
            shown = orjson.loads(orjson.dumps({"position": position, **event_document(event)}))
            assert not shown.keys() & left_out
            assert left_out - published.keys() <= {"run"}
            wanted = {name: published[name] for name in published.keys() - left_out}
            wanted["event"] = wanted.pop("type")
            assert datetime.fromisoformat(shown["at"]) == datetime.fromisoformat(wanted.pop("at"))
            wanted["counts"]["total"] = event.counts.total
            assert shown | wanted == shown


# -- what the schema accepts, the engine reads; what it writes, the schema accepts ---

drawn = settings(max_examples=sampled(10), suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("kind", COMMANDS, ids=lambda kind: kind.__name__)
@drawn
@given(data=st.data())
def test_commands_of_the_schema_are_read(kind: type[Value], data: st.DataObject) -> None:
    sent = data.draw(MAKING.message(kind.__name__))
    check(kind.__name__, sent)
    command = decode_command(orjson.dumps(sent))
    assert isinstance(command, kind)
    check(kind.__name__, orjson.loads(encode(command)))
    assert decode_command(encode(command)) == command


@drawn
@given(MAKING.message("Work"))
def test_work_of_the_schema_is_read(sent: Any) -> None:
    check("Work", sent)
    work = decode_work(orjson.dumps(sent))
    assert isinstance(work, Work)
    check("Work", orjson.loads(encode(work)))


@pytest.mark.parametrize("kind", OUTCOMES, ids=lambda kind: kind.__name__)
@drawn
@given(data=st.data())
def test_outcomes_of_the_schema_are_read(kind: type[Value], data: st.DataObject) -> None:
    sent = data.draw(MAKING.message(kind.__name__))
    check(kind.__name__, sent)
    outcome = decode_outcome(orjson.dumps(sent))
    assert isinstance(outcome, kind)
    check(kind.__name__, orjson.loads(encode(outcome)))


@pytest.mark.parametrize("kind", EVENT_KINDS, ids=lambda kind: kind.__name__)
@drawn
@given(data=st.data())
def test_events_of_the_schema_are_read(kind: type[JobEvent], data: st.DataObject) -> None:
    sent = in_order(data.draw(MAKING.message(kind.__name__)))
    check(kind.__name__, sent)
    event = decode_event(orjson.dumps(sent))
    assert isinstance(event, kind)
    published = encode_event(sent["position"], event)
    check(kind.__name__, orjson.loads(published))
    assert decode_event(published) == event


def in_order(value: Any) -> Any:
    """An event whose spans begin before they end: no schema can say that."""
    if isinstance(value, dict):
        # Params may hold anything.
        return {
            name: each if name == "spec" else _ordered(name, each) for name, each in value.items()
        }
    return [in_order(each) for each in value] if isinstance(value, list) else value


def _ordered(name: str, value: Any) -> Any:
    if name in ("items", "returned", "dropped") and isinstance(value, list):
        spans = [[min(first, end), max(first, end) + 1] for first, end in value]
        return Ranges.from_spans(spans).to_json()
    return in_order(value)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("SubmitJob", {"type": "open_job"}),
        ("SubmitJob", {"schema_version": 2}),
        ("SubmitJob", {"job_id": "a/b"}),
        ("SubmitJob", {"tenant": ""}),
        ("SubmitJob", {"tenant": "a\0"}),
        ("SubmitJob", {"more": 1}),
        ("SubmitJob", {"source": {"items": [1]}}),
        ("AppendItems", {"part": -1}),
        ("SealJob", {"items": 10_000_001}),
        ("PauseJob", {"reason": "x" * 2001}),
        ("JobFinished", {"status": "over"}),
        ("JobFinished", {"counts": {"failed": -1}}),
        ("CommandDecided", {"status": "perhaps"}),
    ],
)
def test_what_the_engine_refuses_the_schema_refuses(name: str, changes: dict[str, Any]) -> None:
    example = MESSAGES[name]["examples"][0]["payload"]
    for validator in validators(name):
        assert validator.is_valid(example)
        assert not validator.is_valid(example | changes)
