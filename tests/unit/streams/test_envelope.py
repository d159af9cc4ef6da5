"""Envelopes from strangers: what is taken, what is kept aside and under which code."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from domain.commands import AppendItems
from domain.errors import MessageUnreadable, UnsupportedVersion
from domain.events import EVENTS, UPCASTERS, JobSealed
from streams.envelope import (
    decode_command,
    decode_event,
    decode_outcome,
    decode_work,
    encode_event,
)
from tests.unit.domain.story import Story

COMMAND = {
    "schema_version": 1,
    "type": "append_items",
    "command_id": "c-1",
    "job_id": "job-1",
    "tenant": "local",
    "actor": "ada",
    "part": 0,
    "source": {"kind": "inline", "items": [1]},
}
WORK = {
    "schema_version": 1,
    "job_id": "job-1",
    "operation": "shop.reprice",
    "epoch": 0,
    "chunks": [{"chunk": 0, "attempt": 1}],
}
PROGRESS = {
    "schema_version": 1,
    "type": "items_progressed",
    "job_id": "job-1",
    "tenant": "local",
    "chunk": 0,
    "succeeded": 1,
    "failed": 0,
    "skipped": 0,
}


def with_item(text: bytes) -> bytes:
    return orjson.dumps(COMMAND).replace(b"[1]", b"[" + text + b"]")


def test_items_are_any_json() -> None:
    text = b'{"a":[null,1.5,"\\u0000"]},18446744073709551615,-9223372036854775808'
    command = decode_command(with_item(text))
    assert isinstance(command, AppendItems)
    assert orjson.dumps(command.source.items) == b"[" + text + b"]"  # type: ignore[union-attr]


WHO = {name: COMMAND[name] for name in ("command_id", "job_id", "tenant", "actor")}
EDIT = {"item": 0, "body": [1]}
BODIES = [
    COMMAND,
    {**WHO, "type": "retry_job", "select": {"edits": [EDIT]}},
    {**WHO, "type": "retry_job", "select": {"patch": {"a": [1]}}},
    {**WHO, "type": "edit_items", "edits": [EDIT]},
]


@pytest.mark.parametrize("sent", BODIES, ids=["item", "retry", "patch", "edit"])
@pytest.mark.parametrize(
    "text",
    [
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"1180591620717411303424",
        b'"\\ud800"',
        b"[" * 2000 + b"]" * 2000,
    ],
)
def test_what_is_no_json_for_every_reader_is_unreadable(sent: dict[str, Any], text: bytes) -> None:
    plain = orjson.dumps(sent)
    decode_command(plain)
    with pytest.raises(MessageUnreadable):
        decode_command(plain.replace(b"[1]", b"[" + text + b"]"))


@pytest.mark.parametrize(
    "changes",
    [
        {"job_id": "a/b"},
        {"job_id": "x" * 65},
        {"command_id": ""},
        {"tenant": "a\0b"},
        {"actor": "ada\nroot"},
        {"part": -1},
        {"part": 10_000_001},
        {"source": {"items": [1]}},
        {"source": {"kind": "upload", "upload_id": "u\0", "items": 1, "size": 1, "sha256": "0"}},
        {"schema_version": 0},
        {"schema_version": "new"},
        {"type": "destroy"},
    ],
)
def test_a_command_out_of_bounds_is_unreadable(changes: dict[str, Any]) -> None:
    with pytest.raises(MessageUnreadable):
        decode_command(orjson.dumps(COMMAND | changes))


@pytest.mark.parametrize(
    "changes", [{}, {"type": "approve_job"}, {"priority": "urgent"}, {"part": "first"}]
)
def test_a_newer_command_says_so_whatever_else_is_new_in_it(changes: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedVersion):
        decode_command(orjson.dumps(COMMAND | {"schema_version": 2} | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"epoch": 2**31},
        {"epoch": -1},
        {"chunks": [{"chunk": 2**63, "attempt": 1}]},
        {"chunks": [{"chunk": 0, "attempt": -1}]},
        {"job_id": "\0"},
        {"operation": ""},
    ],
)
def test_work_that_no_row_can_match_is_unreadable(changes: dict[str, Any]) -> None:
    assert decode_work(orjson.dumps(WORK)).epoch == 0
    with pytest.raises(MessageUnreadable):
        decode_work(orjson.dumps(WORK | changes))


def test_readers_pass_over_outcomes_and_events_of_a_newer_kind() -> None:
    assert decode_outcome(orjson.dumps(PROGRESS)) is not None
    newer = PROGRESS | {"schema_version": 2}
    assert decode_outcome(orjson.dumps(newer)) is None
    assert decode_outcome(orjson.dumps(newer | {"type": "chunks_moved"})) is None
    event = {"schema_version": 2, "type": "job.finished", "job_id": "job-1", "version": 7}
    assert decode_event(orjson.dumps(event)) is None
    assert decode_event(orjson.dumps(event | {"type": "job.renamed"})) is None


class SealedAnew(JobSealed):
    schema_number = JobSealed.schema_number + 1
    because: str


def test_an_event_of_the_release_before_is_read_as_it_is_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Readers are upgraded first: the others go on publishing what they know."""
    number = JobSealed.schema_number
    sealed = Story().open_draft().append(2).seal().collect()[-1]
    assert sealed.alias == JobSealed.alias
    message = encode_event(7, sealed)
    monkeypatch.setitem(EVENTS, JobSealed.alias, SealedAnew)
    with pytest.raises(MessageUnreadable, match="no longer reads"):
        decode_event(message)
    monkeypatch.setitem(
        UPCASTERS, (JobSealed.alias, number), lambda state: {**state, "because": state["actor"]}
    )
    event = decode_event(message)
    assert isinstance(event, SealedAnew)
    assert event.because == sealed.actor


def test_progress_below_zero_is_unreadable() -> None:
    with pytest.raises(MessageUnreadable):
        decode_outcome(orjson.dumps(PROGRESS | {"succeeded": -5}))
