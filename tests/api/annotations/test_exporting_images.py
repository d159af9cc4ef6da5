"""Exporting images: boxes come out as COCO and YOLO have them, classes in the order of labels."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import pytest

from domain.systems.annotations.export_terms import written
from domain.systems.annotations.formats.contract import ReadOptions, WriteOptions
from domain.systems.annotations.formats.documents import Box, ImageDocument
from tests.api.annotations.place import Place, by
from tests.api.annotations.test_exporting import EXPORT, fetched, report, start
from tests.api.annotations.test_importing import ended

TRIANGLE = [[10.0, 10.0], [20.0, 10.0], [10.0, 20.0]]
OTHER = [[12.0, 10.0], [20.0, 10.0], [12.0, 20.0]]


@pytest.fixture
async def full(place: Place) -> Place:
    """The project with a second image, and three boxes on the two."""
    await place.ask("PATCH", f"{place.path}/labels/1", {"order": 9})
    fields = {"width": 100, "height": 80, "metadata": {"_file": {"key": "7"}, "day": "monday"}}
    await place.add("images", file_name="b/2.png", **fields)
    of_file = {"polygons": [OTHER], "crowd": True}
    await place.add("boxes", image_id=2, label="PERSON", bbox=[10, 10, 10, 10], polygon=TRIANGLE)
    await place.add("boxes", image_id=2, label="PLACE", bbox=[0, 0, 50.5, 40], confidence_score=0.5)
    await place.add("boxes", image_id=1, label="PERSON", bbox=[10, 10, 10, 10], polygon=TRIANGLE,
                    metadata={"_file": of_file, "n": 1})  # fmt: skip
    return place


def images(form: str, data: bytes) -> list[Any]:
    return list(written(form).read(io.BytesIO(data), ReadOptions()))


def points(outline: list[list[float]]) -> tuple[tuple[float, float], ...]:
    return tuple((x, y) for x, y in outline)


def _codes(form: str, image: ImageDocument) -> list[str]:
    """What the format drops of an image."""
    losses = written(form).losses
    assert losses is not None
    return [loss.code for loss in losses(image, WriteOptions(labels=["PLACE", "PERSON"]))]


def _member(data: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        (found,) = [each for each in archive.namelist() if each.endswith(name)]
        return archive.read(found)


EXPECTED = [
    ImageDocument("a.png", 640, 480, (
        Box(10, 10, 10, 10, "PERSON", None, (points(TRIANGLE), points(OTHER)), True, {"n": 1}),
    )),
    ImageDocument("b/2.png", 100, 80, (
        Box(10, 10, 10, 10, "PERSON", None, (points(TRIANGLE),)),
        Box(0, 0, 50.5, 40, "PLACE", 0.5),
    ), "7", {"day": "monday"}),
]  # fmt: skip


async def test_coco_has_all_of_it_but_what_is_named(full: Place) -> None:
    operation = await start(full, "coco", chunk_size=1)
    assert operation["type"] == "annotations.export_images"
    assert (await ended(full, operation))["succeeded"] == 2
    data, headers = await fetched(full, operation)
    assert headers["Content-Type"] == "application/json"
    found = images("coco", data)
    assert [(each.file_name, each.width, each.metadata) for each in found] == [
        (each.file_name, each.width, each.metadata) for each in EXPECTED
    ]
    assert [[box.label for box in each.boxes] for each in found] == [
        ["PERSON"],
        ["PERSON", "PLACE"],
    ]
    told = await report(full, operation)
    assert (told["documents"], told["annotations"]) == (2, 3)
    expected = [set(_codes("coco", each)) for each in EXPECTED]
    assert {each["code"]: each["documents"] for each in told["losses"]} == {
        code: sum(code in codes for codes in expected) for code in set().union(*expected)
    }


async def test_yolo_numbers_classes_by_the_order_of_labels(full: Place) -> None:
    operation = await start(full, "yolo", dry_run=True)
    await ended(full, operation)
    lost = {each["code"] for each in (await report(full, operation))["losses"]}
    assert lost == {code for each in EXPECTED for code in _codes("yolo", each)}
    operation = await start(full, "yolo", filters={"image_ids": [2]}, scheme="boxes")
    await ended(full, operation)
    data, headers = await fetched(full, operation)
    assert headers["Content-Disposition"].startswith('attachment; filename="letters-2.zip"')
    (image,) = images("yolo", data)
    assert (image.file_name, [box.label for box in image.boxes]) == ("b/2.png", ["PERSON", "PLACE"])
    # PLACE comes first in the project by now.
    assert _member(data, "classes.txt").split() == [b"PLACE", b"PERSON"]


async def test_filters_are_of_boxes_and_images(full: Place) -> None:
    operation = await start(full, "coco", filters={"confidence_min": 0.3}, empty_texts=False)
    await ended(full, operation)
    (image,) = images("coco", (await fetched(full, operation))[0])
    assert [box.label for box in image.boxes] == ["PLACE"]
    for fields, pointer in (
        ({"filters": {"text_ids": [1]}}, "/filters/text_ids"),
        ({"filters": {"validity": "valid"}}, "/filters/validity"),
        ({"scheme": "bio"}, "/scheme"),
        ({"field_mapping": {"a": "b"}}, "/field_mapping"),
        ({"format": "csv", "filters": {"image_id": 1}}, "/filters/image_id"),
    ):
        body = {"project_id": full.number, "format": "yolo"} | fields
        assert (await full.ask("POST", EXPORT, body, status=422))["pointer"] == pointer
    refused = await start(full, "coco", status=403, who=by("annotator"))
    assert refused["code"] == "role_lacking"
    job = {"operation": "annotations.export_images"}
    job |= {"params": {"project_id": full.number, "format": "csv"}, "items": [{"id": 1}]}
    refused = await full.ask("POST", "/api/v1/jobs", job, status=422)
    assert "holds texts" in refused["detail"]
