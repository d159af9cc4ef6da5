"""annotations.import_images: what is made, what is added to what is there, what is refused."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, cast

import pytest
from sqlalchemy import event

from domain.operation import Context
from domain.outcomes import Conflicted, Restored, Skipped
from domain.records import Records, Writer
from domain.systems.annotations import image_importing, tables
from domain.systems.annotations.image_importing import ImageImport, ImportedImage, import_images
from streams.stores.database import Database
from streams.stores.records import SqlRecords
from tests.systems.annotations.conftest import Ground
from tests.systems.bench import NOW, FixedClock, Workbench, document, fault

TRIANGLE = [[10, 20], [40, 20], [40, 60]]


def box(label: str = "person", **values: Any) -> dict[str, Any]:
    return {"bbox": [10, 20, 30, 40], "label": label, **values}


def image(*boxes: Any, name: str = "a.png", **values: Any) -> dict[str, Any]:
    return {"file_name": name, "width": 640, "height": 480, "boxes": boxes, **values}


def imported(bench: Workbench, ground: Ground, *items: Any, **options: Any) -> list[Any]:
    params = {"project_id": ground.project} | options.pop("params", {})
    return bench.work("annotations.import_images", items, params=params, **options)


def test_an_image_is_made_with_its_boxes(bench: Workbench, ground: Ground) -> None:
    first = box(confidence_score=0.5, metadata={"pose": "left"}, polygons=[TRIANGLE])
    results = imported(
        bench,
        ground,
        image(first, box("thing"), key="7", metadata={"folder": "x"}),
        image(name="b.png"),
        actor="bert",
    )
    assert [document(each)["boxes"] for each in results] == [2, 0]
    one, other = bench.rows(tables.images).values()
    assert (one["file_name"], one["width"], one["height"]) == ("a.png", 640, 480)
    assert json.loads(one["metadata"]) == {"folder": "x", "_file": {"key": "7"}}
    assert (one["created_by"], other["metadata"]) == ("bert", "{}")
    a, b = bench.rows(tables.boxes).values()
    assert (a["image_id"], a["label_id"], a["project_id"]) == (
        one["id"],
        ground.person,
        ground.project,
    )
    assert (a["x"], a["y"], a["width"], a["height"]) == (10, 20, 30, 40)
    assert json.loads(a["polygon"]) == TRIANGLE
    assert (a["confidence_score"], json.loads(a["metadata"])) == (0.5, {"pose": "left"})
    assert (b["label_id"], b["polygon"], b["metadata"]) == (ground.thing, None, "{}")


def test_what_has_no_place_of_its_own_is_kept_beside(bench: Workbench, ground: Ground) -> None:
    beyond = [[-1, 0], [40, 20], [40, 60]]
    imported(
        bench,
        ground,
        image(
            box(polygons=[TRIANGLE, TRIANGLE], crowd=True, metadata={"a": 1}),
            box("thing", polygons=[beyond]),
        ),
    )
    several, outside = bench.rows(tables.boxes).values()
    assert json.loads(several["polygon"]) == TRIANGLE
    assert json.loads(several["metadata"]) == {
        "a": 1,
        "_file": {"polygons": [TRIANGLE], "crowd": True},
    }
    assert outside["polygon"] is None
    assert json.loads(outside["metadata"]) == {"_file": {"polygons": [beyond]}}


def test_an_image_that_is_there_is_given_the_boxes_that_it_lacks(
    bench: Workbench, ground: Ground
) -> None:
    made, *_ = imported(bench, ground, image(box(), box()))
    # What is there twice is the same as in the file; what is there once is given once more.
    same, more = imported(
        bench,
        ground,
        image(box(confidence_score=1), box()),
        image(box(), box(), box(), box("thing"), key="other"),
    )
    assert isinstance(same, Skipped)
    assert document(more) == {"id": document(made)["id"], "boxes": 2}
    (row,) = bench.rows(tables.images).values()
    assert (row["version"], row["metadata"]) == (1, "{}")
    labels = [each["label_id"] for each in bench.rows(tables.boxes).values()]
    assert labels == [ground.person] * 3 + [ground.thing]


NEAR = 30.7, 30.700000000000003


@pytest.mark.parametrize(
    ("there", "file", "boxes"),
    [
        ({"bbox": [1, 2, NEAR[0], 4]}, {"bbox": [1, 2, NEAR[1], 4]}, 0),
        ({"bbox": [NEAR[1], 2, 3, 4]}, {"bbox": [NEAR[0], 2, 3, 4]}, 0),
        # On either side of where a coordinate would be rounded otherwise.
        ({"bbox": [1.4999999999999, 2, 3, 4]}, {"bbox": [1.5, 2, 3, 4]}, 0),
        ({"bbox": [1.0000005, 2, 3, 4]}, {"bbox": [1.00000050000001, 2, 3, 4]}, 0),
        ({"bbox": [1, 2, 3, 4]}, {"bbox": [1.00001, 2, 3, 4]}, 1),
        # The part beyond the image is no part of the box.
        ({"bbox": [600, 2, 40.4, 4]}, {"bbox": [600, 2, 40, 4]}, 0),
        (
            {"polygon": TRIANGLE},
            {"polygons": [[[10, 20], [40.00000000000001, 20], [40, 60]]]},
            0,
        ),
        ({"polygon": TRIANGLE}, {"polygons": [[[10, 20], [40.1, 20], [40, 60]]]}, 1),
        ({"polygon": TRIANGLE}, {"polygons": [[*TRIANGLE, [10, 60]]]}, 1),
        ({"polygon": TRIANGLE}, {}, 1),
        (
            {"polygon": [[640.5, 0], [600, 0], [600, 9]]},
            {"polygons": [[[640.5000000000001, 0], [600, 0], [600, 9]]]},
            0,
        ),
    ],
)
def test_a_box_is_known_again_but_for_what_arithmetic_does(
    bench: Workbench, ground: Ground, there: dict[str, Any], file: dict[str, Any], boxes: int
) -> None:
    (made,) = imported(bench, ground, image())
    drawn = {"image_id": document(made)["id"], "label": "person", "bbox": [10, 20, 30, 40]} | there
    bench.make("annotations.create_boxes", [drawn] * 2, params={"project_id": ground.project})
    (result,) = imported(bench, ground, image(box(**file), box(**file)))
    if boxes:
        assert document(result)["boxes"] == 2
    else:
        assert isinstance(result, Skipped)


def _within_a_pixel(at: int) -> dict[str, Any]:
    return {"bbox": [0.1 + at / 20_000, 0.1, 0.2, 0.3]}


def _of_one_place(at: int) -> dict[str, Any]:
    corners = [[10, 20], [40, 20], [40, 60], *([20 + at / 900, 30 + n] for n in range(5))]
    return {"polygons": [corners]}


def _hardly_apart(at: int) -> dict[str, Any]:
    return {"bbox": [10 + at / 300_000, 20, 30, 40]}


@pytest.mark.parametrize("nth", [_within_a_pixel, _of_one_place, _hardly_apart])
def test_boxes_that_share_their_pixels_are_told_apart_in_time(
    bench: Workbench, ground: Ground, nth: Callable[[int], dict[str, Any]]
) -> None:
    crowded = image(*(box(**nth(at)) for at in range(4_000)))
    began = time.process_time()
    (made,) = imported(bench, ground, crowded)
    (again,) = imported(bench, ground, crowded)
    assert time.process_time() - began < 10
    assert document(made)["boxes"] == 4_000
    assert isinstance(again, Skipped)


@pytest.mark.parametrize("at_once", [True, False])
def test_several_items_of_one_image_are_one_image(
    bench: Workbench, ground: Ground, *, at_once: bool
) -> None:
    items = [image(box()), image(box(), box("thing")), image(box("thing"), name="b.png")]
    chunks = [items] if at_once else [[item] for item in items]
    results = [each for chunk in chunks for each in imported(bench, ground, *chunk)]
    assert [document(each)["boxes"] for each in results] == [1, 1, 1]
    assert [each["file_name"] for each in bench.rows(tables.images).values()] == ["a.png", "b.png"]
    assert len(bench.rows(tables.boxes)) == 3


def test_what_is_refused_says_why_and_spares_the_others(bench: Workbench, ground: Ground) -> None:
    imported(bench, ground, image(name="there.png"))
    bad = [
        (image(box("place")), ("label_not_found", "/boxes/0/label", True)),
        (image(box(), box(bbox=[600, 0, 41, 1])), ("box_out_of_range", "/boxes/1/bbox", False)),
        (image(name="there.png", width=5), ("image_size_differs", "/width", False)),
        (
            image(key="7", metadata={"_file": 1}),
            ("metadata_reserved", "/metadata/_file", False),
        ),
        (
            image(box(crowd=True, metadata={"_file": 1})),
            ("metadata_reserved", "/boxes/0/metadata/_file", False),
        ),
        (image(name=""), ("invalid", "/file_name", False)),
        (image(box(polygons=[TRIANGLE[:2]])), ("invalid", "/boxes/0/polygons/0", False)),
    ]
    results = imported(bench, ground, *(item for item, _ in bad), image(box(), name="good.png"))
    assert [fault(result) for result in results[:-1]] == [expected for _, expected in bad]
    assert document(results[-1])["boxes"] == 1
    names = [each["file_name"] for each in bench.rows(tables.images).values()]
    assert names == ["there.png", "good.png"]


def test_images_that_are_there_may_be_refused(bench: Workbench, ground: Ground) -> None:
    params = {"existing_images": "refuse"}
    first, second = imported(bench, ground, image(box()), image(box("thing")), params=params)
    assert document(first)["boxes"] == 1
    assert fault(second) == ("image_exists", "/file_name", False)
    (again,) = imported(bench, ground, image(name="a.png"), params=params)
    assert fault(again)[0] == "image_exists"


def test_images_and_labels_of_others_are_not_seen(bench: Workbench, ground: Ground) -> None:
    (theirs,) = imported(
        bench,
        ground,
        image(box("theirs")),
        params={"project_id": ground.foreign_project},
        tenant="other",
    )
    (ours,) = imported(bench, ground, image(box()))
    assert document(ours)["id"] != document(theirs)["id"]
    (result,) = imported(bench, ground, image(box("theirs"), name="b.png"))
    assert fault(result)[0] == "label_not_found"


def test_undo_takes_out_what_was_made_and_names_what_others_have_changed(
    bench: Workbench, ground: Ground
) -> None:
    imported(bench, ground, image(box()))
    imported(
        bench,
        ground,
        image(box("thing")),
        image(box(), name="b.png"),
        image(box(), name="c.png"),
        image(name="d.png"),
        job="job-2",
    )
    boxes = {each["image_id"]: key for key, each in bench.rows(tables.boxes).items()}
    images = {each["file_name"]: key for key, each in bench.rows(tables.images).items()}
    bench.make(
        "annotations.update_boxes",
        [{"id": boxes[images["b.png"]], "bbox": [1, 1, 2, 2]}],
        job="job-3",
    )
    bench.make(
        "annotations.create_boxes",
        [{"image_id": images["d.png"], "label": "thing", "bbox": [1, 1, 2, 2]}],
        params={"project_id": ground.project},
        job="job-4",
    )
    results = bench.undo(-3)
    edited, marked = results[1], results[3]
    assert isinstance(edited, Conflicted)
    assert (edited.record, edited.by) == (f"boxes/{boxes[images['b.png']]}", "job-3")
    assert isinstance(marked, Conflicted)
    assert (marked.record, marked.by) == (f"images/{images['d.png']}", "job-4")
    assert results[0] == results[2] == Restored()
    left = {each["file_name"] for each in bench.rows(tables.images).values()}
    assert left == {"a.png", "b.png", "d.png"}
    assert [each["label_id"] for each in bench.rows(tables.boxes).values()] == [
        ground.person,
        ground.person,
        ground.thing,
    ]


def test_polygons_of_an_image_that_is_there_are_in_memory_a_few_at_a_time(
    bench: Workbench, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_importing, "LONG_POLYGON", 800)
    monkeypatch.setattr(image_importing, "LONG_AT_ONCE", 2)

    def outlined(corners: int) -> dict[str, Any]:
        outline = [[10, 20], [40, 20], *([40, 60 - at / 1000] for at in range(corners))]
        return box(bbox=[10, 20, 30, 40], polygons=[outline])

    boxes = [outlined(corners) for corners in (90, 1, 91, 2, 92, 93, 3, 94)]
    imported(bench, ground, image(*boxes))
    held: list[list[int]] = []
    found = SqlRecords.find

    def noted(self: SqlRecords, table: Any, *where: Any, **options: Any) -> Any:
        rows = found(self, table, *where, **options)
        if table is tables.boxes:
            held.append([len(row.get("polygon") or "") for row in rows])
        return rows

    monkeypatch.setattr(SqlRecords, "find", noted)
    (skipped,) = imported(bench, ground, image(*boxes))
    assert isinstance(skipped, Skipped)
    assert max(map(sum, held)) < 3 * 1_500
    assert all(length <= 800 for some in held if len(some) > 2 for length in some)
    assert sum(map(len, filter(any, held))) == len(boxes)


def test_a_chunk_asks_a_few_times_whatever_its_size(
    bench: Workbench, ground: Ground, database: Database
) -> None:
    few = _statements(bench, ground, database, 2)
    assert _statements(bench, ground, database, 40) == few


def _statements(bench: Workbench, ground: Ground, database: Database, count: int) -> int:
    """How many statements a chunk takes of which half of the images are there already."""
    names = [f"{count}-{number}.png" for number in range(count)]
    imported(bench, ground, *(image(box(), name=name) for name in names[::2]))
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        seen.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        imported(bench, ground, *(image(box(), box("thing"), name=name) for name in names))
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
    return len(seen)


class Stale:
    """Records whose first look at images is from before another import has made them."""

    def __init__(self, records: SqlRecords) -> None:
        self._records = records
        self._looked = False

    def find(self, table: Any, *where: Any, **options: Any) -> Any:
        if table is tables.images and not self._looked:
            self._looked = True
            return []
        return self._records.find(table, *where, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._records, name)


def test_images_that_another_import_makes_meanwhile_are_given_the_boxes(
    bench: Workbench, ground: Ground, database: Database
) -> None:
    imported(bench, ground, image(box()))
    items = [image(box(), box("thing")), image(box(), name="b.png")]
    parsed = [ImportedImage.model_validate(item) for item in items]
    with database.engine.begin() as connection:
        records = SqlRecords(connection, Writer("local", "bert", "job-2"), NOW.timestamp())
        context = Context(
            job_id="job-2",
            tenant="local",
            actor="bert",
            params=ImageImport(project_id=ground.project),
            chunk=0,
            attempt=1,
            positions=range(2),
            deadline=60.0,
            clock=FixedClock(),
            records=cast("Records", Stale(records)),
        )
        results = import_images.apply(context, parsed)
    assert [document(each)["boxes"] for each in results] == [1, 1]
    assert [each["file_name"] for each in bench.rows(tables.images).values()] == ["a.png", "b.png"]
