"""What every format of images promises, tried on each of them, and the formats told apart."""

from __future__ import annotations

import contextlib
import io
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from domain.systems.annotations.formats import (
    box_losses,
    boxes,
    coco,
    label_studio_images,
    pascal_voc,
)
from domain.systems.annotations.formats.contract import (
    FileRefused,
    Format,
    ReadOptions,
    Subject,
    WriteOptions,
)
from domain.systems.annotations.formats.documents import Box, ImageDocument, Rejected
from domain.systems.annotations.formats.registry import (
    FORMATS,
    chosen,
    detected,
    format_named,
)
from domain.systems.annotations.image_importing import ImportedBox, ImportedImage
from tests.formats import images as made_up
from tests.formats.images import (
    OPTIONS,
    annotation,
    codes,
    good_and_bad,
    only,
    packed,
    place,
    rejects_file,
    with_boxes,
    written,
)
from tests.formats.test_pascal_voc import thing, voc

IMAGE_FORMATS = [form for form in FORMATS if form.subject is Subject.IMAGE]
WRITTEN = [form for form in IMAGE_FORMATS if form.write is not None]
PLAIN = ImageDocument("a.jpg", 100, 80, (Box(8, 16, 32, 16, "person"),), "7")
each = pytest.mark.parametrize("form", IMAGE_FORMATS, ids=lambda form: form.name)
PAGE = Path(__file__).parents[2] / "docs" / "formats" / "README.md"

FILES = {
    "coco": made_up.coco(annotations=[annotation()]),
    "yolo": packed({"labels/a.txt": b"0 0.5 0.5 0.1 0.1\n", "data.yaml": b"names: [cat]\n"}),
    "pascal-voc": voc(thing()),
    "labelstudio-images": b'[{"id": 1, "data": {"image": "a.jpg", "width": 9, "height": 9},'
    b' "annotations": [{"result": []}]}]',
}


def test_each_format_of_images_is_tried_here() -> None:
    assert sorted(form.name for form in IMAGE_FORMATS) == sorted(FILES)


@each
def test_a_file_is_known_by_what_it_holds(form: Format) -> None:
    for name in ("upload", f"upload{form.suffix}", "upload.dat", "upload.json", "upload.xml"):
        assert detected(io.BytesIO(FILES[form.name]), name) is form
    assert format_named(form.name) is form


def test_what_others_write_is_told_apart() -> None:
    wide = FILES["coco"].decode().encode("utf-16")
    assert detected(io.BytesIO(wide), "x.json").name == "coco"
    archive = packed({"Annotations/a.xml": voc(thing())})
    assert detected(io.BytesIO(archive), "x.zip").name == "pascal-voc"
    images = packed({"images/a.png": b"\x89PNG", "README.txt": b"x", "data.yaml": b""})
    assert detected(io.BytesIO(images), "x.zip").name == "yolo"


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (("JPEGImages/a.jpg", "Annotations/a.xml"), "pascal-voc"),
        (("a.jpg", "a.xml"), "pascal-voc"),
        (("images/a.jpg", "labels/a.txt", "data.yaml"), "yolo"),
        (("d/a.jpg", "d/a.txt", "d/.idea/misc.xml", "d/.idea/modules.xml"), "yolo"),
        (("d/a.jpg", "d/a.txt", "d/b.txt", "d/pom.xml"), "yolo"),
        (("d/a.jpg", "d/a.txt", "__MACOSX/d/a.xml"), "yolo"),
        (("d/a.jpg", "d/a.txt", "d/a.xml"), "pascal-voc"),
    ],
)
def test_an_archive_is_known_by_all_of_its_members(files: tuple[str, ...], name: str) -> None:
    first, *others = files
    photograph = random.Random(7).randbytes(200_000)
    archive = packed({first: photograph, **dict.fromkeys(others, voc(thing()))})
    assert detected(io.BytesIO(archive), "x.zip").name == name
    with pytest.raises(FileRefused):
        list(detected(io.BytesIO(archive[:-50]), "x.zip").read(io.BytesIO(archive[:-50]), OPTIONS))


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16-le"])
@pytest.mark.parametrize("form", [coco.FORMAT, pascal_voc.FORMAT], ids=lambda form: form.name)
def test_a_file_of_rejects_is_found_out_with_the_same_form(form: Format, encoding: str) -> None:
    broken = made_up.coco(annotations=[annotation(bbox=[])]), voc(thing("", "café"))
    data = broken[form is pascal_voc.FORMAT].decode().encode(encoding)
    options = ReadOptions(encoding=encoding)

    rejects = io.BytesIO(rejects_file(form, data, options))

    found = chosen(rejects, "rejects", explicit=None, subject=None, encoding=encoding)
    assert found is form
    assert [type(one) for one in found.read(rejects, options)] == [Rejected, ImageDocument]


def test_a_name_that_two_formats_share_is_told_by_what_the_file_holds() -> None:
    of_text = b'[{"data": {"text": "Ada"}, "annotations": [{"result": []}]}]'
    for content, name in (
        (FILES["labelstudio-images"], "labelstudio-images"),
        (of_text, "labelstudio"),
    ):
        found = chosen(io.BytesIO(content), "x.json", explicit="labelstudio", subject=None)
        assert found.name == name
    by_subject = chosen(
        io.BytesIO(of_text), "x.json", explicit="labelstudio", subject=Subject.IMAGE
    )
    assert by_subject.name == "labelstudio-images"
    with pytest.raises(FileRefused, match="no images"):
        chosen(io.BytesIO(of_text), "x.json", explicit="csv", subject=Subject.IMAGE)
    with pytest.raises(FileRefused, match="not known"):
        chosen(io.BytesIO(of_text), "x.json", explicit="no such", subject=None)


@each
@pytest.mark.parametrize("length", [0, 1, 4, 30])
def test_what_is_hardly_there_is_refused(form: Format, length: int) -> None:
    reading = form.read(io.BytesIO(FILES[form.name][:length]), ReadOptions())
    if length and form is label_studio_images.FORMAT:
        # A list is read as far as it goes.
        assert {type(found) for found in reading} == {Rejected}
        return
    with pytest.raises(FileRefused):
        list(reading)


@each
def test_plain_images_lose_nothing(form: Format) -> None:
    if form.write is None:
        return
    images = [
        ImageDocument("a/1.jpg", 64, 64, (Box(8, 16, 32, 16, "person"),), "7", {"licence": 3}),
        ImageDocument("a/2.jpg", 64, 64, (), "8"),
    ]
    assert [codes(form, image) for image in images] == [set(), set()]
    assert only(form, written(form, images)) == images
    assert b"".join(form.write([], WriteOptions()))


def test_every_code_of_a_loss_is_on_the_page() -> None:
    page = PAGE.read_text()
    assert [code for code in box_losses.MESSAGES if f"`{code}`" not in page] == []


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ({"file_name": f"{'x' * 497}.jpg"}, "file_name"),
        ({"key": "a\0b"}, "key"),
        ({"metadata": {"x" * 201: 1}}, "metadata"),
    ],
)
@pytest.mark.parametrize("form", WRITTEN, ids=lambda form: form.name)
def test_an_image_that_cannot_be_stored_is_rejected_and_comes_back(
    form: Format, field: dict[str, Any], code: str
) -> None:
    data = written(form, [replace(PLAIN, **field)])
    good, bad = good_and_bad(form, data)
    assert PLAIN.file_name not in [image.file_name for image in good]
    assert {one.code for one in bad} >= {code}
    assert all(one.raw for one in bad)


@pytest.mark.parametrize(
    ("field", "code"),
    [({"label": "x" * 201}, "no_label"), ({"metadata": {"x" * 201: 1}}, "metadata")],
)
@pytest.mark.parametrize("form", [coco.FORMAT, label_studio_images.FORMAT], ids=lambda f: f.name)
def test_a_box_that_cannot_be_stored_costs_itself(
    form: Format, field: dict[str, Any], code: str
) -> None:
    box = Box(10, 20, 30, 40, "dog")
    (image,), bad = good_and_bad(
        form, written(form, [with_boxes(PLAIN, box, replace(box, x=5, **field))], ())
    )
    assert [place(one) for one in image.boxes] == [place(box)]
    assert code in {one.code for one in bad}


def test_the_bounds_of_files_are_those_of_what_is_stored() -> None:
    name, label, metadata = "x" * boxes.NAME_LENGTH, "x" * boxes.LABEL_LENGTH, {"x" * 200: 1}
    assert (boxes.image_name(name), boxes.label_name(label)) == (name, label)
    assert boxes.metadata_of(metadata) == metadata
    for beyond in (f"{name}x", name[:-1]):
        fitting = len(beyond) <= boxes.NAME_LENGTH
        with contextlib.nullcontext() if fitting else pytest.raises(ValidationError):
            ImportedImage(file_name=beyond, width=1, height=1)
    ImportedBox(bbox=(0, 0, 1, 1), label=label, metadata=metadata)
    with pytest.raises(ValidationError):
        ImportedBox(bbox=(0, 0, 1, 1), label=f"{label}x")
    with pytest.raises(ValidationError):
        ImportedBox(bbox=(0, 0, 1, 1), label=label, metadata={"x" * (boxes.METADATA_NAME + 1): 1})
