"""Pascal VOC as real tools write it, and XML that is made to do harm."""

from __future__ import annotations

import io
import time
import zipfile
from dataclasses import replace

import pytest

from domain.systems.annotations.formats.contract import FileRefused, ReadOptions
from domain.systems.annotations.formats.documents import Box, ImageDocument
from domain.systems.annotations.formats.pascal_voc import FORMAT
from tests.formats.images import good_and_bad, only, packed, peak_while, place, rejects_file
from tests.formats.test_yolo import png

SIZE = "<size><width>200</width><height>100</height><depth>3</depth></size>"
CORNERS = "<bndbox><xmin>11</xmin><ymin>21</ymin><xmax>30</xmax><ymax>60</ymax></bndbox>"


def thing(inner: str = CORNERS, name: str = "dog") -> str:
    return f"<object><name>{name}</name>{inner}</object>"


def corners(*order: tuple[str, object]) -> str:
    return "<bndbox>" + "".join(f"<{tag}>{value}</{tag}>" for tag, value in order) + "</bndbox>"


def voc(*objects: str, size: str = SIZE, name: str = "<filename>a.jpg</filename>") -> bytes:
    return f"<annotation>\n{name}{size}\n{''.join(objects)}\n</annotation>\n".encode()


def one_box(data: bytes, options: ReadOptions | None = None) -> Box:
    (image,) = only(FORMAT, data, options or ReadOptions())
    assert (image.file_name, image.width, image.height) == ("a.jpg", 200, 100)
    (box,) = image.boxes
    return box


def refused(inner: str, name: str = "dog") -> str:
    good, bad = good_and_bad(FORMAT, voc(thing(), thing(inner, name)))
    assert [len(image.boxes) for image in good] == [1]
    (one,) = bad
    assert (one.line, one.file) == (3, None)
    assert one.raw == thing(inner, name).encode()
    return one.code


# What real files have


def test_corners_count_from_1_and_both_are_inside() -> None:
    assert place(one_box(voc(thing()))) == (10, 20, 20, 40)
    assert place(one_box(voc(thing()), ReadOptions(scheme="zero_based"))) == (11, 21, 19, 39)
    whole = corners(("xmin", 1), ("ymin", 1), ("xmax", 200), ("ymax", 100))
    box = one_box(voc(thing(whole)))
    assert (place(box), box.metadata) == ((0, 0, 200, 100), {})


def test_xmax_before_xmin_in_either_sense() -> None:
    first = corners(("xmax", 30), ("xmin", 11), ("ymax", 60), ("ymin", 21))
    reversed_ = corners(("xmin", 30), ("ymin", 60), ("xmax", 11), ("ymax", 21))

    assert place(one_box(voc(thing(first)))) == (10, 20, 20, 40)
    assert place(one_box(voc(thing(reversed_)))) == (10, 20, 20, 40)


def test_decimals_and_what_else_is_said_of_an_object() -> None:
    inner = (
        "<pose>Left</pose><truncated>1</truncated><difficult>0</difficult>"
        + corners(("xmin", "11.5"), ("ymin", "2.1e1"), ("xmax", "30.25"), ("ymax", 60))
        + "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax>"
        "<ymax>2</ymax></bndbox></part>"
    )

    box = one_box(voc(thing(inner)))

    assert place(box) == (10.5, 20, 19.75, 40)
    assert box.metadata == {"pose": "Left", "truncated": True, "difficult": False}


def test_a_box_that_reaches_beyond_is_cut_and_what_it_was_is_kept() -> None:
    box = one_box(voc(thing(corners(("xmin", 0), ("ymin", 1), ("xmax", 250), ("ymax", 10)))))

    assert place(box) == (0, 0, 200, 10)
    assert box.metadata == {"unclipped": [-1, 0, 251, 10]}


def test_polygons() -> None:
    polygon = "<polygon><x1>1</x1><y1>1</y1><x2>20</x2><y2>1</y2><x3>20</x3><y3>11</y3></polygon>"

    assert one_box(voc(thing(CORNERS + polygon))).polygons == (((0, 0), (19, 0), (19, 10)),)
    assert one_box(voc(thing(CORNERS + "<polygon/>"))).polygons == ()
    assert refused(CORNERS + "<polygon><x1>1</x1></polygon>") == "polygon"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "iso-8859-1"])
def test_encodings(encoding: str) -> None:
    text = voc(thing(name="été & <b>".replace("&", "&amp;").replace("<", "&lt;"))).decode()
    declared = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>\n' + text

    box = one_box(declared.encode(encoding))

    assert box.label == "été & <b>"


def test_an_archive_with_images_and_other_files() -> None:
    data = packed(
        {
            "VOC/Annotations/a.xml": voc(thing(), size="<size><width>0</width></size>"),
            "VOC/Annotations/b.xml": voc(thing(), name=""),
            "VOC/Annotations/c.xml": voc(name="<filename>other.jpg</filename>"),
            "VOC/JPEGImages/a.png": png(200, 100),
            "VOC/JPEGImages/b.png": png(10, 10),
            "VOC/ImageSets/Main/train.txt": b"../../etc/passwd\n",
            "__MACOSX/VOC/Annotations/._a.xml": b"\0\5\x16\7",
        }
    )

    read = only(FORMAT, data)

    assert [(image.file_name, len(image.boxes), image.width) for image in read] == [
        ("a.jpg", 1, 200),
        ("b.png", 1, 200),
        ("other.jpg", 0, 200),
    ]


def test_an_image_is_that_beside_its_file_where_several_have_its_name() -> None:
    bare = {"size": "", "name": ""}
    data = packed(
        {
            "a/Annotations/1.xml": voc(thing(), **bare),
            "b/1.xml": voc(thing(), size="", name="<filename>b1.png</filename>"),
            "c/1.xml": voc(thing(), size="", name="<filename>c1.png</filename>"),
            "d/1.png": png(9, 9),
            "a/SegmentationClass/1.gif": b"",
            "a/JPEGImages/1.png": png(64, 48),
            "b/1.png": png(200, 100),
        }
    )

    good, bad = good_and_bad(FORMAT, data)

    assert [(image.file_name, image.width) for image in good] == [("1.png", 64), ("b1.png", 200)]
    assert [(one.file, one.code) for one in bad] == [("c/1.xml", "image_size")]


@pytest.mark.parametrize(
    ("size", "name", "images"),
    [
        ("", "", {"a/1.png": png(64, 48), "b/1.png": png(200, 100)}),
        (SIZE, "", {"a/1.png": png(200, 100), "b/1.png": png(200, 100)}),
        (SIZE, "<filename>1.png</filename>", {"a/1.png": b"", "b/1.png": b""}),
        (SIZE, "<filename>1.png</filename>", {}),
    ],
)
def test_a_file_of_another_image_of_the_same_name_is_rejected(
    size: str, name: str, images: dict[str, bytes]
) -> None:
    files = {
        "a/1.xml": voc(size=size, name=name),
        "b/1.xml": voc(thing(name="cat"), size=size, name=name),
        **images,
    }

    good, bad = good_and_bad(FORMAT, packed(files))

    assert [(image.file_name, image.boxes) for image in good] == [("1.png", ())]
    assert [(one.file, one.code, one.raw) for one in bad] == [
        ("b/1.xml", "same_name", files["b/1.xml"])
    ]


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        ("a/1.xml", "b/1.xml", "b/1.png"),
        ("a/Annotations/1.xml", "b/Annotations/1.xml", "b/1.png"),
        ("a/1.xml", "1.xml", "1/1.png"),
        ("1.xml", "Annotations/1.xml", "1/1.png"),
        ("a & b/1.xml", "<c> & d/1.xml", "<c> & d/1.png"),
    ],
)
@pytest.mark.parametrize("encoding", [None, "cp1252"])
def test_rejects_that_nobody_corrects_are_of_an_image_of_their_own(
    first: str, second: str, name: str, encoding: str | None
) -> None:
    named = "<filename>1.png</filename>"
    other = voc(thing(name="café"), name=named).decode().encode(encoding or "utf-8")
    archive = packed({first: voc(name=named), second: other})
    options = ReadOptions(encoding=encoding)

    (image,) = only(FORMAT, rejects_file(FORMAT, archive, options), options)

    assert (image.file_name, [box.label for box in image.boxes]) == (name, ["café"])


def test_rejects_without_a_name_are_named_as_the_image_beside_them_and_its_folder() -> None:
    archive = packed(
        {
            "a/1.xml": voc(name=""),
            "b/1.xml": voc(thing(), name=""),
            "a/1.png": png(200, 100),
            "b/1.png": png(200, 100),
        }
    )
    assert [image.file_name for image in only(FORMAT, rejects_file(FORMAT, archive))] == ["b/1.png"]


@pytest.mark.parametrize(
    ("file", "image"),
    [
        ("Annotations/{0}/frame.xml", "JPEGImages/{0}/frame.png"),
        ("{0}/frame.xml", "{0}/frame.png"),
        ("{0}/Annotations/frame.xml", "{0}/frame.png"),
        ("{0}/frame.xml", "{0}/images/frame.png"),
        ("{0}/frame.xml", "x{0}/frame.png"),
    ],
)
@pytest.mark.parametrize("name", ["", "<filename>frame.png</filename>"])
def test_many_images_of_one_name_are_found_in_time(file: str, image: str, name: str) -> None:
    files = {file.format(n): voc(size="", name=name) for n in range(600)}
    files |= {image.format(n): png(200, 100 + n) for n in range(600)}

    began = time.process_time()
    good, bad = good_and_bad(FORMAT, packed(files))

    assert time.process_time() - began < 5
    known = not image.startswith("x")
    assert (len(good), len(bad)) == ((1, 599) if known else (0, 600))
    assert {one.code for one in bad} == {
        "same_name" if known else "image_size" if name else "file_name"
    }


def test_several_files_of_one_image_add_their_boxes_to_it() -> None:
    files = {"ada/1.xml": voc(thing()), "ben/1.xml": voc(thing()), "images/a.jpg": png(200, 100)}
    assert [image.file_name for image in only(FORMAT, packed(files))] == ["a.jpg", "a.jpg"]


# Bad input


@pytest.mark.parametrize(
    ("inner", "code"),
    [
        ("", "bbox"),
        ("<bndbox/>", "not_a_number"),
        (CORNERS.replace("11", "NaN"), "not_a_number"),
        (CORNERS.replace("11", "inf"), "not_a_number"),
        (CORNERS.replace("11", "1e99"), "not_a_number"),
        (CORNERS.replace("11", "eleven"), "not_a_number"),
        (CORNERS.replace("30", "1" * 5_000), "not_a_number"),
        (corners(("xmin", 300), ("ymin", 1), ("xmax", 400), ("ymax", 2)), "box_outside_image"),
    ],
)
def test_an_object_at_fault_costs_that_object(inner: str, code: str) -> None:
    assert refused(inner) == code


def test_an_object_without_a_name_is_rejected() -> None:
    assert refused(CORNERS, "") == "no_label"
    assert refused(CORNERS, "   ") == "no_label"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (voc(thing(), size=""), "image_size"),
        (voc(thing(), size=SIZE.replace("200", "-5")), "image_size"),
        (voc(thing(), size=SIZE.replace("200", "wide")), "not_a_number"),
        (voc(thing(), name=""), "file_name"),
        (voc(thing(), name="<filename>../../etc/passwd</filename>"), "file_name"),
        (voc(thing(), name="<filename>/etc/passwd</filename>"), "file_name"),
        (voc(thing(), name=f"<filename>{'x' * 4096}</filename>"), "file_name"),
    ],
    ids=range(7),
)
def test_an_image_at_fault_is_rejected_whole(data: bytes, code: str) -> None:
    good, bad = good_and_bad(FORMAT, data)

    assert good == []
    assert [(one.code, one.raw) for one in bad] == [(code, data)]


LAUGHS = (
    '<!DOCTYPE x [<!ENTITY a0 "ha">'
    + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    + "]><annotation><filename>&a9;</filename></annotation>"
)
HOSTILE = {
    "billion laughs": LAUGHS.encode(),
    "quadratic": b'<!DOCTYPE x [<!ENTITY a "'
    + b"x" * 100_000
    + b'">]><annotation>'
    + b"&a;" * 100_000
    + b"</annotation>",
    "external entity": b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    b"<annotation><filename>&a;</filename></annotation>",
    "address": b'<!DOCTYPE x [<!ENTITY a SYSTEM "http://127.0.0.1:9/">]><annotation>&a;</annotation>',
    "parameter entity": b'<!DOCTYPE x [<!ENTITY % a SYSTEM "file:///etc/x"> %a;]><annotation/>',
    "document type": b'<!DOCTYPE annotation SYSTEM "http://127.0.0.1:9/x.dtd"><annotation/>',
    "utf-16": b"\xff\xfe" + LAUGHS.encode("utf-16-le"),
    "utf-7": b'<?xml version="1.0" encoding="utf-7"?>+ADwAIQ-DOCTYPE x+AD4-<annotation/>',
    "packed encoding": b'<?xml version="1.0" encoding="zlib"?><annotation/>',
    "undefined entity": b"<annotation>&a;</annotation>",
    "deep": b"<annotation>" + b"<a>" * 100_000,
    "many elements": b"<annotation>" + b"<a/>" * 150_000 + b"</annotation>",
    "not closed": voc(thing())[:-5],
    "another root": b"<html><body/></html>",
    "no XML": b"words",
    "zero bytes": bytes(100),
    "nothing": b"",
    "lone surrogate": b"<annotation>&#xD800;</annotation>",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_xml_is_refused_in_time_and_memory_and_never_followed(kind: str) -> None:
    data = HOSTILE[kind]

    def read() -> None:
        started = time.thread_time()
        with pytest.raises(FileRefused):
            good_and_bad(FORMAT, data)
        assert time.thread_time() - started < 3

    assert peak_while(read) < (40_000_000 if kind == "many elements" else 20_000_000)


def test_in_an_archive_a_hostile_file_costs_itself() -> None:
    good, bad = good_and_bad(
        FORMAT, packed({"a.xml": voc(thing()), "b.xml": LAUGHS.encode(), "c.xml": b"<html/>"})
    )

    assert [image.file_name for image in good] == ["a.jpg"]
    assert [(one.file, one.code) for one in bad] == [("b.xml", "dtd"), ("c.xml", "not_annotation")]


@pytest.mark.parametrize(
    "data", [packed({}), packed({"a.txt": b"x"}), packed({"../a.xml": voc()}), b"PK\x03\x04"]
)
def test_an_archive_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(FileRefused):
        good_and_bad(FORMAT, data)


def test_a_file_that_is_too_long_is_refused() -> None:
    with pytest.raises(FileRefused, match="one file is for one image"):
        good_and_bad(FORMAT, b"<annotation>" + b" " * (16 * 1024 * 1024))


# Rejects


def test_the_rejects_file_can_be_corrected_and_read_again() -> None:
    data = voc(thing(), thing(CORNERS.replace("11", "eleven"), "café"), thing("", "cat"))

    rejected = rejects_file(FORMAT, data)
    good, bad = good_and_bad(FORMAT, rejected)
    assert [image.boxes for image in good] == [()]
    assert [one.code for one in bad] == ["not_a_number", "bbox"]

    corrected = rejected.replace(b"eleven", b"11").replace(
        b"cat</name>", b"cat</name>" + CORNERS.encode()
    )
    (mended,) = only(FORMAT, corrected)
    assert [box.label for box in mended.boxes] == ["café", "cat"]
    assert (mended.file_name, mended.width) == ("a.jpg", 200)


def test_an_object_without_anything_in_it_comes_back_alone() -> None:
    data = voc(thing(), "<object/>", "<object />", "<object></object>")

    good, bad = good_and_bad(FORMAT, data)

    assert [one.raw for one in bad] == [b"<object/>", b"<object />", b"<object></object>"]
    corrected = rejects_file(FORMAT, data)
    assert good_and_bad(FORMAT, corrected)[0] == [replace(good[0], boxes=())]
    for empty in (b"<object/>", b"<object />", b"<object></object>"):
        corrected = corrected.replace(empty, thing().encode())
    assert len(only(FORMAT, corrected)[0].boxes) == 3


def test_the_rejects_of_a_file_in_a_said_encoding_are_read_with_the_same_form() -> None:
    data = voc(thing("", "café"), name="<filename>été.jpg</filename>").decode().encode("cp1252")
    options = ReadOptions(encoding="cp1252")

    corrected = rejects_file(FORMAT, data, options).replace(
        b"</name>", b"</name>" + CORNERS.encode()
    )

    (image,) = only(FORMAT, corrected, options)
    assert (image.file_name, [box.label for box in image.boxes]) == ("été.jpg", ["café"])


def test_the_rejects_of_an_archive_are_an_archive() -> None:
    data = packed(
        {
            "a.xml": voc(thing(), thing("", "cat")),
            "b.xml": LAUGHS.encode(),
            "c.xml": voc(thing(), size=""),
            "d.xml": voc(thing()),
        }
    )

    rejected = rejects_file(FORMAT, data)

    with zipfile.ZipFile(io.BytesIO(rejected)) as opened:
        files = {name: opened.read(name) for name in opened.namelist()}
    assert set(files) == {"a.xml", "b.xml", "c.xml"}
    assert files["b.xml"] == LAUGHS.encode()
    files["a.xml"] = files["a.xml"].replace(b"</name>", b"</name>" + CORNERS.encode())
    files["b.xml"] = voc(thing(name="bird"))
    files["c.xml"] = files["c.xml"].replace(b"</filename>", b"</filename>" + SIZE.encode())
    labels = [[box.label for box in image.boxes] for image in only(FORMAT, packed(files))]
    assert labels == [["cat"], ["bird"], ["dog"]]


def test_memory_does_not_grow_with_the_archive() -> None:
    def through(count: int) -> int:
        data = packed({f"{n}.xml": voc(*[thing()] * 10) for n in range(count)})

        def read() -> None:
            found = FORMAT.read(io.BytesIO(data), ReadOptions())
            assert sum(isinstance(one, ImageDocument) for one in found) == count

        return peak_while(read)

    # The list of members is all that is held.
    assert through(400) - through(100) < 300 * 2_500


def test_likeness() -> None:
    assert FORMAT.likeness(voc(thing()), "a.xml") > 0.9
    assert FORMAT.likeness(voc(thing()).decode().encode("utf-16"), "a.xml") > 0.9
    assert FORMAT.likeness(packed({"Annotations/a.xml": voc()}), "x.zip") == 0.9
    assert FORMAT.likeness(packed({"labels/a.txt": b""}), "x.zip") == 0
    lists = dict.fromkeys((f"ImageSets/Main/{n}.txt" for n in range(5)), b"")
    assert FORMAT.likeness(packed({"Annotations/a.xml": voc(), **lists}), "x.zip") == 0.9
    assert FORMAT.likeness(b"<documents/>", "a.xml") == 0
