"""Ten thousand items against a store of a million annotations: how many queries, and how long."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import Connection, insert, text

from domain.records import Writer
from domain.systems.annotations import tables
from domain.systems.annotations.validation.becoming import Becoming
from domain.systems.annotations.validation.examination import examine
from domain.systems.annotations.validation.subjects import Batch
from streams.stores.records import SqlRecords
from tests.databases import analyze
from tests.proof import figures
from tests.systems.annotations.conftest import Ground
from tests.systems.annotations.validation.counting import statements
from tests.systems.annotations.validation.setting import demand, rule
from tests.systems.bench import NOW, Workbench

TEXTS = 1000
FREE = 10
"""Words at the end of each text that nobody has annotated."""
WIDTH = 7
MOST_QUERIES = 10
SECONDS = 60.0
SAMPLE, FULL = 10, 1000
"""Annotations of each text."""
WRONG_EVERY = 100

_FILL = text(
    "INSERT INTO annotations (id, version, tenant, project_id, text_id, label_id, start_char, "
    "end_char, selected_text, created_by, created_at) "
    "WITH RECURSIVE words(word) AS "
    "(SELECT 0 UNION ALL SELECT word + 1 FROM words WHERE word < :words - 1) "
    "SELECT 1000000 + (texts.id - :first) * :words + word, 1, 'local', :project, texts.id, :label, "
    f"word * {WIDTH}, word * {WIDTH} + {WIDTH - 1}, "
    "'w' || substr(CAST(100000 + word AS TEXT), 2), 'ada', 0 "
    "FROM texts, words WHERE texts.project_id = :project AND texts.id >= :first"
)


def test_a_sample(bench: Workbench, ground: Ground) -> None:
    _examined(bench, ground, SAMPLE)


@pytest.mark.proof
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_million(bench: Workbench, ground: Ground) -> None:
    _examined(bench, ground, FULL)


def _examined(bench: Workbench, ground: Ground, words: int) -> None:
    first = bench.database.write_now(lambda connection: _fill(connection, ground, words))
    analyze(bench.database, "annotations")
    demand(bench, ground, allow_overlaps=False)
    rule(bench, ground, {"kind": "regex", "field": "selected_text", "pattern": "^w"})
    items = [
        _item(ground, first + number % TEXTS, _word(number, words))
        for number in range(TEXTS * FREE)
    ]
    with bench.database.engine.connect() as connection:
        store = SqlRecords(connection, Writer("local", "ada", "job"), NOW.timestamp())
        began = time.perf_counter()
        with statements(connection) as said:
            batch, _ = examine(store, ground.project, items)
        seconds = time.perf_counter() - began
        connection.rollback()
    _require_right(batch, words)
    assert len(said) <= MOST_QUERIES, said
    assert seconds < SECONDS
    kind = bench.database.engine.dialect.name
    terms = {"items": len(items), "store": TEXTS * words, "database": kind}
    figures.tell("queries to validate", len(said), **terms)
    figures.tell("seconds to validate", round(seconds, 2), **terms)


def _require_right(batch: Batch, words: int) -> None:
    """One in a hundred is there already, with the same label; all others are free."""
    wrong = set(range(0, TEXTS * FREE, WRONG_EVERY))
    assert set(batch.issues) == wrong
    assert {tuple(issue.rule.id for issue in issues) for issues in batch.issues.values()} == {
        ("duplicate", "overlap")
    }


def _word(number: int, words: int) -> int:
    taken = number % WRONG_EVERY == 0
    return number // TEXTS if taken else words + number // TEXTS


def _item(ground: Ground, text_id: int, word: int) -> Becoming:
    start = word * WIDTH
    return Becoming(
        text_id=text_id,
        start_char=start,
        end_char=start + WIDTH - 1,
        label_id=ground.person,
        label=None,
        selected_text=f"w{word:05}",
        confidence_score=0.9,
        metadata=None,
    )


def _fill(connection: Connection, ground: Ground, words: int) -> int:
    """Texts of numbered words; the id of the first."""
    content = " ".join(f"w{word:05}" for word in range(words + FREE))
    own = {"version": 1, "tenant": "local", "created_by": "ada", "created_at": 0.0}
    first = 1000
    connection.execute(
        insert(tables.texts),
        [
            own | {"id": first + number, "project_id": ground.project, "content": content}
            for number in range(TEXTS)
        ],
    )
    given = {"words": words, "first": first, "project": ground.project, "label": ground.person}
    connection.execute(_FILL, given)
    return first
