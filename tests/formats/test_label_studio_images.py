"""Label Studio's JSON of images: what its exports hold, and what comes back of ours."""

from __future__ import annotations

import io
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings

from domain.systems.annotations.formats.contract import FileRefused, ReadOptions
from domain.systems.annotations.formats.documents import Box, ImageDocument
from domain.systems.annotations.formats.label_studio_images import FORMAT, name_of
from domain.systems.annotations.formats.mapping import parsed_mapping
from tests.formats import data
from tests.formats.images import (
    assert_kept_or_named,
    codes,
    good_and_bad,
    near,
    only,
    place,
    rejects_file,
    several_images,
    written,
)

SIZE = {"original_width": 200, "original_height": 100}


def rectangle(*labels: str, x: float = 10, kind: str = "rectanglelabels", **more: Any) -> Any:
    value = {"x": x, "y": 20, "width": 30, "height": 40, "rotation": 0, kind: list(labels)}
    value |= more.pop("value", {})
    return {"from_name": "label", "type": kind, "value": value, **SIZE, **more}


def polygon(*points: Any, label: str = "dog") -> Any:
    value = {"points": list(points), "closed": True, "polygonlabels": [label]}
    return {"type": "polygonlabels", "value": value, **SIZE}


def task(*results: Any, image: str = "a.jpg", **more: Any) -> Any:
    return {"id": 7, "data": {"image": image}, "annotations": [{"result": list(results)}], **more}


def file(*tasks: Any) -> bytes:
    return json.dumps(tasks, indent=2).encode()


def one(*tasks: Any, options: ReadOptions | None = None) -> ImageDocument:
    (image,) = only(FORMAT, file(*tasks), options or ReadOptions())
    return image


def test_rectangles_and_polygons_are_in_percent() -> None:
    image = one(task(rectangle("dog", score=0.5), polygon([0, 0], [50, 0], [50, 50])))
    assert (image.file_name, image.width, image.height, image.key) == ("a.jpg", 200, 100, "7")
    box, outlined = image.boxes
    assert (place(box), box.label, box.confidence) == ((20, 20, 60, 40), "dog", 0.5)
    assert (box.polygons, outlined.polygons) == ((), (((0, 0), (100, 0), (100, 50)),))
    assert place(outlined) == (0, 0, 100, 50)


def test_a_turned_rectangle_is_what_is_around_it() -> None:
    (box,) = one(task(rectangle("dog", value={"x": 50, "rotation": 90}))).boxes
    # Clockwise about its upper left corner, which is at 100, 20.
    assert near(place(box), (60, 20, 40, 60))
    assert near(box.polygons, (((100, 20), (100, 80), (60, 80), (60, 20)),))
    assert box.metadata == {"rotation": 90}


def test_labels_that_are_a_result_of_their_own() -> None:
    shape = rectangle(kind="rectangle", id="x")
    del shape["value"]["rectangle"]
    image = one(task(shape, rectangle("a", "b", kind="labels", id="x")))
    assert [box.label for box in image.boxes] == ["a", "b"]
    assert image.metadata == {}


@pytest.mark.parametrize("identity", [{"a": 1}, [1], None, 7])
def test_an_id_may_be_anything(identity: Any) -> None:
    shape = rectangle(kind="rectangle", id=identity)
    del shape["value"]["rectangle"]
    labelled = rectangle("a", kind="labels", id=identity)
    assert [box.label for box in one(task(labelled)).boxes] == ["a"]
    assert [box.label for box in one(task(shape, labelled)).boxes] == ["a"]
    other = shape | {"id": "x"}
    _, (bad,) = good_and_bad(FORMAT, file(task(other, labelled)))
    assert bad.code == "no_label"


def test_annotators_who_agree_and_predictions_that_nobody_needs() -> None:
    twice = task(rectangle("dog"))
    twice["annotations"] += [
        {"result": [rectangle("dog"), rectangle("cat", x=1)]},
        {"result": [rectangle("fox")], "was_cancelled": True},
    ]
    twice["predictions"] = [{"result": [rectangle("cow")], "score": 0.9}]
    assert [box.label for box in one(twice).boxes] == ["dog", "cat"]
    guessed = {"data": {"image": "a.jpg"}, "predictions": twice["predictions"]}
    assert [(box.label, box.confidence) for box in one(guessed).boxes] == [("cow", 0.9)]


def test_many_annotators_of_one_task_are_read_in_time() -> None:
    crowd = task()
    crowd["annotations"] = [
        {"result": [rectangle("dog", x=round(at / 100, 2))]} for at in range(4_000)
    ]
    began = time.process_time()
    assert len(one(crowd).boxes) == 4_000
    assert time.process_time() - began < 5


def test_what_is_no_region_is_kept_and_the_data_too() -> None:
    choice = {"type": "choices", "value": {"choices": ["street"]}}
    image = one(task(rectangle("dog"), choice) | {"data": {"image": "a.jpg", "city": "Oslo"}})
    assert image.metadata == {"city": "Oslo", "results": [choice]}


def test_json_min() -> None:
    region = rectangle("dog")["value"] | SIZE
    least = {"image": "/data/upload/3/ab12-a.jpg", "id": 4, "label": [region], "annotator": 1}
    image = one(least)
    assert (image.file_name, image.key, image.width) == ("ab12-a.jpg", "4", 200)
    assert image.metadata == {"image": "/data/upload/3/ab12-a.jpg"}
    assert [place(box) for box in image.boxes] == [(20, 20, 60, 40)]


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("street/1.jpg", "street/1.jpg"),
        ("/data/upload/12/0f3a-x.png", "0f3a-x.png"),
        ("/data/local-files/?d=set/a%20b.png", "set/a b.png"),
        ("s3://bucket/street/1.jpg", "bucket/street/1.jpg"),
        ("https://host/1.jpg?X-Amz-Signature=1", "host/1.jpg"),
        ("https://host/image?id=1", "host/image?id=1"),
    ],
)
def test_an_address_tells_the_name(address: str, name: str) -> None:
    assert name_of(address) == name
    image = one(task(rectangle("dog"), image=address))
    assert image.file_name == name
    assert json.loads(written(FORMAT, [image]))[0]["data"]["image"] == address
    assert only(FORMAT, written(FORMAT, [image])) == [image]


@pytest.mark.parametrize(
    ("region", "code"),
    [
        (rectangle(), "no_label"),
        (rectangle(" "), "no_label"),
        (rectangle("dog", x=101), "box_outside_image"),
        (rectangle("dog", value={"width": 0}), "empty_box"),
        (rectangle("dog", value={"width": "3"}), "not_a_number"),
        (rectangle("dog", score=2), "score"),
        (polygon([0, 0], [1, 1]), "polygon"),
        (polygon([0, 0], [1, 1], [2]), "polygon"),
        (rectangle("dog", meta={"text": ["\ud83d"]}), "not_text"),
        ({"type": "brushlabels", "value": {"rle": [1], "brushlabels": ["dog"]}, **SIZE}, "no_box"),
        ({"type": "ellipselabels", "value": {"x": 1, "y": 1, "radiusX": 2}, **SIZE}, "no_box"),
    ],
)
def test_a_region_at_fault_costs_itself_and_comes_back_alone(region: Any, code: str) -> None:
    found = file(task(rectangle("cat"), region))
    (image,), (bad,) = good_and_bad(FORMAT, found)
    assert ([box.label for box in image.boxes], bad.code) == (["cat"], code)
    (again,) = json.loads(rejects_file(FORMAT, found))
    assert again["data"] == {"image": "a.jpg"}
    again["annotations"][0]["result"] = [rectangle("mended")]
    mended = one(again)
    assert (mended.file_name, [box.label for box in mended.boxes]) == ("a.jpg", ["mended"])


@pytest.mark.parametrize("note", ["\ud83d", "é \N{ROSE} 中"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_what_its_file_cannot_hold_comes_back_as_escapes(encoding: str, note: str) -> None:
    bad = task(rectangle("cat"), rectangle("dog", score=2))
    bad["data"]["note"] = note
    found = file(bad).decode().encode(encoding)
    options = ReadOptions(encoding=encoding)
    (image,), (rejected,) = good_and_bad(FORMAT, found, options)
    assert (len(image.boxes), rejected.code) == (1, "score")
    (again,) = json.loads(rejects_file(FORMAT, found, options).decode(encoding))
    assert again["data"] == {"image": "a.jpg", "note": note}


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (task(), "image_size"),
        (task(rectangle("dog"), rectangle("cat") | {"original_width": 5}), "image_size"),
        (task(rectangle("dog", original_width="wide")), "not_a_number"),
        (task(rectangle("dog"), image="../a.jpg"), "file_name"),
        (task(rectangle("dog"), image="/etc/passwd"), "file_name"),
        (task(rectangle("dog")) | {"data": {"x": 1}}, "file_name"),
        (task() | {"annotations": 5}, "not_a_list"),
        (task(rectangle("dog"), meta={"key": "\ud83d"}), "not_text"),
        ("text", "not_a_document"),
    ],
)
def test_a_task_at_fault_is_rejected_whole(bad: Any, code: str) -> None:
    good, (rejected,) = good_and_bad(FORMAT, file(task(rectangle("dog")), bad))
    assert (len(good), rejected.code) == (1, code)
    assert json.loads(rejects_file(FORMAT, file(bad))) == [bad]


def test_a_mapped_key_wins_over_the_id_and_the_key_in_meta() -> None:
    given = task(rectangle("dog"), meta={"key": "theirs"})
    given["data"]["ref"] = 9
    read = one(given, options=ReadOptions(mapping=parsed_mapping({"key": "ref"})))
    assert (read.key, read.metadata) == ("9", {})
    renamed = one(given, options=ReadOptions(columns={"key": "ref"}))
    assert (renamed.key, renamed.metadata) == ("9", {})


def test_a_region_of_json_min_comes_back_with_the_fields_of_its_file() -> None:
    regions = [rectangle("dog")["value"] | SIZE, rectangle(" ")["value"] | SIZE]
    least = {"pic": "a.jpg", "id": 4, "ref": "x-9", "label": regions}
    options = ReadOptions(mapping=parsed_mapping({"key": "ref", "file_name": "pic"}))

    again = rejects_file(FORMAT, file(least), options)

    (image,), _ = good_and_bad(FORMAT, again, options)
    assert (image.file_name, image.key, image.boxes) == ("a.jpg", "x-9", ())


def test_what_names_and_measures_an_image_can_be_mapped() -> None:
    mapping = parsed_mapping({"file_name": "pic", "width": "w", "height": {"constant": 30}})
    bare = {"id": 1, "data": {"pic": "b.jpg", "w": 40}, "annotations": [{"result": []}]}
    image = one(bare, options=ReadOptions(mapping=mapping))
    assert (image.file_name, image.width, image.height, image.boxes) == ("b.jpg", 40, 30, ())


def test_what_is_dropped_is_named() -> None:
    square = ((0.0, 0.0), (8.0, 0.0), (8.0, 8.0))
    boxes = (
        Box(0, 0, 8, 8, "a", crowd=True),
        Box(0, 0, 8, 8, "a", polygons=(square, square)),
        Box(0, 0, 9, 9, "a", polygons=(square,)),
    )
    expected = [{"box_crowd"}, {"box_outline"}, {"box_place"}]
    assert [codes(FORMAT, ImageDocument("a.jpg", 64, 64, (box,))) for box in boxes] == expected


@given(several_images)
@settings(data.STEADY, max_examples=60)
def test_whatever_is_written_comes_back_or_was_named_before(images: list[ImageDocument]) -> None:
    lost = [codes(FORMAT, image) for image in images]
    kept = [image for image, named in zip(images, lost, strict=True) if "document" not in named]
    good, bad = good_and_bad(FORMAT, written(FORMAT, images))
    found = {image.file_name: image for image in good}
    assert len(found) == len(kept)
    for image, named in zip(images, lost, strict=True):
        assert_kept_or_named(image, found.get(image.file_name), named)
    assert len(bad) == 0 or any("box" in named for named in lost)


def test_what_is_no_list_of_tasks_is_refused() -> None:
    for content in (b"", b"text", b"\x00\x01"):
        with pytest.raises(FileRefused):
            list(FORMAT.read(io.BytesIO(content), ReadOptions()))
