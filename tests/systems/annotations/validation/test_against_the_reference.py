"""The set-based engine says of random items what the slow reference says, on both databases."""

from __future__ import annotations

import itertools
from typing import Any

import orjson
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from domain.records import Writer
from domain.systems.annotations import tables
from domain.systems.annotations.validation import tables as own_tables
from domain.systems.annotations.validation.becoming import Becoming
from domain.systems.annotations.validation.examination import examine
from streams.stores.database import Database
from streams.stores.records import SqlRecords
from tests.systems.annotations.validation.reference import World, issues
from tests.systems.bench import NOW

CHARACTERS = "ab1 _\u0301é中ก-\n"
RULES: list[dict[str, Any]] = [
    {"kind": "required", "field": "metadata.k"},
    {"kind": "regex", "field": "selected_text", "pattern": "^a|1$"},
    {"kind": "range", "field": "length", "minimum": 2, "maximum": 4},
    {"kind": "allowed", "field": "metadata.k", "values": ["x", 1]},
    {"kind": "unique", "fields": ["label_id"]},
    {"kind": "unique", "fields": ["selected_text", "start_char"]},
    {"kind": "expression", "expression": "length < 3 or 'a' in selected_text"},
]
OFF = ["cut_word", "duplicate", "labels_differ", "blank_span"]

spans = st.fixed_dictionaries(
    {
        "text": st.integers(0, 3),
        "start_char": st.integers(0, 9),
        "length": st.integers(-1, 6),
        "label": st.integers(0, 3),
        "by_name": st.booleans(),
        "selected": st.sampled_from(["none", "right", "wrong"]),
        "confidence_score": st.sampled_from([None, 0.1, 0.5, 0.9]),
        "metadata": st.sampled_from([None, {}, {"k": "x"}, {"k": 1}, {"k": "y"}, {"k": ""}]),
    }
)
demands = st.fixed_dictionaries(
    {
        "least": st.sampled_from([0.0, 0.3, 0.6]),
        "most": st.integers(1, 5),
        "overlaps": st.booleans(),
        "off": st.sets(st.sampled_from(OFF)),
        "rules": st.lists(
            st.tuples(st.integers(0, len(RULES) - 1), st.sets(st.sampled_from("PQ"), max_size=1)),
            max_size=4,
        ),
    }
)
_FIELDS = (
    *("text_id", "start_char", "end_char", "label_id", "label"),
    *("selected_text", "confidence_score", "metadata"),
)
contents = st.lists(st.text(CHARACTERS, min_size=1, max_size=10), min_size=3, max_size=3)


@settings(
    max_examples=30,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    texts=contents,
    stored=st.lists(spans, max_size=6),
    items=st.lists(spans, min_size=1, max_size=8),
    demanded=demands,
    how=st.sampled_from(["new", "changed", "settled"]),
)
def test_the_same_issues(
    database: Database,
    texts: list[str],
    stored: list[dict[str, Any]],
    items: list[dict[str, Any]],
    demanded: dict[str, Any],
    how: str,
) -> None:
    with database.engine.connect() as connection:
        store = SqlRecords(connection, Writer("local", "ada", "job"), NOW.timestamp())
        setting = _Setting(store, texts, demanded)
        setting.fill(stored)
        own, given_items = setting.given(items, how)
        subjects = [_subject(item) for item in given_items]
        batch, _ = examine(store, setting.project, subjects, own=own, settled=how == "settled")
        connection.rollback()
    found = {
        (index, issue.rule.id, issue.pointer)
        for index, several in batch.issues.items()
        for issue in several
    }
    assert found == issues(setting.world, given_items, own, settled=how == "settled")


def _subject(item: dict[str, Any]) -> Becoming:
    return Becoming(**{name: item.get(name) for name in _FIELDS})


class _Setting:
    """A project in the database, and the same as the reference wants it."""

    def __init__(self, store: SqlRecords, texts: list[str], demanded: dict[str, Any]) -> None:
        self.store = store
        self._stamps = ("ada", 0.0)
        (self.project,) = self._insert(tables.projects, ("name",), [("p",)])
        self.texts = list(
            self._insert(
                tables.texts, ("project_id", "content"), [(self.project, text) for text in texts]
            )
        )
        self.labels = dict(
            zip(
                self._insert(
                    tables.labels, ("project_id", "name"), [(self.project, n) for n in "PQR"]
                ),
                "PQR",
                strict=True,
            )
        )
        named = [
            {"name": f"r{place}", "labels": sorted(labels), "definition": RULES[number]}
            for place, (number, labels) in enumerate(demanded["rules"])
        ]
        self.world = World(
            texts=dict(zip(self.texts, texts, strict=True)),
            labels=self.labels,
            stored={},
            least=demanded["least"],
            most=demanded["most"],
            overlaps=demanded["overlaps"],
            off=frozenset(demanded["off"]),
            rules=named,
        )
        self._demand()

    def _demand(self) -> None:
        world = self.world
        self._insert(
            own_tables.thresholds,
            ("project_id", "min_confidence", "max_span", "allow_overlaps", "severities"),
            [
                (
                    *(self.project, world.least, world.most, world.overlaps),
                    orjson.dumps(dict.fromkeys(sorted(world.off), "off")).decode(),
                )
            ],
        )
        self._insert(
            own_tables.rules,
            ("project_id", "name", "labels", "definition"),
            [
                (
                    *(self.project, rule["name"]),
                    orjson.dumps(rule["labels"]).decode(),
                    orjson.dumps(rule["definition"]).decode(),
                )
                for rule in world.rules
            ],
        )

    def _insert(self, table: Any, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> range:
        stamped = [(*row, *self._stamps) for row in rows]
        places = [-1] * len(rows)
        return self.store.insert(table, (*columns, "created_by", "created_at"), stamped, places)

    def fill(self, stored: list[dict[str, Any]]) -> None:
        """Annotations that are there already; those that could not be are left out."""
        rows = []
        for one in stored:
            text = self.texts[one["text"] % 3]
            content = self.world.texts[text]
            start, end = one["start_char"], one["start_char"] + max(one["length"], 1)
            if end <= len(content):
                label = list(self.labels)[one["label"] % 3]
                rows.append((self.project, text, label, start, end, content[start:end]))
        columns = ("project_id", "text_id", "label_id", "start_char", "end_char", "selected_text")
        ids = self._insert(tables.annotations, columns, rows)
        self.world.stored = {
            key: dict(zip(columns, row, strict=True)) for key, row in zip(ids, rows, strict=True)
        }

    def given(
        self, items: list[dict[str, Any]], how: str
    ) -> tuple[list[int], list[dict[str, Any]]]:
        """The items as they are sent, each with the id that it has in the store."""
        ids = list(self.world.stored)
        if how == "settled":
            return ids, [dict(self.world.stored[key]) for key in ids]
        made = [self._item(item) for item in items]
        if how == "new":
            return [0] * len(made), made
        own = list(itertools.islice(itertools.chain(ids, itertools.repeat(0)), len(made)))
        return own, made

    def _item(self, item: dict[str, Any]) -> dict[str, Any]:
        text = [*self.texts, 10**12][item["text"]]
        start = item["start_char"]
        end = max(start + item["length"], 0)
        label = [*self.labels, 10**12][item["label"]]
        content = self.world.texts.get(text, "")
        words = {"none": None, "right": content[start:end], "wrong": "zz"}[item["selected"]]
        named = item["by_name"] and label in self.labels
        return {
            "text_id": text,
            "start_char": start,
            "end_char": end,
            "label": self.labels[label] if named else None,
            "label_id": None if named else label,
            "selected_text": words,
            "confidence_score": item["confidence_score"],
            "metadata": item["metadata"],
        }
