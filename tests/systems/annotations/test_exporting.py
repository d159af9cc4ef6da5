"""What is kept of an export: parts of texts that stand together, in any order of chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import sqlalchemy
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import RecordsOvertaken
from domain.operation import Context, Operation
from domain.outcomes import Done, Failed, Result, Skipped
from domain.systems.annotations import export_reading, operations, tables
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
from tests.systems.bench import FixedClock, Workbench, document


@dataclass
class Kept:
    """Parts by the first of their items."""

    parts: dict[int, list[Document]] = field(default_factory=dict)

    def add(self, position: int, data: bytes) -> None:
        self.parts[position] = list(unpacked(data))


def test_what_earlier_releases_kept_as_no_number_is_null() -> None:
    (found,) = unpacked(packed([TextDocument("a", metadata={"x": float("nan"), "y": 1})]))
    assert found == TextDocument("a", metadata={"x": None, "y": 1})


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


def test_words_of_spans_are_read_a_few_at_a_time(
    bench: Workbench, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_reading, "WORDS_AT_ONCE", 8)
    spans = [
        {"text_id": ground.text, "label": "person", "start_char": start, "end_char": end}
        for start, end in ((0, 3), (4, 9), (13, 20), (0, 20))
    ]
    params = {"project_id": ground.project}
    bench.make("annotations.create", spans, params=params | {"validate_before_create": False})
    lengths: list[list[int]] = []

    def noted(_: Context, rows: list[Row]) -> list[Row]:
        lengths.append([len(row["selected_text"]) for row in rows])
        return rows

    narrow = Workbench(bench.database, [_of(replace(TEXTS, chosen=noted))])
    how = params | {"format": "jsonl"}
    (read,) = narrow.work("annotations.export", [{"id": ground.text}], params=how)
    assert document(read)["annotations"] == 4
    assert lengths == [[3, 5], [7, 20]]


def test_images_with_long_outlines_are_in_memory_a_few_at_a_time(
    bench: Workbench, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_reading, "SHAPES_AT_ONCE", 2_000)
    monkeypatch.setattr(export_reading, "LONG_SHAPE", 800)
    monkeypatch.setattr(export_reading, "SHAPED_AT_ONCE", 3)
    params = {"project_id": ground.project}

    def boxed(corners: int) -> dict[str, Any]:
        outline = [[10, 20], [40, 20], *([40, 60 - at / 1000] for at in range(corners))]
        return {"bbox": [10, 20, 30, 40], "label": "person", "polygons": [outline]}

    items = [
        {"file_name": f"{n}.png", "width": 640, "height": 480, "boxes": [boxed(c) for c in corners]}
        for n, corners in enumerate([[40, 3, 100, 1, 2, 60], [9], [], [70, 40]])
    ]
    made = bench.work("annotations.import_images", items, params=params)
    ids = [document(each)["id"] for each in made]
    held: list[tuple[int, int]] = []
    unshaped = export_reading._with

    def noted(*given: Any) -> list[Row]:
        rows = unshaped(*given)
        held.append((len(rows), sum(len(row["polygon"]) + len(row["metadata"]) for row in rows)))
        return rows

    monkeypatch.setattr(export_reading, "_with", noted)
    how, wanted = params | {"format": "coco"}, [{"id": key} for key in ids]
    results = bench.work("annotations.export_images", wanted, params=how, job="export")
    assert [document(each)["annotations"] for each in results] == [6, 1, 0, 2]
    assert all(count == 1 or (count <= 3 and size <= 3 * 800) for count, size in held)
    parts = bench.database.read_now(lambda c: parts_after(c, "export", -1, 9))
    found = [image for _, data in parts for image in unpacked(data)]
    assert len(parts) > 1
    assert [
        [len(box.polygons[0]) - 2 for box in image.boxes]
        for image in found
        if isinstance(image, ImageDocument)
    ] == [[40, 3, 100, 1, 2, 60], [9], [], [70, 40]]

    monkeypatch.setattr(export_reading, "MAX_SHAPES", 2_000)
    failed, *others = bench.work("annotations.export_images", wanted, params=how, job="job-2")
    assert isinstance(failed, Failed)
    assert (failed.code, "2,000 characters" in failed.message) == ("too_many_annotations", True)
    assert all(isinstance(each, Done) for each in others)


def test_long_outlines_that_are_not_wanted_hide_none_that_are(
    bench: Workbench, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_reading, "LONG_SHAPE", 800)
    params = {"project_id": ground.project}
    outline = [[10, 20], [40, 20], *([40, 60 - at / 1000] for at in range(90))]

    def boxed(confidence: float, at: int) -> dict[str, Any]:
        return {
            "bbox": [10, 20, 30, 40 - at / 10],
            "label": "person",
            "polygons": [outline],
            "confidence_score": confidence,
        }

    boxes = [boxed(0.1 if at < 6 else 0.9, at) for at in range(9)]
    image = {"file_name": "a.png", "width": 640, "height": 480, "boxes": boxes}
    (made,) = bench.work("annotations.import_images", [image], params=params)
    held: list[int] = []
    unshaped = export_reading._with

    def noted(*given: Any) -> list[Row]:
        rows = unshaped(*given)
        held.append(len(rows))
        return rows

    monkeypatch.setattr(export_reading, "_with", noted)
    how = params | {"format": "coco", "filters": {"confidence_min": 0.5}}
    (read,) = bench.work("annotations.export_images", [{"id": document(made)["id"]}], params=how)
    assert document(read)["annotations"] == 3
    assert held == [1, 1, 1]


@pytest.mark.service("postgresql")
@pytest.mark.parametrize("changed", [tables.texts, tables.annotations], ids=str)
def test_what_is_changed_while_it_is_read_is_read_again(
    migrated_postgres: str, monkeypatch: pytest.MonkeyPatch, changed: sqlalchemy.Table
) -> None:
    with Database(migrated_postgres) as database:
        worded = export_reading.with_words

        def meanwhile(*given: Any) -> list[Row]:
            with database.engine.begin() as connection:
                connection.execute(sqlalchemy.update(changed).values(version=2))
            return worded(*given)

        monkeypatch.setattr(export_reading, "with_words", meanwhile)
        bench = Workbench(database, operations)
        (project,) = bench.make("annotations.create_projects", [{"name": "p"}])
        params = {"project_id": project}
        bench.make("annotations.create_labels", [params | {"name": "x"}])
        span = {"start_char": 0, "end_char": 3, "label": "x"}
        text = {"content": "Ada", "annotations": [span]}
        (key,) = bench.make("texts.import", [text], params=params)
        how = params | {"format": "jsonl"}
        with pytest.raises(RecordsOvertaken):
            bench.work("annotations.export", [{"id": key}], params=how)


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
