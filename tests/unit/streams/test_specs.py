"""What a job is to do is refused with the parameter at fault, and what there is in its place."""

from __future__ import annotations

from typing import Any

import pytest

from domain.commands import JobSpec
from domain.errors import InvalidCommand
from domain.registry import Registry
from domain.systems.annotations import operations
from streams.specs import check_spec


@pytest.mark.parametrize(
    ("operation", "params", "words"),
    [
        (
            "annotations.create",
            {"project": 1, "project_id": 1},
            "/params/project: annotations.create has no such parameter; possible: offsets, "
            "project_id, validate_before_create",
        ),
        (
            "annotations.create_labels",
            {"project_id": 1},
            "/params/project_id: annotations.create_labels has no such parameter; possible: none; "
            "its items have such a field",
        ),
        ("annotations.create", {}, "/params/project_id: Field required"),
    ],
)
def test_a_wrong_parameter_is_told_from_the_possible_ones(
    operation: str, params: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidCommand) as refused:
        check_spec(Registry(operations), JobSpec(operation=operation, params=params))
    assert refused.value.message == words
