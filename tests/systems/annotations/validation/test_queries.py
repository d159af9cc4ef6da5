"""How many queries a run makes: ten at most, however many items there are.

Five more for each look again at what is beside others, if somebody of them is refused.
"""

from __future__ import annotations

from typing import Any

import pytest

from domain.records import Writer
from domain.systems.annotations import tables
from domain.systems.annotations.validation.becoming import KNOWN, Becoming, became
from domain.systems.annotations.validation.beside import LOOKS
from domain.systems.annotations.validation.examination import examine
from streams.stores.records import SqlRecords
from tests.systems.annotations.conftest import Ground
from tests.systems.annotations.validation.counting import statements
from tests.systems.annotations.validation.setting import create, demand, rule, span
from tests.systems.bench import NOW, Workbench, document

MOST = 10
TEXTS = 130
"""More than are held in memory at once."""


@pytest.fixture
def demanding(bench: Workbench, ground: Ground) -> list[int]:
    """A project with everything that takes a query; the ids of its many texts."""
    demand(bench, ground, allow_overlaps=False, threshold=0.1)
    rule(bench, ground, {"kind": "unique", "fields": ["start_char"]}, name="a")
    rule(bench, ground, {"kind": "unique", "fields": ["selected_text"]}, name="b", labels=["thing"])
    rule(bench, ground, {"kind": "regex", "field": "selected_text", "pattern": "."}, name="c")
    return bench.make(
        "annotations.create_texts",
        [{"project_id": ground.project, "content": f"text {n} end"} for n in range(TEXTS)],
    )


@pytest.mark.parametrize("items", [1, 3000])
def test_new_annotations(
    bench: Workbench, ground: Ground, demanding: list[int], items: int
) -> None:
    subjects = [
        Becoming(
            text_id=demanding[number % TEXTS],
            start_char=number % 5,
            end_char=number % 5 + 3,
            label_id=None if number % 2 else ground.person,
            label="thing" if number % 2 else None,
            selected_text=None,
            confidence_score=0.5,
            metadata=None,
        )
        for number in range(items)
    ]
    with bench.database.engine.connect() as connection:
        store = SqlRecords(connection, Writer("local", "ada", "job"), NOW.timestamp())
        with statements(connection) as said:
            batch, _ = examine(store, ground.project, subjects)
        connection.rollback()
    assert len(batch.sound()) == items
    assert 7 <= len(said) <= MOST, said


def test_changed_annotations(bench: Workbench, ground: Ground, demanding: list[int]) -> None:
    items = [span(ground, 0, 4, text_id=text) for text in demanding]
    keys = [document(result)["id"] for result in create(bench, ground, *items)]
    with bench.database.engine.connect() as connection:
        store = SqlRecords(connection, Writer("local", "ada", "job"), NOW.timestamp())
        with statements(connection) as said:
            rows = store.fetch(tables.annotations, keys, KNOWN)
            changed = [became(_Nothing(), rows[key]) for key in keys]
            batch, _ = examine(store, ground.project, changed, own=keys)
        connection.rollback()
    assert batch.issues == {}
    assert len(said) <= MOST, said


def test_changes_that_wait_for_each_other(bench: Workbench, ground: Ground) -> None:
    """Each takes the place of the next, and the last one may not move."""
    demand(bench, ground, allow_overlaps=False)
    rule(bench, ground, {"kind": "unique", "fields": ["start_char"]})
    items = [span(ground, n, n + 1) for n in range(4 * LOOKS)]
    keys = [document(result)["id"] for result in create(bench, ground, *items)]
    with bench.database.engine.connect() as connection:
        store = SqlRecords(connection, Writer("local", "ada", "job"), NOW.timestamp())
        rows = store.fetch(tables.annotations, keys, KNOWN)
        ahead = [became(_Moved(n + 1), rows[key]) for n, key in enumerate(keys[:-1])]
        with statements(connection) as said:
            batch, _ = examine(store, ground.project, ahead, own=keys[:-1])
        connection.rollback()
    assert set(batch.issues) == set(range(len(ahead)))
    assert len(said) <= MOST + 5 * (LOOKS - 1), said


class _Nothing:
    """A change of nothing."""

    model_fields_set: set[str] = set()  # noqa: RUF012 - as pydantic has it

    def __getattr__(self, _name: str) -> Any:
        return None


class _Moved(_Nothing):
    """A change of one character's span to another place."""

    def __init__(self, start: int) -> None:
        self.start_char, self.end_char = start, start + 1
        self.model_fields_set = {"start_char", "end_char"}
