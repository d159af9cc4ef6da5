"""COCO data sets as real tools write them, broken ones, and what pycocotools sees in ours."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from domain.systems.annotations.formats.box_losses import differences
from domain.systems.annotations.formats.coco import FORMAT, write
from domain.systems.annotations.formats.contract import (
    Bounds,
    FileRefused,
    ReadOptions,
    WriteOptions,
)
from domain.systems.annotations.formats.documents import Box, ImageDocument, TextDocument
from tests.formats.images import (
    LABELS,
    OPTIONS,
    Streamed,
    annotation,
    assert_kept_or_named,
    coco,
    codes,
    good_and_bad,
    near,
    only,
    peak_while,
    place,
    rejects_file,
    several_images,
    with_boxes,
    without,
    written,
)

IMAGE = ImageDocument("a.jpg", 100, 80, key="1")


def one_box(**fields: Any) -> Box:
    (image,) = only(FORMAT, coco(annotations=[annotation(**fields)]))
    (box,) = image.boxes
    return box


def refused(**fields: Any) -> str:
    """The code for which an annotation is rejected; its image is read all the same."""
    good, bad = good_and_bad(FORMAT, coco(annotations=[annotation(**fields)]))
    assert [image.boxes for image in good] == [()]
    (one,) = bad
    assert (one.file, one.line) == ("annotations", 1)
    assert json.loads(one.raw) == annotation(**fields)
    assert "; " in one.message
    return one.code


# What real files have


def test_a_category_0_that_nothing_uses_and_gaps_in_the_ids() -> None:
    categories = [
        {"id": 0, "name": "things", "supercategory": "none"},
        {"id": 90, "name": "dog"},
        {"id": 7, "name": "cat"},
    ]
    images = [
        {"id": 900, "file_name": "b.jpg", "width": 10, "height": 10},
        {"id": 4, "file_name": "a.jpg", "width": 10, "height": 10},
    ]
    found = [
        {"id": 50, "image_id": 4, "category_id": 90, "bbox": [0, 0, 5, 5]},
        {"id": 3, "image_id": 900, "category_id": 7, "bbox": [1, 1, 5, 5]},
        {"id": 99, "image_id": 4, "category_id": 0, "bbox": [2, 2, 5, 5]},
    ]

    read = only(FORMAT, coco(images, found, categories))

    assert [(image.key, [box.label for box in image.boxes]) for image in read] == [
        ("900", ["cat"]),
        ("4", ["dog", "things"]),
    ]


@pytest.mark.parametrize(
    "order", [("annotations", "images", "categories"), ("categories", "annotations", "images")]
)
def test_the_lists_in_any_order_and_others_among_them(order: tuple[str, ...]) -> None:
    whole = json.loads(coco(annotations=[annotation()], info={"year": 2017}, licenses=[{"id": 1}]))
    shuffled = {name: whole[name] for name in (*order, "info", "licenses")}

    assert only(FORMAT, json.dumps(shuffled).encode()) == only(FORMAT, json.dumps(whole).encode())


def test_decimals_are_kept() -> None:
    box = one_box(bbox=[0.25, 1.5, 30.333333333333332, 40.0], area=1213.3333333333333)

    assert place(box) == (0.25, 1.5, 30.333333333333332, 40.0)
    assert box.metadata == {}


def test_a_box_beyond_its_image_is_cut_and_what_the_file_had_is_kept() -> None:
    box = one_box(bbox=[-5, 70, 50, 30.5])

    assert place(box) == (0, 70, 45, 10)
    assert box.metadata == {"unclipped": [-5, 70, 50, 30.5]}
    assert place(one_box(bbox=[0, 0, 100.0000001, 80])) == (0, 0, 100.0000001, 80)


@pytest.mark.parametrize("bbox", [[100, 0, 5, 5], [-9, 0, 5, 5], [0, 80.5, 5, 5]])
def test_a_box_outside_of_its_image_is_rejected(bbox: list[float]) -> None:
    assert refused(bbox=bbox) == "box_outside_image"


@pytest.mark.parametrize("bbox", [[1, 1, 0, 5], [1, 1, 5, 0], [50, 50, -5, 5]])
def test_a_box_without_an_area_is_rejected(bbox: list[float]) -> None:
    assert refused(bbox=bbox) == "empty_box"


def test_a_crowd_with_a_mask_unpacked_and_packed() -> None:
    mask = {"size": [80, 100], "counts": [80 * 10 + 5, 20, 60, 20, 7095]}
    packed = {"size": [80, 100], "counts": "U93MWLdn6"}
    from pycocotools import mask as reference

    made = reference.frPyObjects(mask, 80, 100)
    packed["counts"] = made["counts"].decode()

    for segmentation in (mask, packed):
        box = one_box(segmentation=segmentation, iscrowd=1, area=40)
        assert box.crowd
        assert box.metadata == {"rle": segmentation}
        without_bbox = one_box(segmentation=segmentation, iscrowd=1, bbox=None)
        assert place(without_bbox) == tuple(reference.toBbox(made)) == (10, 5, 2, 20)
        back = json.loads(written(FORMAT, [with_boxes(IMAGE, without_bbox)]))["annotations"][0]
        assert back["area"] == reference.area(made) == 40
        assert (back["segmentation"], back["iscrowd"]) == (segmentation, 1)


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [80, 100], "counts": [8_001]},
        {"size": [100, 80], "counts": [8_000]},
        {"size": [80, 100], "counts": [8_005, -5]},
        {"size": [80, 100], "counts": [7_999.5, 0.5]},
        {"size": [80, 100], "counts": "\x7f\x7f"},
        {"size": [80, 100], "counts": "o" * 100},
        {"size": [80, 100], "counts": "U9o"},
        {"counts": [8_000]},
    ],
)
def test_a_mask_that_does_not_fit_its_image_is_rejected(segmentation: Any) -> None:
    assert refused(segmentation=segmentation, iscrowd=1) == "rle"


def test_packed_masks_are_measured_as_the_reference_does() -> None:
    import numpy
    from pycocotools import mask as reference

    random = numpy.random.default_rng(7)
    for width, height in [(1, 1), (7, 3), (40, 60), (300, 200)]:
        pixels = (random.random((height, width)) > 0.7).astype("uint8", order="F")
        pixels[0, 0] = 1
        made = reference.encode(pixels)
        image = {"id": 1, "file_name": "a.jpg", "width": width, "height": height}
        mask = {"size": [height, width], "counts": made["counts"].decode()}
        data = coco([image], [annotation(bbox=None, segmentation=mask)])
        (read,) = only(FORMAT, data)
        assert place(read.boxes[0]) == tuple(reference.toBbox(made))
        (back,) = json.loads(written(FORMAT, [read]))["annotations"]
        assert back["area"] == reference.area(made)


def test_iscrowd_may_be_missing_and_is_0_or_1_otherwise() -> None:
    assert one_box().crowd is False
    assert one_box(iscrowd=None).crowd is False
    assert one_box(iscrowd=1).crowd is True
    assert refused(iscrowd=2) == "iscrowd"
    assert refused(iscrowd="yes") == "iscrowd"


def test_ids_that_were_given_twice() -> None:
    images = [
        {"id": 1, "file_name": "a.jpg", "width": 100, "height": 80},
        {"id": 1, "file_name": "b.jpg", "width": 100, "height": 80},
    ]
    categories = [
        {"id": 1, "name": "person"},
        {"id": 1, "name": "person"},
        {"id": 1, "name": "dog"},
    ]
    found = [annotation(), annotation(bbox=[1, 1, 2, 2]), annotation(id=2)]

    good, bad = good_and_bad(FORMAT, coco(images, found, categories))

    assert [(image.file_name, len(image.boxes)) for image in good] == [("a.jpg", 2)]
    assert [(one.code, one.file, one.line) for one in bad] == [
        ("duplicate_id", "images", 2),
        ("duplicate_id", "annotations", 2),
        ("duplicate_id", "categories", 3),
    ]


def test_annotations_need_no_id_and_ids_may_be_text() -> None:
    found = [without(annotation(), "id"), without(annotation(image_id="1"), "id")]

    (image,) = only(FORMAT, coco(annotations=found))

    assert len(image.boxes) == 2


def test_what_nothing_refers_to_and_what_refers_to_nothing() -> None:
    found = [annotation(image_id=9), annotation(id=2, category_id=9), annotation(id=3)]

    good, bad = good_and_bad(FORMAT, coco(annotations=found))

    assert len(good[0].boxes) == 1
    assert [(one.code, one.line) for one in bad] == [("unknown_category", 2), ("unknown_image", 1)]


def test_polygons_with_and_without_a_box() -> None:
    polygons = [[10, 10, 20, 10, 20, 30], [40.5, 40, 50, 40, 50, 50, 40.5, 50]]

    box = one_box(segmentation=polygons, bbox=None)

    assert box.polygons == (
        ((10, 10), (20, 10), (20, 30)),
        ((40.5, 40), (50, 40), (50, 50), (40.5, 50)),
    )
    assert place(box) == (10, 10, 40, 40)
    assert one_box(segmentation=polygons, area=100 + 95).metadata == {}
    assert one_box(segmentation=polygons, area=200).metadata == {"area": 200}


@pytest.mark.parametrize("polygon", [[1, 2, 3, 4], [1, 2, 3, 4, 5, 6, 7], [1, 2, "3", 4, 5, 6]])
def test_a_broken_polygon_is_rejected(polygon: list[Any]) -> None:
    assert refused(segmentation=[polygon]) in ("polygon", "not_a_number")


def test_fields_that_others_add_are_metadata_and_come_back() -> None:
    image = {
        "id": 1,
        "file_name": "a.jpg",
        "width": 100,
        "height": 80,
        "coco_url": "x",
        "license": 3,
    }
    data = coco([image], [annotation(attributes={"occluded": True}, num_keypoints=0, score=0.5)])

    read = only(FORMAT, data)
    assert read[0].metadata == {"coco_url": "x", "license": 3}
    assert read[0].boxes[0].metadata == {"attributes": {"occluded": True}, "num_keypoints": 0}
    assert read[0].boxes[0].confidence == 0.5
    assert only(FORMAT, written(FORMAT, read)) == read


# Bad input


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ({"bbox": [1, 2, 3]}, "bbox"),
        ({"bbox": {"x": 1}}, "bbox"),
        ({"bbox": None}, "bbox"),
        ({"bbox": ["1", 2, 3, 4]}, "not_a_number"),
        ({"bbox": [True, 2, 3, 4]}, "not_a_number"),
        ({"bbox": [1e300, 2, 3, 4]}, "not_a_number"),
        ({"category_id": None}, "no_id"),
        ({"category_id": 1.5}, "no_id"),
        ({"image_id": None}, "no_id"),
        ({"id": []}, "no_id"),
        ({"id": "\ud83d"}, "no_id"),
        ({"image_id": "\ud83d"}, "no_id"),
        ({"category_id": "\ud83d"}, "no_id"),
        ({"category_id": "\0"}, "no_id"),
        ({"area": "large"}, "not_a_number"),
        ({"score": 2}, "score"),
        ({"score": "0.5"}, "score"),
        ({"segmentation": "x"}, "polygon"),
    ],
)
def test_a_wrong_type_under_a_right_name_is_rejected(bad: dict[str, Any], code: str) -> None:
    assert refused(**bad) == code


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ({"file_name": "../../etc/passwd"}, "file_name"),
        ({"file_name": "/etc/passwd"}, "file_name"),
        ({"file_name": "C:\\a.jpg"}, "file_name"),
        ({"file_name": "https://x.example/a.jpg"}, "file_name"),
        ({"file_name": "a\r\nb.jpg"}, "file_name"),
        ({"file_name": "x" * 4096}, "file_name"),
        ({"file_name": 7}, "file_name"),
        ({"width": 0}, "image_size"),
        ({"width": 10.5}, "image_size"),
        ({"width": None}, "not_a_number"),
        ({"height": "80"}, "not_a_number"),
        ({"height": 10**12}, "image_size"),
        ({"id": None}, "no_id"),
        ({"id": "\ud83d"}, "no_id"),
    ],
)
def test_a_broken_image_is_rejected_and_its_annotations_with_it(
    bad: dict[str, Any], code: str
) -> None:
    good_one = {"id": 2, "file_name": "b.jpg", "width": 10, "height": 10}
    bad_one = {"id": 1, "file_name": "a.jpg", "width": 100, "height": 80, **bad}

    good, rejected = good_and_bad(FORMAT, coco([bad_one, good_one], [annotation()]))

    assert [image.file_name for image in good] == ["b.jpg"]
    assert [(one.code, one.file) for one in rejected] == [
        (code, "images"),
        ("unknown_image", "annotations"),
    ]


@pytest.mark.parametrize("more", [{"key": "\ud83d"}, {"x": ["\ud83d"]}, {"\udfff": 1}])
def test_half_a_character_costs_its_element_and_comes_back(more: dict[str, Any]) -> None:
    fields = {"file_name": "a.jpg", "width": 100, "height": 80}
    images = [{"id": 1, **fields, **more}, {"id": 2, **fields, "file_name": "b.jpg"}]
    found = [annotation(id=1), annotation(id=2, image_id=2), annotation(id=3, image_id=2, **more)]
    data = coco(images, found)

    good, bad = good_and_bad(FORMAT, data)

    assert [(image.file_name, len(image.boxes)) for image in good] == [("b.jpg", 1)]
    assert {(one.code, one.file, one.line) for one in bad} == {
        ("not_text", "images", 1),
        ("unknown_image", "annotations", 1),
        ("not_text", "annotations", 3),
    }
    rejected = json.loads(rejects_file(FORMAT, data))
    assert (rejected["images"], rejected["annotations"]) == (images, [found[0], found[2]])


def test_half_a_character_for_an_id_costs_its_element_and_comes_back() -> None:
    images = [
        {"id": "\ud83d", "file_name": "a.jpg", "width": 100, "height": 80},
        {"id": 1, "file_name": "b.jpg", "width": 100, "height": 80},
    ]
    categories = [{"id": "\ude00", "name": "dog"}, {"id": 1, "name": "person"}]
    found = [annotation(), annotation(id=2, image_id="\ud83d"), annotation(id=3)]
    data = coco(images, found, categories)

    good, bad = good_and_bad(FORMAT, data)

    assert [(image.file_name, len(image.boxes)) for image in good] == [("b.jpg", 2)]
    assert {(one.code, one.file) for one in bad} == {
        ("no_id", section) for section in ("categories", "images", "annotations")
    }
    rejected = json.loads(rejects_file(FORMAT, data))
    assert rejected["images"] == images[:1]
    assert rejected["categories"] == categories
    assert rejected["annotations"] == found[1:2]


@pytest.mark.parametrize(
    ("number", "code"),
    [
        ("NaN", "not_json"),
        ("Infinity", "not_json"),
        ("-Infinity", "not_json"),
        ("1e999", "not_json"),
        ("1e300", "not_a_number"),
        ("10" * 500, "number_out_of_range"),
    ],
)
def test_numbers_without_bounds_are_rejected(number: str, code: str) -> None:
    data = coco(annotations=[annotation(), annotation(id=2, bbox=[1, 2, 3, 424242])])

    good, bad = good_and_bad(FORMAT, data.replace(b"424242", number.encode()))

    assert len(good[0].boxes) == 1
    assert [(one.line, one.code) for one in bad] == [(2, code)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b'[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]',
        b'{"images": {}, "annotations": [], "categories": []}',
        b'{"images": [], "annotations": {"a": 1}}',
        b'{"images": [], "annotations": null}',
        coco(annotations=[annotation()])[:-20],
        b"PK\x03\x04 something else",
    ],
)
def test_what_is_no_data_set_is_refused(data: bytes) -> None:
    with pytest.raises(FileRefused):
        good_and_bad(FORMAT, data)


def test_a_field_of_100_megabytes_is_rejected_and_never_held() -> None:
    def pieces() -> Iterator[bytes]:
        yield b'{"images": [{"id": 1, "file_name": "a.jpg", "width": 9, "height": 9}], '
        yield b'"annotations": '
        yield b'[{"id": 1, "note": "'
        yield from (b"x" * 1_000_000 for _ in range(100))
        yield b'"}], "categories": []}'

    found: list[Any] = []
    stream: Any = Streamed(pieces)
    peak = peak_while(lambda: found.extend(FORMAT.read(stream, OPTIONS)))

    assert [getattr(one, "code", "") for one in found] == ["too_long", ""]
    assert peak < 40_000_000


# Rejects


def test_the_boxes_of_one_image_are_held_up_to_a_bound() -> None:
    outline = [[n % 100 for n in range(2_000)]]
    boxes = [annotation(id=n, segmentation=outline) for n in range(400)]
    options = ReadOptions(bounds=Bounds(line=200_000))
    data = coco(annotations=boxes)

    good, bad = good_and_bad(FORMAT, data, options)

    assert len(good) == 1
    held = len(good[0].boxes)
    assert held == 200_000 // len(json.dumps(boxes[-1]))
    assert {(one.code, one.file) for one in bad} == {("too_large", "annotations")}
    assert [one.line for one in bad] == list(range(held + 1, len(boxes) + 1))
    assert json.loads(bad[0].raw) == boxes[held]
    peak = peak_while(lambda: good_and_bad(FORMAT, data, options))
    assert peak < len(data) * 2


def test_an_annotation_with_a_number_beyond_all_bounds_comes_back_with_its_image() -> None:
    data = coco(annotations=[annotation(), annotation(id=2, iou=2**64)])
    good, bad = good_and_bad(FORMAT, data)
    assert [len(image.boxes) for image in good] == [1]
    assert [(one.line, one.code) for one in bad] == [(2, "number_out_of_range")]
    (again,) = only(FORMAT, rejects_file(FORMAT, data).replace(b"18446744073709551616", b"1"))
    assert again.boxes[0].metadata == {"iou": 1}


def test_the_rejects_file_can_be_corrected_and_read_again() -> None:
    images = [
        {"id": 1, "file_name": "a.jpg", "width": 100, "height": 80},
        {"id": 2, "file_name": "b.jpg", "width": None, "height": 80},
        {"id": 3, "file_name": "c.jpg", "width": 100, "height": 80},
    ]
    found = [
        annotation(id=1),
        annotation(id=2, bbox=[1, 2, 3, "4"]),
        annotation(id=3, image_id=2),
        annotation(id=4, image_id=3),
        annotation(id=5, bbox=[1, 2, 3, 424242]),
    ]
    data = coco(images, found).replace(b"424242", b"NaN")

    rejected = rejects_file(FORMAT, data)
    again, bad = good_and_bad(FORMAT, rejected)
    assert [image.file_name for image in again] == ["a.jpg"]
    assert len(bad) == len(good_and_bad(FORMAT, data)[1]) == 4

    corrected = rejected.replace(b"NaN", b"4").replace(b'"4"', b"4").replace(b"null", b"100")
    mended = only(FORMAT, corrected)
    assert [(image.file_name, len(image.boxes)) for image in mended] == [("a.jpg", 2), ("b.jpg", 1)]
    assert only(FORMAT, rejects_file(FORMAT, coco())) == []


def test_the_rejects_of_a_file_in_a_said_encoding_are_read_with_the_same_form() -> None:
    named = [{"id": 1, "name": "café"}]
    data = json.dumps(
        json.loads(coco(None, [annotation(bbox="none")], named)), ensure_ascii=False
    ).encode("cp1252")
    options = ReadOptions(encoding="cp1252")

    corrected = rejects_file(FORMAT, data, options).replace(b'"none"', b"[1, 2, 3, 4]")

    assert [box.label for box in only(FORMAT, corrected, options)[0].boxes] == ["café"]


# Writing


def test_what_is_written_has_ids_from_1_and_the_categories_of_the_project() -> None:
    first = with_boxes(
        replace(IMAGE, key="500"),
        Box(1, 2, 30, 40, "no"),
        Box(5, 5, 10, 10, "new", polygons=(((5, 5), (15, 5), (15, 15)),)),
    )
    data = json.loads(written(FORMAT, [first, replace(IMAGE, file_name="b.jpg", key="2")]))

    assert [one["id"] for one in data["images"]] == [1, 2]
    assert data["categories"] == [
        {"id": place, "name": name} for place, name in enumerate((*LABELS, "new"), start=1)
    ]
    assert data["annotations"] == [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 3,
            "bbox": [1, 2, 30, 40],
            "area": 1200,
            "iscrowd": 0,
            "segmentation": [],
        },
        {
            "id": 2,
            "image_id": 1,
            "category_id": 6,
            "bbox": [5, 5, 10, 10],
            "area": 50,
            "iscrowd": 0,
            "segmentation": [[5, 5, 15, 5, 15, 15]],
        },
    ]


def test_nothing_that_is_no_number_is_written_and_no_text() -> None:
    assert codes(FORMAT, with_boxes(IMAGE, Box(float("nan"), 0, 5, 5, "x"))) == {"box"}
    assert codes(FORMAT, TextDocument("words")) == {"document"}
    for document in (with_boxes(IMAGE, Box(float("nan"), 0, 5, 5, "x")), TextDocument("words")):
        with pytest.raises(FileRefused):
            written(FORMAT, [document])


def test_a_data_set_of_nothing_is_one() -> None:
    assert only(FORMAT, written(FORMAT, [])) == []


@given(several_images)
@settings(max_examples=60, deadline=None)
def test_whatever_is_written_comes_back_or_was_named_before(images: list[ImageDocument]) -> None:
    good, _ = good_and_bad(FORMAT, written(FORMAT, images))
    back = {image.file_name: image for image in good}

    for image in images:
        assert_kept_or_named(image, back.get(image.file_name), codes(FORMAT, image))


def test_memory_stays_flat_over_a_large_data_set() -> None:
    images = 1_500

    def documents() -> Iterator[ImageDocument]:
        for number in range(images):
            boxes = (Box(n, n, 9.5, 9.5, f"class {n}", metadata={"n": n}) for n in range(6))
            yield ImageDocument(f"{number}.jpg", 640, 480, tuple(boxes))

    counted: list[int] = []

    def through() -> None:
        stream: Any = Streamed(lambda: write(documents(), WriteOptions()))
        read = (one for one in FORMAT.read(stream, OPTIONS))
        counted.append(sum(len(one.boxes) for one in read if isinstance(one, ImageDocument)))

    peak = peak_while(through)
    print(peak)
    assert peak < 3_000_000
    assert counted == [6 * images]


def test_likeness() -> None:
    assert FORMAT.likeness(coco(annotations=[annotation()]), "instances.json") == 1
    assert FORMAT.likeness(b"[" + coco(), "x.json") == 0
    assert FORMAT.likeness(b'{"text": "images"}\n', "x.jsonl") == 0
    assert FORMAT.likeness(b"", "coco.json") == 0


# The reference


def test_pycocotools_sees_the_same_and_finds_all_of_it(tmp_path: Path) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images = [
        ImageDocument(
            f"{number}.jpg",
            640,
            480,
            tuple(
                Box(
                    10.5 * n,
                    7.25 * number,
                    50 + n,
                    40,
                    LABELS[n % 3],
                    polygons=(((10.5 * n, 7.25 * number), (60, 60), (10.5 * n + 50, 90)),)
                    * (n % 2),
                )
                for n in range(number)
            ),
        )
        for number in range(1, 8)
    ]
    file = tmp_path / "instances.json"
    file.write_bytes(written(FORMAT, images))

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(file))
        results = [{**found, "score": 0.9} for found in truth.anns.values()]
        judged = COCOeval(truth, truth.loadRes(results), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()

    assert len(truth.imgs) == len(images)
    assert len(truth.anns) == sum(len(image.boxes) for image in images)
    assert [one["name"] for one in truth.loadCats(truth.getCatIds())] == list(LABELS)
    for number, image in enumerate(images, start=1):
        assert len(truth.getAnnIds(imgIds=[number])) == len(image.boxes)
    assert judged.stats[0] == pytest.approx(1.0)


def test_differences_names_what_is_off_by_more_than_arithmetic() -> None:
    box = Box(1, 1, 5, 5, "x")
    moved = replace(box, x=1.001)
    off = replace(box, x=1.0000000001)

    assert near(place(box), place(off))
    assert [one.code for one in differences(with_boxes(IMAGE, box), IMAGE, [moved])] == [
        "box_place"
    ]
    assert list(differences(with_boxes(IMAGE, box), IMAGE, [off])) == []
