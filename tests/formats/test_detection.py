"""Which format a file of strangers looks like; what looks like none is asked for."""

from __future__ import annotations

import io
import time

import pytest

from domain.systems.annotations.formats.contract import FileRefused
from domain.systems.annotations.formats.registry import FORMATS, detected, format_named

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


@pytest.mark.parametrize(("name", "text"), SAMPLES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_are_known_by_what_they_hold(name: str, text: str, encoding: str) -> None:
    assert detected(io.BytesIO(text.encode(encoding)), "upload").name == name


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
