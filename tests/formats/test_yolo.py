"""YOLO archives as real tools write them, broken ones, and the way from COCO and back."""

from __future__ import annotations

import io
import json
import random
import stat
import struct
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings

from domain.systems.annotations.formats import coco
from domain.systems.annotations.formats.contract import FileRefused, WriteOptions
from domain.systems.annotations.formats.documents import (
    Box,
    ImageDocument,
    Rejected,
    TextDocument,
)
from domain.systems.annotations.formats.yolo import FORMAT, write
from tests.formats.images import (
    LABELS,
    OPTIONS,
    assert_kept_or_named,
    codes,
    good_and_bad,
    near,
    only,
    packed,
    peak_while,
    place,
    rejects_file,
    several_images,
    with_boxes,
    written,
)


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">LL", width, height) + bytes(13)


def jpeg(width: int, height: int, orientation: int | None = None, before: int = 0) -> bytes:
    head = b"\xff\xd8"
    if orientation is not None:
        exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + struct.pack(
            ">HHLHH", 0x0112, 3, 1, orientation, 0
        )
        exif += bytes(4)
        head += b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    for _ in range(before):
        head += b"\xff\xe2" + struct.pack(">H", 60_002) + random.Random(7).randbytes(60_000)
    return head + b"\xff\xc0\0\x11\x08" + struct.pack(">HH", height, width) + bytes(20)


IMAGES = {
    "a.png": png(200, 100),
    "b.jpg": jpeg(200, 100),
    "c.gif": b"GIF89a" + struct.pack("<HH", 200, 100) + bytes(20),
    "d.webp": b"RIFF\x20\0\0\0WEBPVP8 " + bytes(10) + struct.pack("<HH", 200, 100) + bytes(20),
    "e.bmp": b"BM" + bytes(12) + struct.pack("<Lll", 40, 200, -100) + bytes(20),
    "f.jpeg": jpeg(200, 100, before=5),
    "g.jpg": jpeg(100, 200, orientation=6),
}
YAML = b"path: ../datasets/x\ntrain: /etc/passwd\nval: http://127.0.0.1/val\nnames: [cat, dog]\n"
SIZE = b'{"file_name": "a.jpg", "width": 200, "height": 100}\n'


MANY = b" ".join(b"0.%d" % (n * n) for n in range(300_001))


def archive(rows: bytes, **more: bytes) -> bytes:
    """One image of 200 by 100 whose rows are given."""
    files = {"data.yaml": YAML, "labels/a.txt": rows, "images.jsonl": SIZE}
    return packed(files | {name.replace("__", "/"): data for name, data in more.items()})


def boxes(rows: bytes) -> tuple[Box, ...]:
    (image,) = only(FORMAT, archive(rows))
    assert (image.file_name, image.width, image.height) == ("a.jpg", 200, 100)
    return image.boxes


# What real files have


def test_boxes_and_polygons_in_one_file() -> None:
    box, polygon, corners = boxes(
        b"1 0.5 0.5 0.25 0.5\n0 0.1 0.1 0.2 0.1 0.2 0.3\n1 .1 .1 .2 .1 .2 .3 .1 .3\n"
    )

    assert (box.label, place(box), box.polygons) == ("dog", (75, 25, 50, 50), ())
    assert polygon.label == "cat"
    assert near(polygon.polygons, (((20, 10), (40, 10), (40, 30)),))
    assert near(place(polygon), (20, 10, 20, 20))
    assert len(corners.polygons[0]) == 4


def test_a_bad_row_does_not_drop_the_image() -> None:
    rows = b"0 0.5 0.5 0.1 0.1\n0 0.5 0.5\n\n7 0.5 0.5 0.1 0.1\n1 0.2 0.2 0.1 0.1\n"

    good, bad = good_and_bad(FORMAT, archive(rows))

    assert [box.label for box in good[0].boxes] == ["cat", "dog"]
    assert [(one.file, one.line, one.code, one.raw) for one in bad] == [
        ("labels/a.txt", 2, "row_width", b"0 0.5 0.5"),
        ("labels/a.txt", 4, "unknown_class", b"7 0.5 0.5 0.1 0.1"),
    ]


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (b"0 0.5 0.5 0.1", "row_width"),
        (b"0 0.5 0.5 0.1 0.1 0.93", "row_width"),
        (b"0 0.1 0.1 0.2 0.1 0.2 0.3 0.93", "row_width"),
        (b"cat 0.5 0.5 0.1 0.1", "class"),
        (b"-1 0.5 0.5 0.1 0.1", "class"),
        (b"0.5 0.5 0.5 0.1 0.1", "class"),
        (b"2 0.5 0.5 0.1 0.1", "unknown_class"),
        (b"0 100 50 20 10", "not_normalised"),
        (b"0 0.5 0.5 -0.1 0.1", "not_normalised"),
        (b"0 0.5 0.5 nan 0.1", "not_a_number"),
        (b"0 0.5 inf 0.1 0.1", "not_a_number"),
        (b"0 0.5 0.5 Infinity 0.1", "not_a_number"),
        (b"0 0.5 0.5 1e999 0.1", "not_normalised"),
        (b"0 0_5 0.5 0.1 0.1", "not_a_number"),
        ("0 \u0660.\u0665 0.5 0.1 0.1".encode(), "not_a_number"),
        (b"0 0,5 0.5 0.1 0.1", "not_a_number"),
        (b"0 0.5 0.5 0 0.1", "empty_box"),
        (b"0 0.1 0.1 0.2 0.1 0.3 0.1", "empty_box"),
        (b"0 1.009 0.5 0.001 0.1", "box_outside_image"),
        (b"0 \xff\xfe 0.5 0.1 0.1", "not_a_number"),
        pytest.param(b"0 " + MANY, "row_width", id="long"),
    ],
)
def test_a_row_at_fault_is_named(row: bytes, code: str) -> None:
    good, bad = good_and_bad(FORMAT, archive(b"1 0.5 0.5 0.1 0.1\n" + row))

    assert len(good[0].boxes) == 1
    assert [(one.line, one.code, one.raw) for one in bad] == [(2, code, row)]
    assert "; " in bad[0].message


def test_a_box_that_reaches_beyond_is_cut_and_what_it_was_is_kept() -> None:
    (box,) = boxes(b"0 0.9 0.5 0.4 0.5\n")

    assert near(place(box), (140, 25, 60, 50))
    assert near(tuple(box.metadata["unclipped"]), (140, 25, 80, 50))


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_lines_end_as_they_like_and_classes_may_have_a_point(end: bytes) -> None:
    rows = end.join([b"\xef\xbb\xbf0 0.5 0.5 0.1 0.1", b"1.0\t0.2 0.2  1e-1 +.1 "])

    assert [box.label for box in boxes(rows)] == ["cat", "dog"]
    assert len(boxes("0 0.5 0.5 0.1 0.1\n".encode("utf-16"))) == 1


@pytest.mark.parametrize("image", IMAGES)
def test_sizes_are_in_the_images(image: str) -> None:
    stem = image.split(".", maxsplit=1)[0]
    files = {
        "data.yaml": YAML,
        f"images/train/{image}": IMAGES[image],
        f"labels/train/{stem}.txt": b"0 0.5 0.5 0.5 0.5\n",
    }

    (read,) = only(FORMAT, packed(files))

    assert (read.file_name, read.width, read.height) == (f"train/{image}", 200, 100)
    assert place(read.boxes[0]) == (50, 25, 100, 50)


@pytest.mark.parametrize(
    ("image", "labels"),
    [
        ("x/images/train/a.png", "x/labels/train/a.txt"),
        ("train/images/a.png", "train/labels/a.txt"),
        ("a.png", "a.txt"),
        ("obj_train_data/a.png", "obj_train_data/a.txt"),
        ("images/a.png", "images/a.txt"),
        ("images/a.PNG", "labels/a.TXT"),
    ],
)
def test_layouts_of_other_tools(image: str, labels: str) -> None:
    files = {"classes.txt": b"cat\ndog\n", image: png(200, 100), labels: b"1 0.5 0.5 0.5 0.5\n"}

    (read,) = only(FORMAT, packed(files))

    assert [box.label for box in read.boxes] == ["dog"]


def test_images_without_rows_are_images_and_files_without_rows_too() -> None:
    files = {
        "data.yaml": YAML,
        "images/a.png": png(10, 10),
        "images/b.png": png(20, 20),
        "labels/b.txt": b"",
        "images.jsonl": b'{"file_name": "c.png", "width": 30, "height": 30}\n',
    }

    read = only(FORMAT, packed(files))

    assert sorted((image.file_name, image.width, image.boxes) for image in read) == [
        ("a.png", 10, ()),
        ("b.png", 20, ()),
        ("c.png", 30, ()),
    ]


def test_files_among_the_labels_that_are_none() -> None:
    more = {
        "labels__classes.txt": b"0 0.5 0.5 0.1 0.1\n",
        "labels__README.txt": b"Thank you for downloading\n",
        "labels__notes.txt": b"0 are cats\nask Ada about 1\n",
        "labels__train.cache": b"\x80\x04pickled",
        "labels__.DS_Store": b"\0\0\0\1Bud1",
        "train.txt": b"./images/a.jpg\n/etc/passwd\n",
        "requirements.txt": b"ultralytics\n",
    }

    good, bad = good_and_bad(FORMAT, archive(b"0 0.5 0.5 0.1 0.1\n", **more))

    assert [image.file_name for image in good] == ["a.jpg"]
    assert [(one.file, one.code) for one in bad] == [("labels/notes.txt", "not_labels")]


def test_an_image_of_unknown_size_is_reported_with_what_to_add() -> None:
    files = {
        "data.yaml": YAML,
        "labels/a.txt": b"0 0.5 0.5 0.1 0.1\n",
        "labels/b.txt": b"",
        "images/b.png": b"\x89PNG\r\n",
        "images/c.png": b"no image",
    }

    good, bad = good_and_bad(FORMAT, packed(files))

    assert good == []
    assert sorted((one.file or "", one.code) for one in bad) == [
        ("images/c.png", "no_image_size"),
        ("labels/a.txt", "no_image_size"),
        ("labels/b.txt", "no_image_size"),
    ]
    assert '"labels": "labels/a.txt"' in bad[0].message


def test_two_images_that_would_have_the_same_labels() -> None:
    more = {"images__a.png": png(200, 100), "images__a.gif": IMAGES["c.gif"]}

    good, bad = good_and_bad(FORMAT, archive(b"0 0.5 0.5 0.1 0.1\n", **more))

    assert len(good) == 1
    assert [(one.file, one.code) for one in bad] == [("images/a.gif", "same_labels")]


def test_images_of_two_folders_with_one_name_are_never_made_one() -> None:
    files = {
        "data.yaml": YAML,
        "train/images/1.png": png(64, 48),
        "train/labels/1.txt": b"0 0.5 0.5 0.1 0.1\n",
        "valid/images/1.png": png(200, 100),
        "valid/labels/1.txt": b"1 0.5 0.5 0.1 0.1\n",
        "test/images/1.png": png(200, 100),
    }

    good, bad = good_and_bad(FORMAT, packed(files))

    assert [(image.file_name, image.width, len(image.boxes)) for image in good] == [
        ("1.png", 64, 1)
    ]
    assert [(one.file, one.code) for one in bad] == [
        ("valid/labels/1.txt", "same_name"),
        ("test/images/1.png", "same_name"),
    ]
    with zipfile.ZipFile(io.BytesIO(rejects_file(FORMAT, packed(files)))) as opened:
        corrected = {name: opened.read(name) for name in opened.namelist()}
    renamed = corrected["images.jsonl"].replace(b'"1.png"', b'"valid/1.png"')
    (mended,) = only(FORMAT, packed(corrected | {"images.jsonl": renamed}))
    assert (mended.file_name, mended.width, len(mended.boxes)) == ("valid/1.png", 200, 1)


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        ("train/images/1.png", "valid/images/1.png", "valid/1.png"),
        ("train/images/1.png", "images/1.png", "labels/1.png"),
        ("1.png", "a/b/images/1.png", "a/b/1.png"),
    ],
)
def test_rejects_that_nobody_corrects_are_of_an_image_of_their_own(
    first: str, second: str, name: str
) -> None:
    files = {"data.yaml": YAML, first: png(64, 48), second: png(64, 48)}
    for image, row in ((first, b"0 0.5 0.5 0.1 0.1\n"), (second, b"1 0.5 0.5 0.1 0.1\n")):
        files[image.replace("images/", "labels/").replace(".png", ".txt")] = row

    (image,) = only(FORMAT, rejects_file(FORMAT, packed(files)))

    assert (image.file_name, [box.label for box in image.boxes]) == (name, ["dog"])


def test_two_files_in_one_folder_whose_lines_have_one_name_are_two_images() -> None:
    line = b'{"file_name": "1.png", "width": 9, "height": 9, "labels": "labels/%d.txt"}\n'
    row = b"0 0.5 0.5 0.1 0.1\n"
    sizes = line % 1 + line % 2
    files = {"data.yaml": YAML, "labels/1.txt": row, "labels/2.txt": row, "images.jsonl": sizes}

    again = only(FORMAT, rejects_file(FORMAT, packed(files)))

    assert [image.file_name for image in again] == ["2.png"]


def test_a_line_that_says_where_its_labels_are_goes_before_one_that_does_not() -> None:
    other = SIZE.replace(b"a.jpg", b"b.jpg").replace(b"}", b', "labels": "labels/a.txt"}')
    row = b"0 0.5 0.5 0.1 0.1\n"
    files = {"data.yaml": YAML, "labels/a.txt": row, "images.jsonl": SIZE + other}

    good, bad = good_and_bad(FORMAT, packed(files))

    assert [(image.file_name, len(image.boxes)) for image in good] == [("b.jpg", 1)]
    assert [(one.file, one.line, one.code) for one in bad] == [("images.jsonl", 1, "same_labels")]
    left = {"x/labels/a.txt": b"1 0.5 0.5 0.1 0.1\n"}
    both = {image.file_name: image.boxes[0].label for image in only(FORMAT, packed(files | left))}
    assert both == {"b.jpg": "cat", "a.jpg": "dog"}


def test_many_lines_of_one_name_are_read_in_time() -> None:
    lines = (b'{"file_name": "%d/a.jpg", "width": 9, "height": 9}\n' % n for n in range(8_000))
    files = {"data.yaml": YAML, "set/images.jsonl": b"".join(lines)}
    files |= {f"rows/labels/{n}/a.txt": b"0 0.5 0.5 0.1 0.1\n" for n in range(8_000)}

    began = time.process_time()
    read = only(FORMAT, packed(files))

    assert time.process_time() - began < 5
    assert [(image.file_name, len(image.boxes)) for image in read] == [
        (f"{n}/a.jpg", 1) for n in range(8_000)
    ]


def test_a_line_of_sizes_with_the_labels_of_another_is_rejected_and_comes_back() -> None:
    second = SIZE.replace(b"a.jpg", b"a.png")
    files = {"data.yaml": YAML, "labels/a.txt": b"", "images.jsonl": SIZE + second}

    good, bad = good_and_bad(FORMAT, packed(files))

    assert [image.file_name for image in good] == ["a.jpg"]
    assert [(one.file, one.line, one.code, one.raw) for one in bad] == [
        ("images.jsonl", 2, "same_labels", second.strip())
    ]
    assert [image.file_name for image in only(FORMAT, rejects_file(FORMAT, packed(files)))] == [
        "a.png"
    ]


def test_a_line_of_sizes_may_be_alone_with_a_mark_and_no_line_end() -> None:
    line = b"\xef\xbb\xbf" + SIZE.strip()
    (image,) = only(FORMAT, packed({"data.yaml": YAML, "images.jsonl": line}))
    assert (image.file_name, image.width) == ("a.jpg", 200)


@pytest.mark.parametrize(
    ("image", "rows"),
    [
        ("a.png", "a.txt"),
        ("a.png", None),
        (None, "a.txt"),
        ("train/images/a.png", "train/labels/a.txt"),
        ("images/a.png", None),
        ("obj_train_data/a.png", "obj_train_data/a.txt"),
        ("images/a.png", "images/a.txt"),
        (None, "x/labels/a.txt"),
    ],
)
def test_a_line_of_sizes_is_of_the_image_wherever_that_is(
    image: str | None, rows: str | None
) -> None:
    files = {
        "data.yaml": YAML,
        "images.jsonl": b'{"file_name": "a.png", "width": 30, "height": 40, "key": "k"}\n',
        **({} if image is None else {image: png(30, 40)}),
        **({} if rows is None else {rows: b"0 0.5 0.5 0.1 0.1\n"}),
    }

    (read,) = only(FORMAT, packed(files))

    assert (read.file_name, read.width, read.key) == ("a.png", 30, "k")
    assert len(read.boxes) == (rows is not None)


# The names of classes


@pytest.mark.parametrize(
    ("listing", "expected"),
    [
        (b"names: [no, 07]", ["no", "07"]),
        (b"nc: 2\nnames:\n  0: yes\n  1: 'null'", ["yes", "null"]),
        (b"names:\n- 1.0\n- '0x10'\n", ["1.0", "0x10"]),
        ("names: [été, 🚲]".encode("utf-16"), ["été", "🚲"]),
        (b"names: {1: second, 0: first}\n", ["first", "second"]),
    ],
)
def test_names_are_the_text_that_they_are(listing: bytes, expected: list[str]) -> None:
    rows = b"0 0.5 0.5 0.1 0.1\n1 0.5 0.5 0.1 0.1\n"
    files = {"labels/a.txt": rows, "images.jsonl": SIZE}

    (image,) = only(FORMAT, packed({**files, "data.yaml": listing, "classes.txt": b"x\ny\n"}))

    assert [box.label for box in image.boxes] == expected


def test_paths_in_the_listing_are_never_followed() -> None:
    listing = (
        b"path: /\ntrain: ../../../etc\nval: file:///etc/passwd\ndownload: |\n"
        b"  import os; os.system('false')\nx: !!python/object/apply:os.abort []\nnames: [cat]\n"
    )
    files = {"labels/a.txt": b"0 0.5 0.5 0.1 0.1\n", "images.jsonl": SIZE, "data.yaml": listing}

    assert [image.file_name for image in only(FORMAT, packed(files))] == ["a.jpg"]


@pytest.mark.parametrize(
    "listing",
    [
        b"a: &a [x,x]\nb: &b [*a,*a,*a,*a]\nc: [*b,*b,*b]\nnames: *b\n",
        pytest.param(b"names: " + b"[" * 5_000 + b"]" * 5_000, id="deep"),
        b"names: [a, b\n",
        b"names: {a: b}\n",
        b"names: 7\n",
        b"names: [[a], b]\n",
        b"? [a]\n: b\n",
        b"\xff\xff\xff",
        pytest.param(b"names: {" + b"a: 1, " * 300_000 + b"}", id="long"),
        b"train: images\n",
        b"- a\n",
        b"",
    ],
)
def test_a_listing_that_names_nothing_or_asks_for_more_is_refused(listing: bytes) -> None:
    files = {"labels/a.txt": b"0 0.5 0.5 0.1 0.1\n", "images.jsonl": SIZE, "data.yaml": listing}

    with pytest.raises(FileRefused):
        good_and_bad(FORMAT, packed(files))


# Bad input


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"0 0.5 0.5 0.1 0.1\n",
        packed({}),
        packed({"readme.md": b"x"}),
        packed({"labels/a.txt": b"0 0.5 0.5 0.1 0.1\n", "images.jsonl": SIZE}),
        packed({"../labels/a.txt": b"", "data.yaml": YAML}),
        packed({"labels/a.txt": bytes(1_000_000), "data.yaml": YAML}),
    ],
    ids=range(7),
)
def test_what_is_no_data_set_is_refused(data: bytes) -> None:
    with pytest.raises(FileRefused):
        good_and_bad(FORMAT, data)


def test_a_link_among_the_labels_is_refused() -> None:
    stream = io.BytesIO(archive(b""))
    with zipfile.ZipFile(stream, "a") as opened:
        info = zipfile.ZipInfo("labels/b.txt")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened.writestr(info, "/etc/passwd")

    with pytest.raises(FileRefused, match="link"):
        good_and_bad(FORMAT, stream.getvalue())


def test_a_damaged_file_of_rows_costs_its_image() -> None:
    rows = b"0 0.123456 0.5 0.1 0.1\n" * 3
    data = archive(rows, labels__b__c=b"")
    sidecar = SIZE + b'{"file_name": "b.jpg", "width": 9, "height": 9}\n'
    files = {"data.yaml": YAML, "labels/a.txt": rows, "labels/b.txt": b"", "images.jsonl": sidecar}
    data = packed(files, zipfile.ZIP_STORED)

    good, bad = good_and_bad(FORMAT, data.replace(b"0.123456", b"0.654321", 1))

    assert [(one.file, one.code, one.raw) for one in bad] == [("labels/a.txt", "damaged", b"")]
    assert "b.jpg" in [image.file_name for image in good]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b'{"file_name": "../a.jpg", "width": 9, "height": 9}', "file_name"),
        (b'{"file_name": "a.jpg", "width": null, "height": 9}', "not_a_number"),
        (b'{"file_name": "a.jpg", "width": NaN, "height": 9}', "not_json"),
        (b'{"file_name": "a.jpg", "width": 1e9, "height": 9}', "image_size"),
        (b"[]", "not_an_object"),
        (b"\xff", "not_json"),
        (b'{"file_name": "a.jpg", "width": 9, "height": 9, "labels": "\\ud83d"}', "labels"),
        (b'{"file_name": "a.jpg", "width": 9, "height": 9, "labels": "\\u0000"}', "labels"),
    ],
)
def test_a_broken_line_of_sizes_is_reported(line: bytes, code: str) -> None:
    files = {"data.yaml": YAML, "labels/x.txt": b"", "images.jsonl": SIZE + b"\n" + line}

    _, bad = good_and_bad(FORMAT, packed(files))

    assert [(one.file, one.line, one.code) for one in bad] == [
        ("images.jsonl", 3, code),
        ("labels/x.txt", 1, "no_image_size"),
    ]


# Rejects


def test_the_rejects_file_can_be_corrected_and_read_again() -> None:
    files = {
        "data.yaml": b"names: {0: cat, 5: dog}\n",
        "images/a.png": png(200, 100),
        "labels/a.txt": b"0 0.5 0.5 0.1 0.1\n5 0.5 x 0.2 0.2\n9 0.5 0.5 0.3 0.3\n",
        "labels/b.txt": b"0 0.5 0.5 0.1 0.1\n",
        "labels/c.txt": b"0 0.5 0.5 0.1 0.1\n",
        "images.jsonl": b'{"file_name": "c.jpg", "width": null, "height": 9}\n',
    }
    data = packed(files)

    rejected = rejects_file(FORMAT, data)
    good, bad = good_and_bad(FORMAT, rejected)
    assert [(image.file_name, image.boxes) for image in good] == [("a.png", ())]
    assert len(bad) == len(good_and_bad(FORMAT, data)[1]) == 5

    with zipfile.ZipFile(io.BytesIO(rejected)) as opened:
        corrected = {name: opened.read(name) for name in opened.namelist()}
    corrected["labels/a.txt"] = corrected["labels/a.txt"].replace(b"x", b"0.5").replace(b"9", b"0")
    corrected["images.jsonl"] = corrected["images.jsonl"].replace(b"null", b"9")
    corrected["images/b.png"] = png(50, 50)
    mended = only(FORMAT, packed(corrected))
    assert {image.file_name: [box.label for box in image.boxes] for image in mended} == {
        "a.png": ["dog", "cat"],
        "b.png": ["cat"],
        "c.jpg": ["cat"],
    }


@pytest.mark.parametrize("field", [b'"key": "\\ud83d"', b'"metadata": {"a": "\\ud83d"}'])
def test_half_a_character_beside_a_row_at_fault_comes_back_as_it_was(field: bytes) -> None:
    size = b'{"file_name": "a.jpg", "width": 9, "height": 9, %s}\n' % field
    files = {"data.yaml": YAML, "labels/a.txt": b"x\n", "images.jsonl": size}

    again, bad = good_and_bad(FORMAT, rejects_file(FORMAT, packed(files)))

    assert again == good_and_bad(FORMAT, packed(files))[0]
    assert [one.code for one in bad] == ["row_width"]


# Writing


def test_what_is_written() -> None:
    image = ImageDocument("street/a.jpg", 200, 100, (Box(50, 25, 100, 50, "no"),), "7", {"k": 1})

    with zipfile.ZipFile(io.BytesIO(written(FORMAT, [image]))) as opened:
        files = {name: opened.read(name).decode() for name in opened.namelist()}

    assert files == {
        "labels/street/a.txt": "2 0.5 0.5 0.5 0.5\n",
        "images.jsonl": '{"file_name": "street/a.jpg", "width": 200, "height": 100,'
        ' "labels": "labels/street/a.txt", "key": "7", "metadata": {"k": 1}}\n',
        "classes.txt": "\n".join(LABELS) + "\n",
        "data.yaml": "train: images\nval: images\nnames:\n  0: person\n  1: traffic light\n"
        "  2: 'no'\n  3: été 🚲\n  4: '07'\n",
    }


def test_a_file_has_rectangles_or_outlines_and_never_both() -> None:
    outline = ((20.0, 10.0), (40.0, 10.0), (40.0, 30.0))
    image = ImageDocument(
        "a.jpg", 200, 100, (Box(20, 10, 20, 20, "no", polygons=(outline,)), Box(0, 0, 20, 10, "no"))
    )

    def columns(scheme: str | None) -> list[int]:
        data = b"".join(write([image], WriteOptions(scheme=scheme)))
        with zipfile.ZipFile(io.BytesIO(data)) as opened:
            return [len(row.split()) for row in opened.read("labels/a.txt").splitlines()]

    assert columns(None) == [7, 9]
    assert columns("polygons") == [7, 9]
    assert columns("boxes") == [5, 5]
    assert codes(FORMAT, image) == {"box_outline"}
    assert codes(FORMAT, replace(image, boxes=image.boxes[:1])) == set()


def test_several_outlines_become_one_that_covers_the_same() -> None:
    outlines = (((0, 0), (10, 0), (10, 10)), ((50, 50), (60, 50), (60, 60)))
    box = Box(0, 0, 60, 60, "no", polygons=outlines)
    image = ImageDocument("a.jpg", 100, 100, (box,))

    (read,) = only(FORMAT, written(FORMAT, [image]))

    points = read.boxes[0].polygons[0]
    assert {point for outline in outlines for point in outline} == set(points)
    from domain.systems.annotations.formats.boxes import area

    assert area(points) == pytest.approx(100)
    assert codes(FORMAT, image) == {"box_outline"}


def test_what_has_no_place_is_left_out_and_named() -> None:
    image = ImageDocument("a.jpg", 100, 100)
    for box, code in [
        (Box(0, 0, 5, 5, "no", crowd=True), "box"),
        (Box(200, 0, 5, 5, "no"), "box"),
        (Box(float("nan"), 0, 5, 5, "no"), "box"),
        (Box(0, 0, float("inf"), 5, "no", 0.5), "box_confidence"),
        (Box(0, 0, 5, 5, "no", 0.5), "box_confidence"),
        (Box(0, 0, 5, 5, "no", metadata={"k": 1}), "box_metadata"),
        (Box(-5, 0, 10, 5, "no"), "box_place"),
    ]:
        assert code in codes(FORMAT, with_boxes(image, box))
        good, bad = good_and_bad(FORMAT, written(FORMAT, [with_boxes(image, box)]))
        assert (len(good), bad) == (1, [])
    assert codes(FORMAT, TextDocument("words")) == {"document"}
    assert codes(FORMAT, replace(image, metadata={"k": float("nan")})) == {"document"}
    for document in (TextDocument("words"), replace(image, metadata={"k": float("nan")})):
        with pytest.raises(FileRefused):
            written(FORMAT, [document])


@pytest.mark.parametrize(
    "names",
    [
        ("a.jpg", "a.png"),
        ("a/b.jpg", "a\\b.jpg"),
        (".hidden.jpg", "_hidden.png"),
        ("classes.jpg", "train.jpg"),
        ("images/a.jpg", "a.jpg"),
        ("con:*.jpg", "con__.jpg"),
        ("中" * 400 + ".jpg", "中" * 400 + ".png"),
        ("labels/a.jpg", "x.zip"),
        ("a..b.jpg", "no suffix"),
        ("x/images/a.jpg", "x/labels/a.jpg"),
        ("x/Images/a.jpg", "x/labels/a.png"),
        ("labels/a.jpg", "images/labels/a.png"),
    ],
)
def test_names_that_would_meet_are_kept_apart(names: tuple[str, str]) -> None:
    images = [
        ImageDocument(name, 100, 100, (Box(n, n, 10, 10, LABELS[n]),))
        for n, name in enumerate(names)
    ]

    read = only(FORMAT, written(FORMAT, images))

    assert [image.file_name for image in read] == list(names)
    assert [image.boxes[0].label for image in read] == list(LABELS[:2])


def test_rows_that_pack_too_well_for_an_archive_come_back() -> None:
    image = ImageDocument("a.jpg", 100, 100, (Box(10, 20, 30, 40, "person"),) * 9_000)
    (again,) = only(FORMAT, written(FORMAT, [image]))
    assert len(again.boxes) == 9_000


def test_an_archive_of_nothing_is_one() -> None:
    assert only(FORMAT, written(FORMAT, [])) == []


AT_THE_EDGE = ImageDocument("a.jpg", 177, 1, (Box(176.99999999999997, 0, 2.8e-14, 1, LABELS[0]),))
"""Its box is smaller, as a part of the image, than what a number tells from 1."""


def test_a_box_that_no_reader_would_find_is_not_written_and_named() -> None:
    assert codes(FORMAT, AT_THE_EDGE) == {"box"}
    (read,), bad = good_and_bad(FORMAT, written(FORMAT, [AT_THE_EDGE]))
    assert (read.boxes, bad) == ((), [])


@given(several_images)
@example([AT_THE_EDGE])
@settings(max_examples=60, deadline=None)
def test_whatever_is_written_comes_back_or_was_named_before(images: list[ImageDocument]) -> None:
    good, bad = good_and_bad(FORMAT, written(FORMAT, images))
    back = {image.file_name: image for image in good}

    assert not [one for one in bad if one.code not in ("unknown_class", "no_label")]
    for image in images:
        assert_kept_or_named(image, back.get(image.file_name), codes(FORMAT, image))


@given(several_images)
@example([AT_THE_EDGE])
@settings(max_examples=40, deadline=None)
def test_from_coco_and_back_within_a_millionth(images: list[ImageDocument]) -> None:
    plain = [
        with_boxes(
            image, *(replace(box, polygons=(), crowd=False, metadata={}) for box in image.boxes)
        )
        for image in images
    ]
    first, _ = good_and_bad(coco.FORMAT, written(coco.FORMAT, plain))

    through, _ = good_and_bad(FORMAT, written(FORMAT, first))
    back, _ = good_and_bad(coco.FORMAT, written(coco.FORMAT, through))

    assert [image.file_name for image in back] == [image.file_name for image in first]
    for before, after in zip(first, back, strict=True):
        written_ones = [
            box for box in before.boxes if "box" not in codes(FORMAT, with_boxes(before, box))
        ]
        for old, new in zip(written_ones, after.boxes, strict=True):
            assert old.label == new.label
            assert max(abs(a - b) for a, b in zip(place(old), place(new), strict=True)) <= 1e-6


def test_memory_stays_flat_over_a_large_archive() -> None:
    def documents(count: int) -> Iterator[ImageDocument]:
        for number in range(count):
            boxes = (Box(n, n, 9.5, 9.5, f"class {n}") for n in range(10))
            yield ImageDocument(f"{number}.jpg", 640, 480, tuple(boxes), metadata={"n": number})

    def through(count: int) -> int:
        stream = io.BytesIO(b"".join(write(documents(count), WriteOptions())))

        def counted() -> None:
            found = FORMAT.read(stream, OPTIONS)
            assert sum(1 for one in found if not isinstance(one, Rejected)) == count

        return peak_while(counted)

    # The list of members is all that is held.
    assert through(600) - through(200) < 400 * 2_500


def test_likeness() -> None:
    one = written(FORMAT, [ImageDocument("a.jpg", 9, 9)])
    assert FORMAT.likeness(one, "x.zip") > 0.9
    assert FORMAT.likeness(packed({"data.yaml": YAML}), "x.zip") == 0.8
    assert FORMAT.likeness(packed({"a.xml": b"<annotation/>"}), "x.zip") == 0.1
    assert FORMAT.likeness(json.dumps({"images": []}).encode(), "labels.zip") == 0


def test_a_hundred_thousand_rows_in_a_file_end_in_time() -> None:
    data: Any = packed(
        {
            "data.yaml": YAML,
            "images.jsonl": SIZE,
            "labels/a.txt": b"".join(b"0 0.5 0.5 0.1 0.%05d\n" % n for n in range(1, 60_000)),
        }
    )

    good, bad = good_and_bad(FORMAT, data)

    assert len(good[0].boxes) == 50_000
    assert {one.code for one in bad} == {"too_many_boxes"}
