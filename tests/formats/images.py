"""Images and boxes as hypothesis makes them up, and files of them, read and written."""

from __future__ import annotations

import io
import json
import math
import tracemalloc
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from domain.systems.annotations.formats.contract import Format, ReadOptions, WriteOptions
from domain.systems.annotations.formats.documents import (
    Box,
    Document,
    ImageDocument,
    Rejected,
)

OPTIONS = ReadOptions()
LABELS = ("person", "traffic light", "no", "été 🚲", "07")

_words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_words, inner, max_size=2),
    max_leaves=4,
)
_fields = st.dictionaries(
    st.sampled_from(["license", "area", "rle", "id", "score", "unclipped", "coco_url"]) | _words,
    _values,
    max_size=2,
)
_names = st.from_regex(r"\A[a-z]{1,3}(/[a-z é]{1,3})?\.(jpg|png)\Z")


@st.composite
def boxes(draw: st.DrawFn, width: int, height: int) -> Box:
    """Mostly within the image."""
    beyond = draw(st.sampled_from([0, 0, 0, 5]))
    left, right = sorted(
        draw(st.tuples(*[st.floats(-beyond, width + beyond, allow_subnormal=False)] * 2))
    )
    top, bottom = sorted(draw(st.tuples(*[st.integers(-beyond, height + beyond)] * 2)))
    points = st.tuples(st.floats(0, width), st.integers(0, height))
    outlines = st.lists(st.lists(points, min_size=2, max_size=5).map(tuple), max_size=2)
    return Box(
        left,
        top,
        right - left,
        bottom - top,
        draw(st.sampled_from(LABELS) | _words),
        draw(st.none() | st.floats(0, 1)),
        tuple(draw(st.just([]) | outlines)),
        draw(st.sampled_from([False, False, True])),
        draw(st.just({}) | _fields),
    )


@st.composite
def images(draw: st.DrawFn) -> ImageDocument:
    width, height = draw(st.tuples(*[st.integers(1, 5_000)] * 2))
    return ImageDocument(
        draw(_names),
        width,
        height,
        tuple(draw(st.lists(boxes(width, height), max_size=4))),
        draw(st.none() | st.sampled_from(["1", "2", "img-7", ""])),
        draw(st.just({}) | _fields),
    )


several_images = st.lists(images(), max_size=4, unique_by=lambda image: image.file_name)


def written(form: Format, documents: Iterable[Document], labels: tuple[str, ...] = LABELS) -> bytes:
    assert form.write is not None
    return b"".join(form.write(documents, WriteOptions(labels=labels)))


def good_and_bad(
    form: Format, data: bytes, options: ReadOptions = OPTIONS
) -> tuple[list[ImageDocument], list[Rejected]]:
    found = list(form.read(io.BytesIO(data), options))
    return (
        [one for one in found if isinstance(one, ImageDocument)],
        [one for one in found if isinstance(one, Rejected)],
    )


def only(form: Format, data: bytes, options: ReadOptions = OPTIONS) -> list[ImageDocument]:
    good, bad = good_and_bad(form, data, options)
    assert bad == []
    return good


def rejects_file(form: Format, data: bytes, options: ReadOptions = OPTIONS) -> bytes:
    _, bad = good_and_bad(form, data, options)
    return b"".join(form.rejects(bad, io.BytesIO(data), options))


def codes(form: Format, document: Document, labels: tuple[str, ...] = LABELS) -> set[str]:
    assert form.losses is not None
    return {loss.code for loss in form.losses(document, WriteOptions(labels=labels))}


def near(one: Any, other: Any, tolerance: float = 1e-6) -> bool:
    """Whether two values are equal but for what arithmetic does to numbers."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=tolerance)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(near, one, other))
    return bool(one == other)


def place(box: Box) -> tuple[float, float, float, float]:
    return box.x, box.y, box.width, box.height


def assert_kept_or_named(
    before: ImageDocument, after: ImageDocument | None, named: set[str]
) -> None:
    """Whatever differs was named by the losses before."""
    if after is None:
        assert "document" in named
        return
    for field in ("file_name", "key"):
        assert getattr(before, field) == getattr(after, field) or field in named
    assert (before.width, before.height) == (after.width, after.height)
    assert before.metadata == after.metadata or "image_metadata" in named
    if len(before.boxes) != len(after.boxes):
        assert "box" in named
        return
    for old, new in zip(before.boxes, after.boxes, strict=True):
        assert near(place(old), place(new)) or "box_place" in named
        assert old.label == new.label or "box_label" in named
        assert near(old.confidence, new.confidence) or "box_confidence" in named
        assert near(old.polygons, new.polygons) or "box_outline" in named
        assert old.crowd == new.crowd or "box_crowd" in named
        assert old.metadata == new.metadata or "box_metadata" in named


def coco(images: Any = None, annotations: Any = (), categories: Any = None, **more: Any) -> bytes:
    """A small data set: one image of 100 by 80, one category, unless said otherwise."""
    one = {"id": 1, "file_name": "a.jpg", "width": 100, "height": 80}
    return json.dumps(
        {
            "images": [one] if images is None else images,
            "annotations": list(annotations) if isinstance(annotations, tuple) else annotations,
            "categories": [{"id": 1, "name": "person"}] if categories is None else categories,
            **more,
        }
    ).encode()


def annotation(**fields: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 20, 30, 40], **fields}


def packed(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def with_boxes(image: ImageDocument, *boxes: Box) -> ImageDocument:
    return replace(image, boxes=boxes)


def peak_while(work: Callable[[], object]) -> int:
    """The most memory that Python objects had at once while something was done."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class Streamed(io.RawIOBase):
    """A file that is made up while it is read, and may be read again from its start."""

    def __init__(self, make: Callable[[], Iterator[bytes]]) -> None:
        self._make = make
        self.seek(0)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        assert whence == 0
        self._pieces = self._make()
        self._held = b""
        self.read(offset)
        return offset

    def read(self, size: int = -1, /) -> bytes:
        while len(self._held) < size and (piece := next(self._pieces, None)):
            self._held += piece
        taken, self._held = self._held[:size], self._held[size:]
        return taken


def without(fields: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}
