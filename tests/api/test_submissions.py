"""A client's words become a JobSpec and blocks of NDJSON, or a refusal with a pointer."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from api import submissions
from api.problems import RequestRefused
from domain.commands import JobSpec
from domain.options import Start


def submission(**fields: Any) -> submissions.Submission:
    return submissions.from_body(orjson.dumps(fields), 64)


def test_all_fields_are_taken() -> None:
    read = submission(
        operation="a.b",
        params={"x": 1},
        items=[{"n": 1}, "two", None],
        options={"chunk_size": 7, "start": "eager"},
        name="n",
        tags=["t"],
        priority=9,
    )
    assert read.spec.options.chunk_size == 7
    assert read.spec.options.start is Start.EAGER
    assert (read.spec.params, read.spec.tags, read.spec.priority) == ({"x": 1}, ("t",), 9)
    assert read.blocks == [b'{"n":1}\n"two"\nnull\n']


def test_many_items_are_cut_into_blocks_and_none_is_lost() -> None:
    read = submission(operation="a.b", items=list(range(1201)))
    assert read.blocks is not None
    assert len(read.blocks) == 3
    assert [orjson.loads(line) for line in b"".join(read.blocks).split()] == list(range(1201))


def test_a_draft_has_no_items() -> None:
    assert submission(operation="a.b", draft=True) == submissions.Submission(
        JobSpec(operation="a.b"), None
    )


def test_a_job_that_is_fed_by_another_has_no_items() -> None:
    options = {"after": [{"job_id": "job-1", "consume": {"id": "id"}}]}
    read = submission(operation="a.b", options=options)
    assert read.blocks is None
    assert read.spec.options.consumed is not None


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({}, "/operation"),
        ({"operation": ""}, "/operation"),
        ({"operation": "a.b", "items": [], "tenant": "x"}, "/tenant"),
        ({"operation": "a.b", "items": [], "options": {"chunk_size": 0}}, "/options/chunk_size"),
        ({"operation": "a.b", "items": [], "options": {"so/on": 0}}, "/options/so~1on"),
        ({"operation": "a.b", "items": [], "priority": "5"}, "/priority"),
        (
            {"operation": "a.b", "items": [], "options": {"after": [{"job_id": "a b"}]}},
            "/options/after/0/job_id",
        ),
        (
            {"operation": "a.b", "items": [], "options": {"after": [{"job_id": "a", "end": "x"}]}},
            "/options/after/0/end",
        ),
        ({"operation": "a.b", "options": {"after": [{"job_id": "a"}]}}, "/items"),
        ({"operation": "a.b", "items": [], "priority": 11}, "/priority"),
        ({"operation": "a.b", "items": [], "tags": ["ok", ""]}, "/tags/1"),
        ({"operation": "a.b", "items": [], "params": []}, "/params"),
        ({"operation": "a.b"}, "/items"),
        ({"operation": "a.b", "items": {}}, "/items"),
        ({"operation": "a.b", "items": [], "draft": True}, "/items"),
        ({"operation": "a.b", "draft": "yes"}, "/draft"),
    ],
)
def test_a_fault_is_told_with_its_place(fields: dict[str, Any], pointer: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        submission(**fields)
    assert (refused.value.problem.status, refused.value.problem.code) == (422, "invalid")
    assert refused.value.problem.pointer == pointer


def test_every_fault_is_named() -> None:
    with pytest.raises(RequestRefused) as refused:
        submission(operation="a.b", items=[], priority=-1, name=3)
    assert [error["pointer"] for error in refused.value.problem.errors] == ["/name", "/priority"]


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"item": 1}, "/item: there is no such field; possible: draft, items, name, operation, "),
        ({"options": {"chunksize": 3}}, "/options/chunksize: there is no such field; possible: af"),
        (
            {"options": {"retry": {"attempt": 2}}},
            "/options/retry/attempt: there is no such field; p",
        ),
        (
            {"options": {"after": [{"job_id": "a", "job": "a"}]}},
            "/options/after/0/job: there is no such field; possible: consume, end, job_id",
        ),
    ],
)
def test_in_place_of_a_field_that_there_is_not_those_that_there_are_are_told(
    fields: dict[str, Any], detail: str
) -> None:
    with pytest.raises(RequestRefused) as refused:
        submission(operation="a.b", items=[1], **fields)
    assert refused.value.problem.detail.startswith(detail)
    assert "steps" not in refused.value.problem.detail, "which no submitter gives"


def test_an_item_that_cannot_be_stored_is_named() -> None:
    with pytest.raises(RequestRefused) as refused:
        submissions.from_body(b'{"operation":"a.b","items":[1,"\\ud800"]}', 64)
    assert refused.value.problem.pointer == "/items/1"


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"null"])
def test_a_body_that_is_no_object_is_malformed(body: bytes) -> None:
    with pytest.raises(RequestRefused) as refused:
        submissions.from_body(body, 64)
    assert refused.value.problem.status == 400


def test_a_part_is_a_list() -> None:
    assert submissions.items_from_body(b'[1,{"a":2}]', 64) == [b'1\n{"a":2}\n']
    with pytest.raises(RequestRefused):
        submissions.items_from_body(b'{"items":[]}', 64)
