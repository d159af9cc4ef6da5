"""Which format a file of strangers looks like; what looks like none is asked for."""

from __future__ import annotations

import io
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.systems.annotations.formats.contract import (
    FileRefused,
    Format,
    Subject,
    WriteOptions,
)
from domain.systems.annotations.formats.documents import (
    Box,
    Document,
    ImageDocument,
    Span,
    TextDocument,
)
from domain.systems.annotations.formats.json_heads import first_objects
from domain.systems.annotations.formats.registry import (
    FORMATS,
    chosen,
    detected,
    format_named,
)
from tests.formats.data import STEADY
from tests.formats.files import only, written
from tests.sampled import sampled

SAMPLES = [
    ("csv", "id,text,label\n1,Ada,x\n2,Bob,y\n"),
    ("csv", "text;label\nAda;x\n"),
    ("csv", "name\tbody\nAda\tx\nBob\ty\n"),
    ("jsonl", '{"text": "Ada", "stars": 5}\n{"text": "Bob", "stars": 4}\n'),
    ("jsonl", '{"content": "Ada"}'),
    ("json", '[{"text": "Ada"}, {"text": "Bob"}]'),
    ("json", '[\n  {\n    "text": "Ada"\n  }\n]'),
    ("json", '{\n  "text": "Ada"\n}\n'),
    ("doccano", '{"id": 1, "text": "Ada", "label": [[0, 3, "PER"]]}\n'),
    ("doccano", '{"id": 1, "text": "Ada", "label": ["pos"], "Comments": []}\n'),
    (
        "doccano",
        '{"text": "Ada", "entities": [], "relations": []}\n{"text": "x", "entities": []}\n',
    ),
    ("labelstudio", '[{"id": 1, "data": {"text": "Ada"}, "annotations": []}]'),
    ("labelstudio", '[{"id": 1, "text": "Ada", "annotation_id": 1, "annotator": 1}]'),
    ("xml", '<?xml version="1.0"?>\n<!-- ours -->\n<documents></documents>'),
    ("conll", "EU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\nPeter NNP B-NP B-PER\n"),
    ("conll", "-DOCSTART- -X- O O\n\nAda\tO\n"),
]

OURS = '"annotations": [{"start_char": 0, "end_char": 3, "label": "data"}]'
THEIRS = '"annotations": [{"result": [{"value": {"start": 0, "end": 3, "labels": ["PER"]}}]}]'
NAMED_LIKE_OTHERS = [
    ("json", f'[{{"content": "Ada", "data": "2020-01-01", {OURS}}}]'),
    ("json", f'[{{"content": "Ada", "data": {{"page": 1}}, {OURS}}}]'),
    ("json", f'[{{"body": "Ada", "data": {{"page": 1}}, {OURS}}}]'),
    ("json", f'[{{"content": "Ada", "annotation_id": 7, "annotator": "eve", {OURS}}}]'),
    ("json", f'[{{"content": "Ada", "metadata": {{"data": {{}}, "predictions": []}}, {OURS}}}]'),
    ("json", f'[{{"content": "rectanglelabels", "original_width": 7, {OURS}}}]'),
    ("jsonl", '{"content": "Ada", "metadata": {"file_name": "a", "image_id": 1, "bbox": []}}'),
    ("jsonl", '{"text": "Ada", "file_name": "a.jpg", "image_id": 1, "bbox": [1, 2, 3, 4]}\n'),
    ("jsonl", f'{{"content": "Ada", "images": ["a.jpg"], "categories": ["x"], {OURS}}}\n'),
    ("labelstudio", f'[{{"id": 1, "data": {{"text": "{"Ada " * 20_000}"}}, "annotations": []}}]'),
    ("labelstudio", f'[{{"data": {{"text": "Ada", "image": "a.jpg"}}, {THEIRS}}}]'),
    ("labelstudio", f'[{{"data": {{"text": "the original_width", "x": 1}}, {THEIRS}}}]'),
    ("labelstudio", f'[\n{{"data": {{"text": "a}}}},\n{{"data": {{"text": "Ada"}}, {THEIRS}}}\n]'),
    (
        "labelstudio-images",
        '[{"data": {"image": "s3://b/a.jpg", "text": "Ada"}, "annotations": []}]',
    ),
    ("coco", '{"images": [{"id": 1, "file_name": "a.jpg", "width": 9, "height": 9}]}'),
    ("coco", '{"annotations": [{"image_id": 1, "bbox": [1, 2, 3, 4], "category_id": 1}], "x": 1}'),
    ("coco", '{"images": [], "annotations": [], "categories": []}'),
    ("coco", f'{{"categories": [{{"id": 1, "name": "{"x" * 70_000}"}}], "images": []}}'),
]


@pytest.mark.parametrize(("name", "text"), SAMPLES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_are_known_by_what_they_hold(name: str, text: str, encoding: str) -> None:
    assert detected(io.BytesIO(text.encode(encoding)), "upload").name == name


@pytest.mark.parametrize(("name", "text"), NAMED_LIKE_OTHERS, ids=lambda value: value[:60])
def test_a_field_named_as_one_of_another_format_does_not_make_it_that(name: str, text: str) -> None:
    for encoding in ("utf-8", "utf-16"):
        assert detected(io.BytesIO(text.encode(encoding)), "upload").name == name


IMAGES = '"images": [{"id": 1, "file_name": "a.jpg", "width": 9, "height": 9}]'
BOXES = '"annotations": [{"id": 1, "image_id": 1, "bbox": [1, 2, 3, 4], "category_id": 1}]'
CLASSES = '"categories": [{"id": 1, "name": "dog"}]'
DONE = '{"id": 2, "data": {"text": "Ada"}, "annotations": [{"result": []}]}'
OF_IMAGE = DONE.replace('"text": "Ada"', '"img": "a.jpg"')
LONG = '{"id": ' + "9" * 5_000 + "}"


def led(elements: str, wrong: str = '{"id": 0}') -> str:
    """A list with one before the others that is wrong."""
    return elements.replace("[", f"[{wrong}, ", 1)


WITH_ONE_THAT_IS_WRONG = [
    ("coco", f"{{{IMAGES}, {led(BOXES)}, {CLASSES}}}"),
    ("coco", f"{{{IMAGES}, {led(BOXES, 'null')}, {CLASSES}}}"),
    ("coco", f"{{{led(BOXES, LONG)}, {IMAGES}}}"),
    ("coco", f"{{{led(IMAGES)}, {BOXES}, {CLASSES}}}"),
    ("coco", f"{{{IMAGES}, {BOXES}, {led(CLASSES)}}}"),
    ("coco", f'{{{IMAGES}, "annotations": [{{"id": 0}}], {CLASSES}}}'),
    ("coco", f'{{"content": "a set", "text": "", {IMAGES}, {BOXES}, {CLASSES}}}'),
    ("jsonl", f'{{"content": "Ada", {IMAGES}, {OURS}}}\n'),
    ("labelstudio", f'[{{"id": 1, "data": {{"text": "Ada"}}}}, {DONE}]'),
    ("labelstudio", f'[null, {{"annotations": [{{"id": 1}}]}}, {DONE}]'),
    ("labelstudio", '[{"id": 1}, {"id": 2, "data": {"text": "x"}, "annotations": []}]'),
    ("labelstudio", f'[{{"id": 1}}, {DONE[:-3]}'),
    ("labelstudio-images", f'[{{"id": 1}}, {OF_IMAGE}]'),
    ("labelstudio-images", '[{"data": {"photo": "s3://b/a.jpg?x=1"}, "annotations": []}]'),
    (
        "labelstudio-images",
        '[{"data": {"photo": ""}, "annotations": []}, {"data": {"photo": "a.png", "by": "eve"},'
        ' "annotations": []}]',
    ),
    ("labelstudio", '[{"data": {"scan": "a.jpg", "body": "Ada wrote"}, "annotations": []}]'),
    (
        "labelstudio",
        '[{"data": {"body": "a.jpg"}, "annotations": []}, {"data": {"body": "is a file"},'
        ' "annotations": []}, {"data": {"body": "x"}, "annotations": []}]',
    ),
    (
        "json",
        f'[{{"body": "Ada", "data": {{}}, {OURS}}},'
        ' {"body": "Bob", "data": {}, "annotations": []}]',
    ),
    ("json", f'[{{"body": "Ada", "data": {{}}, {OURS}}}, {{"body": "Bob", "data": {{"page": 1'),
]


@pytest.mark.parametrize(("name", "text"), WITH_ONE_THAT_IS_WRONG, ids=lambda value: value[:60])
def test_no_single_element_decides_against_all_others(name: str, text: str) -> None:
    for encoding in ("utf-8", "utf-16"):
        assert detected(io.BytesIO(text.encode(encoding)), "upload").name == name


LONG_TEXT = "Ada " * 20_000
BEHIND_A_LONG_TEXT = [
    ("doccano", f'{{"id": 1, "text": "{LONG_TEXT}", "label": [[0, 3, "PER"]]}}\n'),
    ("doccano", f'{{"id": 1, "text": "{LONG_TEXT}", "label": [[0, 3, "PER"]]}}\n' * 3),
    ("doccano", f'{{"id": 1, "meta": {{"x": "{LONG_TEXT}"}}, "text": "Ada", "label": ["x"]}}\n'),
    ("jsonl", f'{{"content": "{LONG_TEXT}", {OURS}}}\n'),
    ("jsonl", f'{{"text": "{LONG_TEXT}", "stars": 5}}\n{{"text": "Bob"}}\n'),
    ("json", f'[{{"content": "{LONG_TEXT}", {OURS}}}]'),
    (
        "labelstudio",
        f'[{{"text": "{LONG_TEXT}", "id": 1, "annotator": 1, "annotation_id": 1, "label": ['
        '{"start": 0, "end": 3, "labels": ["PER"]}]}]',
    ),
    ("labelstudio", f'[{{"meta": {{"x": "{LONG_TEXT}"}}, "data": {{"text": "A"}}, {THEIRS}}}]'),
    (
        "labelstudio-images",
        f'[{{"id": 1, "meta": {{"x": "{LONG_TEXT}"}}, "data": {{"image": "a.jpg"}},'
        ' "annotations": []}]',
    ),
    ("coco", f'{{"info": {{"x": "{LONG_TEXT}"}}, {IMAGES}, {BOXES}, {CLASSES}}}'),
]


@pytest.mark.parametrize(("name", "text"), BEHIND_A_LONG_TEXT, ids=lambda value: value[:60])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_what_tells_a_format_may_stand_behind_a_long_text(
    name: str, text: str, encoding: str
) -> None:
    assert detected(io.BytesIO(text.encode(encoding)), "upload").name == name


@pytest.mark.parametrize("form", ["doccano", "labelstudio"])
def test_an_export_of_a_long_text_is_read_as_what_it_is(form: str) -> None:
    document = TextDocument(LONG_TEXT, (Span(0, 3, "PER"),), "a")
    file = written(format_named(form), [document])
    found = detected(io.BytesIO(file), "upload")
    assert only(found, file) == [document]


def test_whether_tasks_of_long_data_are_of_texts_or_of_images_is_told_by_all_of_the_first() -> None:
    text = f'[{{"id": 1, "drafts": ["{LONG_TEXT}"], "data": {{"image": "a.jpg"}}, {THEIRS}}}]'
    of_image = text.replace('"start": 0, "end": 3', '"x": 0, "y": 3, "width": 1, "height": 1')
    for file, name in ((text, "labelstudio"), (of_image, "labelstudio-images")):
        stream = io.BytesIO(file.encode())
        assert chosen(stream, "upload", explicit="labelstudio", subject=None).name == name


def test_a_first_object_without_an_end_is_asked_for_its_format() -> None:
    line = f'{{"id": 1, "text": "{"Ada " * 5_000_000}", "label": [[0, 3, "PER"]]}}\n'.encode()
    for file in (line, line[:70_000]):
        with pytest.raises(FileRefused, match="say which"):
            detected(io.BytesIO(file), "upload.jsonl")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("doccano", '{"id": 1, "text": "Ada", "label": [[0, 3, "PER"]]}\n'),
        ("jsonl", '{"text": "Ada"}\n'),
    ],
)
def test_lines_behind_one_that_is_too_long_tell_the_format(name: str, line: str) -> None:
    file = f'{{"text": "{"Ada " * 4_500_000}"}}\n{line}'.encode()
    assert detected(io.BytesIO(file), "upload.jsonl").name == name


@pytest.mark.parametrize("text", ['["Ada", "Bob"]', f'["{LONG_TEXT}"]', f'[7, "{LONG_TEXT}"]'])
def test_a_list_without_objects_is_not_asked_for_the_end_of_one(text: str) -> None:
    with pytest.raises(FileRefused, match="looks like none of"):
        detected(io.BytesIO(text.encode()), "upload.json")


def test_a_first_object_of_very_much_is_told_in_short_by_its_outer_fields() -> None:
    inner = json.dumps({f"g{n}": "Ada" for n in range(1_000)})
    fields = ", ".join(f'"f{n}": {inner}' for n in range(500))
    file = f'{{{fields}, "text": "Ada", "label": [[0, 3, "PER"]]}}\n'.encode()
    assert len(first_objects(io.BytesIO(file), None)) < 256 * 1024
    assert detected(io.BytesIO(file), "upload").name == "doccano"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("coco", f"{{{IMAGES}, {BOXES}, {CLASSES}}}"),
        ("pascal-voc", "<annotation><filename>Köln.jpg</filename></annotation>"),
        ("csv", "text,label\nZoë,x\n"),
    ],
)
@pytest.mark.parametrize("said", ["latin-1", "cp1252", "utf-16-le", "utf-8"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_mark_decides_how_a_file_is_looked_at(
    name: str, text: str, said: str, encoding: str
) -> None:
    stream = io.BytesIO(text.encode(encoding))
    found = chosen(stream, "upload", explicit=None, subject=None, encoding=said)
    assert found.name == name


@pytest.mark.parametrize(
    ("name", "text"), [("csv", "text,label\nЖж,x\nЩщ,y\n"), ("jsonl", '{"text": "Жж"}\n')]
)
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_file_is_looked_at_in_the_encoding_that_is_said(
    name: str, text: str, encoding: str
) -> None:
    many = text + text.splitlines(keepends=True)[-1].replace("x", "жж") * 20_000
    for file in (text, many, many.replace("label", "жж").replace("text", "text", 1)):
        stream = io.BytesIO(file.encode(encoding))
        found = chosen(stream, "upload", explicit=None, subject=None, encoding=encoding)
        assert found.name == name


CALLED = (
    *("data", "annotations", "predictions", "completions", "annotation_id", "annotator", "meta"),
    *("images", "categories", "image_id", "bbox", "file_name", "image", "url", "original_width"),
    *("rectanglelabels", "polygonlabels", "labels", "label", "result", "text", "content", "id"),
    *("entities", "cats", "documents", "annotation", "width", "height", "start", "end", "x", "y"),
)
NAMES = st.sampled_from(CALLED)
VALUES = st.sampled_from(
    [
        "2020-01-01",
        "a.jpg",
        640,
        [],
        {},
        {"text": "Ada", "image": "a.jpg"},
        [{"result": [{"value": {"start": 0, "end": 3, "labels": ["PER"]}}]}],
        [{"result": [{"value": {"x": 1, "y": 2, "rectanglelabels": ["dog"]}}]}],
        [{"id": 1, "image_id": 1, "bbox": [1, 2, 3, 4], "file_name": "a.jpg"}],
        [[0, 3, "PER"]],
    ]
)
FIELDS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(NAMES, VALUES, max_size=6)


@st.composite
def texts(draw: st.DrawFn) -> TextDocument:
    spans = st.builds(Span, st.just(0), st.just(3), NAMES, st.none(), FIELDS)
    labels = st.lists(NAMES, max_size=2).map(tuple)
    content = draw(st.just("Ada ") | NAMES.map("{} wrote".format))
    found = tuple(draw(st.lists(spans, max_size=2)))
    return TextDocument(content, found, draw(st.none() | NAMES), draw(labels), draw(FIELDS))


@st.composite
def images(draw: st.DrawFn) -> ImageDocument:
    box = st.builds(
        Box, *map(st.just, (1.0, 2.0, 3.0, 4.0)), NAMES, metadata=FIELDS, confidence=st.none()
    )
    name = draw(st.sampled_from(["a.jpg", "text", "data", "street/images"]))
    boxes = tuple(draw(st.lists(box, max_size=2)))
    return ImageDocument(name, 640, 480, boxes, draw(st.none() | NAMES), draw(FIELDS))


@pytest.mark.parametrize(
    "form", [form for form in FORMATS if form.write is not None], ids=lambda form: form.name
)
@given(draw=st.data())
@settings(STEADY, max_examples=sampled(60))
def test_an_export_is_known_as_itself_whatever_its_labels_and_metadata_are_called(
    form: Format, draw: st.DataObject
) -> None:
    made: st.SearchStrategy[Document] = texts() if form.subject is Subject.TEXT else images()
    documents = draw.draw(st.lists(made, min_size=1, max_size=3))
    assert form.write is not None
    file = b"".join(form.write(documents, WriteOptions(labels=["data", "bbox"])))
    for name in ("upload", f"p-1{form.suffix}"):
        assert detected(io.BytesIO(file), name).name == form.name


@pytest.mark.parametrize(
    "file",
    [b"", b"  \n", b"Just a line of words.", b"\x89PNG\r\n\x1a\n" + bytes(50), b"<html></html>"],
)
def test_what_looks_like_none_is_refused_with_the_remedy(file: bytes) -> None:
    with pytest.raises(FileRefused, match=r"empty|say which"):
        detected(io.BytesIO(file), "upload")


def test_formats_have_names_of_their_own() -> None:
    assert [format_named(form.name) for form in FORMATS] == list(FORMATS)
    with pytest.raises(FileRefused, match="choose one of csv"):
        format_named("docx")


@pytest.mark.parametrize(
    "part",
    [b"<!--", b"<?", b"[", b"{", b'{"', b"\n", b",", b'"', b"a O\n", b"# ", b"\\", b" ", b"'"],
)
def test_no_beginning_of_a_file_takes_long_to_look_at(part: bytes) -> None:
    head = part * (65_536 // len(part))
    started = time.thread_time()
    for form in FORMATS:
        assert 0 <= form.likeness(head, "upload") <= 1
    assert time.thread_time() - started < 5
