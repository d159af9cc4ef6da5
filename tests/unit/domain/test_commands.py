"""Commands: closed, versioned, bounded; what is not one is refused with the field at fault."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

import domain.commands
from domain.commands import (
    COMMAND,
    BaseCommand,
    InlineItems,
    JobSpec,
    SubmitJob,
    UndoSelection,
    UploadedItems,
)
from domain.options import MAX_CHUNK, MAX_ITEMS, JobOptions, Start

COMMON = {"command_id": "c-1", "job_id": "job-1", "tenant": "local", "actor": "ada"}
SPEC = {"operation": "shop.reprice"}
UPLOAD = {"kind": "upload", "upload_id": "u-1", "items": 3, "size": 60, "sha256": "ab" * 32}
EXAMPLES: dict[str, dict[str, Any]] = {
    "submit_job": {"spec": SPEC, "source": UPLOAD},
    "submit_batch": {
        "steps": [
            {"name": "load", "operation": "shop.load", "source": UPLOAD, "savepoint": "loaded"},
            {"name": "tell", "operation": "shop.mail", "after": ["load"]},
            {
                "name": "drop",
                "operation": "shop.drop",
                "after": [{"step": "load", "end": "partly", "consume": {"id": "id"}}],
            },
        ]
    },
    "open_job": {"spec": SPEC},
    "append_items": {"part": 0, "source": {"kind": "inline", "items": [{"id": 1}, "x", None]}},
    "seal_job": {"items": 3},
    "pause_job": {"reason": "lunch"},
    "approve_job": {"reason": "seen the plan"},
    "reject_job": {"reason": "the wrong list"},
    "hold_job": {"reason": "case 17"},
    "release_job": {"reason": "closed"},
    "shred_job": {"reason": "asked for"},
    "archive_job": {"reason": "the season is over"},
    "resume_job": {},
    "cancel_job": {},
    "retry_job": {},
    "undo_job": {},
    "adjust_job": {"rate": 50, "lift": ["concurrency"], "priority": 9},
    "edit_items": {"edits": [{"item": 1, "body": {"id": 2}}], "drop": [3], "reason": "a typo"},
    "record_outcomes": {},
}


def _sent(kind: str, **changes: Any) -> dict[str, Any]:
    return COMMON | {"type": kind} | EXAMPLES[kind] | changes


def test_there_is_an_example_of_every_command() -> None:
    kinds = {
        kind.model_fields["type"].default
        for kind in vars(domain.commands).values()
        if isinstance(kind, type) and issubclass(kind, BaseCommand) and kind is not BaseCommand
    }
    assert set(EXAMPLES) == kinds


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_command_survives_its_json(kind: str) -> None:
    command = COMMAND.validate_python(_sent(kind))
    assert command.type == kind
    assert command.schema_version == 1
    assert COMMAND.validate_json(COMMAND.dump_json(command)) == command


@pytest.mark.parametrize(
    ("sent", "where"),
    [
        (_sent("pause_job") | {"type": "stop_job"}, ()),
        (_sent("pause_job", schema_version=2), ("pause_job", "schema_version")),
        (_sent("pause_job", colour="red"), ("pause_job", "colour")),
        (_sent("pause_job", command_id=""), ("pause_job", "command_id")),
        (_sent("pause_job", job_id="../etc"), ("pause_job", "job_id")),
        (_sent("pause_job", job_id="j" * 65), ("pause_job", "job_id")),
        (_sent("pause_job", tenant=""), ("pause_job", "tenant")),
        (_sent("append_items", part=-1), ("append_items", "part")),
        (_sent("open_job", spec={"operation": ""}), ("open_job", "spec", "operation")),
    ],
)
def test_what_is_no_command_is_refused_with_its_place(
    sent: dict[str, Any], where: tuple[str, ...]
) -> None:
    with pytest.raises(ValidationError) as refused:
        COMMAND.validate_python(sent)
    assert refused.value.errors()[0]["loc"] == where


@pytest.mark.parametrize("missing", COMMON)
def test_every_command_says_who_what_and_for_whom(missing: str) -> None:
    sent = _sent("pause_job")
    del sent[missing]
    with pytest.raises(ValidationError):
        COMMAND.validate_python(sent)


@pytest.mark.parametrize("size", [0, -1, MAX_CHUNK + 1, "small", 1.5])
def test_a_chunk_size_out_of_range_is_refused(size: object) -> None:
    with pytest.raises(ValidationError):
        JobOptions.model_validate({"chunk_size": size})


def test_options_have_defaults() -> None:
    assert JobOptions() == JobOptions(chunk_size="auto", start=Start.SEALED)
    assert JobOptions(chunk_size=MAX_CHUNK).chunk_size == MAX_CHUNK


@pytest.mark.parametrize(
    "wrong",
    [
        {"priority": 11},
        {"priority": -1},
        {"tags": [""]},
        {"tags": ["t"] * 51},
        {"name": "n" * 4001},
        {"params": [1]},
    ],
)
def test_a_spec_out_of_bounds_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        JobSpec.model_validate(SPEC | wrong)


def test_an_upload_is_bounded() -> None:
    assert UploadedItems.model_validate(UPLOAD | {"items": MAX_ITEMS}).items == MAX_ITEMS
    with pytest.raises(ValidationError):
        UploadedItems.model_validate(UPLOAD | {"items": MAX_ITEMS + 1})


def test_items_travel_as_they_are() -> None:
    command = COMMAND.validate_python(
        _sent("submit_job", source={"kind": "inline", "items": [1, None, {"a": [2.5, "\u00e9"]}]})
    )
    assert isinstance(command, SubmitJob)
    assert isinstance(command.source, InlineItems)
    assert command.source.items == (1, None, {"a": [2.5, "\u00e9"]})
    assert COMMAND.validate_json(COMMAND.dump_json(command)) == command


def test_commands_do_not_change() -> None:
    command = COMMAND.validate_python(_sent("pause_job"))
    with pytest.raises(ValidationError):
        command.tenant = "other"


def test_a_record_of_any_id_that_a_database_has_can_be_named() -> None:
    names = ("prices/9223372036854775807", "prices/1732636800000000001", "prices/0")
    assert UndoSelection(records=names).records == names


@pytest.mark.parametrize("number", ["9223372036854775808", "9" * 19, "1" + "0" * 19, ""])
def test_a_record_that_no_database_can_have_is_refused(number: str) -> None:
    with pytest.raises(ValidationError, match="records"):
        UndoSelection(records=(f"prices/{number}",))
