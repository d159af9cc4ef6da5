"""What is kept of an export: parts of texts that stand together, in any order of chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from domain.errors import RecordsOvertaken
from domain.operation import Context, Operation
from domain.outcomes import Done, Failed, Result, Skipped
from domain.systems.annotations import operations, tables
from domain.systems.annotations.export_documents import packed, unpacked
from domain.systems.annotations.export_reading import Row, Source, exported, kept
from domain.systems.annotations.export_terms import Exported
from domain.systems.annotations.exporting import TEXTS, export
from domain.systems.annotations.formats.contract import WriteOptions
from domain.systems.annotations.formats.documents import (
    Box,
    Document,
    ImageDocument,
    Span,
    TextDocument,
)
from domain.systems.annotations.formats.records import record_of
from streams.stores.database import Database
from streams.stores.job_parts import parts_after
from tests.formats.data import STEADY, documents, ordered
from tests.systems.annotations.conftest import Ground
from tests.systems.bench import FixedClock, Workbench


@dataclass
class Kept:
    """Parts by the first of their items."""

    parts: dict[int, list[Document]] = field(default_factory=dict)

    def add(self, position: int, data: bytes) -> None:
        self.parts[position] = list(unpacked(data))


def test_documents_come_back_as_they_were() -> None:
    boxed = Box(1.5, 2, 3, 4, "a\nb", 0.5, (((1.0, 2.0), (3.0, 4.0), (5.0, 6.0)),), True, {"x": 1})
    found: list[Document] = [
        TextDocument(
            "a\n\u2028b\r", (Span(0, 1, "x", None, {"deep": [None]}),), "", ("y",), {"z": {}}
        ),
        ImageDocument("a.png", 640, 480, (boxed,), "7", {"n": 10**30}),
        TextDocument("-"),
    ]
    assert list(unpacked(packed(found))) == found


@given(texts=st.lists(documents(), min_size=1, max_size=3))
@settings(STEADY, max_examples=40)
def test_what_an_import_has_brought_goes_out_as_it_came(
    shared_bench: Workbench, texts: list[TextDocument]
) -> None:
    job = f"job-{len(shared_bench.chunks)}"
    (project,) = shared_bench.make("annotations.create_projects", [{"name": "p"}])
    params = {"project_id": project}
    names = sorted({span.label for text in texts for span in text.spans})
    if names:
        labels = [params | {"name": name} for name in names]
        shared_bench.make("annotations.create_labels", labels)
    records = [record_of(text, WriteOptions()) for text in texts]
    ids = shared_bench.make("texts.import", records, params=params)
    how = params | {"format": "jsonl"}
    items = [{"id": key} for key in ids]
    results = shared_bench.work("annotations.export", items, params=how, job=job)
    assert all(isinstance(result, Done) for result in results)
    parts = shared_bench.database.read_now(lambda c: parts_after(c, job, -1, 9))
    found = [text for _, data in parts for text in unpacked(data)]
    assert [ordered(text) for text in found if isinstance(text, TextDocument)] == [
        ordered(text) for text in texts
    ]


def test_of_a_stranger_nothing_is_read(bench: Workbench, ground: Ground) -> None:
    params = {"project_id": ground.project, "format": "jsonl"}
    items = [{"id": key} for key in (ground.foreign_text, ground.text)]
    skipped, read = bench.work("annotations.export", items, params=params)
    assert isinstance(skipped, Skipped)
    assert read == Done({"id": ground.text, "annotations": 0})
    params = {"project_id": ground.foreign_project, "format": "jsonl"}
    (result,) = bench.work("annotations.export", items[:1], params=params, job="job-2")
    assert isinstance(result, Skipped)


def _narrow(database: Database, most: int) -> Workbench:
    """A workbench on which three marks are read at once, and a text may have so many."""
    return Workbench(database, [_of(replace(TEXTS, some=3, most=most))])


def _of(source: Source) -> Operation:
    """The export that reads otherwise."""

    def apply(ctx: Context, items: Sequence[Exported]) -> list[Result]:
        return exported(ctx, source, [item.id for item in items], ctx.params.lost)

    return replace(export, apply=apply)


def test_more_marks_than_are_held_at_once_are_read_in_turns(
    bench: Workbench, ground: Ground
) -> None:
    spans = [
        {"text_id": text, "label": "person", "start_char": n, "end_char": n + 1}
        for text, count in ((ground.text, 4), (ground.other, 2))
        for n in range(count)
    ]
    params = {"project_id": ground.project}
    bench.make("annotations.create", spans, params=params | {"validate_before_create": False})
    how = params | {"format": "jsonl"}
    items = [{"id": ground.text}, {"id": ground.other}]
    results = _narrow(bench.database, 4).work("annotations.export", items, params=how)
    assert results == [
        Done({"id": ground.text, "annotations": 4}),
        Done({"id": ground.other, "annotations": 2}),
    ]
    narrow = _narrow(bench.database, 3)
    failed, _ = narrow.work("annotations.export", items, params=how, job="job-2")
    assert isinstance(failed, Failed)
    assert failed.code == "too_many_annotations"


@pytest.mark.service("postgresql")
def test_a_text_that_is_changed_while_it_is_read_is_read_again(migrated_postgres: str) -> None:
    with Database(migrated_postgres) as database:
        bench = Workbench(database, operations)
        (project,) = bench.make("annotations.create_projects", [{"name": "p"}])
        text = {"project_id": project, "content": "Ada"}
        (key,) = bench.make("annotations.create_texts", [text])

        def meanwhile(_: Context, rows: list[Row]) -> list[Row]:
            with database.engine.begin() as connection:
                connection.execute(update(tables.texts).values(version=2))
            return rows

        source = replace(TEXTS, chosen=meanwhile)
        overtaken = Workbench(database, [_of(source)])
        params = {"project_id": project, "format": "jsonl"}
        with pytest.raises(RecordsOvertaken):
            overtaken.work("annotations.export", [{"id": key}], params=params)


def test_a_part_has_what_stands_together_so_that_a_retry_takes_its_place() -> None:
    texts = [TextDocument(f"{n}") for n in range(6)]
    found: list[Document | Failed | Skipped | None] = [*texts]
    found[2], found[4] = Failed("x", "y"), None
    positions = [10, 11, 12, 13, 14, 20]
    parts = Kept()
    context = Context("j", "t", "a", None, 0, 1, positions, 0.0, FixedClock(), parts=parts)
    results = kept(context, positions, [1, 2, 3, 4, 5, 6], found, lambda _: ["key"])
    assert parts.parts == {10: texts[:2], 13: [texts[3]], 20: [texts[5]]}
    assert results[0] == Done({"id": 1, "annotations": 0, "losses": ["key"]})
    assert isinstance(results[4], Skipped)
    again = Context("j", "t", "a", None, 1, 1, [12], 0.0, FixedClock(), parts=parts)
    kept(again, [12], [3], [texts[2]], lambda _: [])
    ordered = [text for _, part in sorted(parts.parts.items()) for text in part]
    assert ordered == [texts[0], texts[1], texts[2], texts[3], texts[5]]
