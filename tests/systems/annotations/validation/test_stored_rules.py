"""Rules that are in the store already: of earlier releases, put back by an undo, or too many."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import insert

from domain.systems.annotations.validation import tables
from domain.systems.annotations.validation.examination import MAX_RULES
from tests.systems.annotations.conftest import Ground
from tests.systems.annotations.validation.setting import create, issues, said, span, validate
from tests.systems.bench import Workbench, document, fault

REQUIRED = {"kind": "required", "field": "metadata.k"}


def store(bench: Workbench, ground: Ground, *definitions: str, **values: Any) -> None:
    """Rules as an earlier release has written them, which today's need not take."""
    rows = [
        {
            "tenant": "local",
            "project_id": ground.project,
            "version": 1,
            "name": f"old_{number}",
            "definition": definition,
            "created_by": "ada",
            "created_at": 0.0,
            **values,
        }
        for number, definition in enumerate(definitions)
    ]
    bench.database.write_now(lambda connection: connection.execute(insert(tables.rules), rows))


@pytest.mark.parametrize(
    ("definition", "holds"),
    [
        ('{"kind":"allowed","field":"label","values":[NaN,"person"]}', True),
        ('{"kind":"allowed","field":"label","values":[NaN]}', False),
        (f'{{"kind":"allowed","field":"label","values":[{10**400}]}}', False),
        ('{"kind":"range","field":"length"}', True),
        ('{"kind":"range","field":"length","minimum":5,"maximum":1}', False),
        ('{"kind":"expression","expression":"length is not 257"}', True),
        ('{"kind":"expression","expression":"is_upper"}', True),
        ('{"kind":"expression","expression":"1 > 2"}', False),
    ],
)
def test_what_is_taken_no_longer_goes_on_as_it_did(
    bench: Workbench, ground: Ground, definition: str, holds: bool
) -> None:
    store(bench, ground, definition)
    (result,) = create(bench, ground, span(ground, 0, 3))
    assert [one["rule"] for one in issues(result)] == ([] if holds else ["custom.old_0"])


@pytest.mark.parametrize(
    "definition",
    [
        '{"kind":"regex","field":"label","pattern":"(?=a)"}',
        '{"kind":"expression","expression":"2 ** 9 > 1"}',
        '{"kind":"python","code":"1"}',
        '{"kind":"range","minimum":1}',
    ],
)
def test_what_can_be_applied_no_more_is_an_issue_that_names_the_rule(
    bench: Workbench, ground: Ground, definition: str
) -> None:
    store(bench, ground, definition, severity="warning")
    (result,) = create(bench, ground, span(ground, 0, 3))
    document(result)
    assert said(result) == [("custom.old_0", "warning", "")]
    assert "custom.old_0 cannot be applied" in issues(result)[0]["message"]


def test_a_rule_that_is_put_to_sleep_is_not_even_read(bench: Workbench, ground: Ground) -> None:
    store(bench, ground, '{"kind":"python"}', '{"kind":"allowed","values":[NaN]}', enabled=False)
    (result,) = create(bench, ground, span(ground, 0, 3))
    assert set(document(result)) == {"id"}


def test_rules_that_sleep_take_no_place(bench: Workbench, ground: Ground) -> None:
    sleeping = [json.dumps(REQUIRED)] * MAX_RULES
    store(bench, ground, *sleeping, enabled=False)
    store(bench, ground, json.dumps(REQUIRED), name="awake")
    (result,) = validate(bench, ground, span(ground, 0, 3))
    assert fault(result) == ("custom.awake", "/metadata/k", False)


def test_more_rules_than_are_applied_are_not_passed_over(bench: Workbench, ground: Ground) -> None:
    items = [
        {"project_id": ground.project, "name": f"rule_{number}", "definition": REQUIRED}
        for number in range(MAX_RULES)
    ]
    keys = bench.make("annotations.create_validation_rules", items)
    for result in bench.work("annotations.delete_validation_rules", [{"id": keys[0]}]):
        document(result)
    newest = {**items[0], "name": "newest"}
    bench.make("annotations.create_validation_rules", [newest])
    bench.undo(-2)
    assert len(bench.rows(tables.rules)) == MAX_RULES + 1
    good = span(ground, 0, 3, metadata={"k": 1})
    (result,) = create(bench, ground, good)
    assert fault(result) == ("too_many_rules", "", True)
    assert (
        f"project {ground.project} has more than {MAX_RULES} rules" in issues(result)[0]["message"]
    )
    # Who asks for no rules is not told of their number.
    document(create(bench, ground, good, validate_before_create=False)[0])
    change = {"id": keys[1], "enabled": False}
    document(bench.work("annotations.update_validation_rules", [change])[0])
    document(create(bench, ground, good)[0])
