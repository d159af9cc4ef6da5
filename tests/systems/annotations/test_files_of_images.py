"""Files of boxes through the platform: what came in goes out, and comes in again as it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.outcomes import Done, Result, Skipped
from domain.systems.annotations.boxes import TOLERANCE
from domain.systems.annotations.export_documents import unpacked
from domain.systems.annotations.formats import coco, label_studio_images, yolo
from domain.systems.annotations.formats.contract import Format
from domain.systems.annotations.formats.documents import Box, ImageDocument
from domain.systems.annotations.intakes import image_item
from streams.stores.job_parts import parts_after
from tests.formats.data import STEADY
from tests.formats.images import (
    assert_kept_or_named,
    codes,
    good_and_bad,
    several_images,
    written,
)
from tests.systems.bench import Workbench, document

WITHOUT_LOSS: set[str] = set()
FORMS = (coco.FORMAT, label_studio_images.FORMAT, yolo.FORMAT)
MOVED = {"document", "file_name", "image_size", "box", "box_place", "box_label", "box_outline"}
"""Losses of what a box is known by."""


@dataclass(frozen=True)
class Project:
    """A project of its own, with labels in an order that is not alphabetical."""

    bench: Workbench
    number: int
    labels: tuple[str, ...]

    @classmethod
    def of(cls, bench: Workbench, images: list[ImageDocument]) -> Project:
        (number,) = bench.make("annotations.create_projects", [{"name": "streets"}])
        names = {box.label: None for image in images for box in image.boxes}
        labels = tuple(sorted(names, reverse=True))
        if labels:
            rows = [{"project_id": number, "name": name} for name in labels]
            bench.make("annotations.create_labels", rows)
        return cls(bench, number, labels)

    def take(self, images: list[ImageDocument]) -> list[Result]:
        """What becomes of them in an import."""
        items = [image_item(image) for image in images]
        params = {"project_id": self.number}
        return self.bench.work("annotations.import_images", items, params=params)

    def give(self, form: Format, ids: list[int]) -> list[ImageDocument]:
        """What an export reads of them."""
        job = f"job-{len(self.bench.chunks)}"
        params = {"project_id": self.number, "format": form.name}
        items = [{"id": key} for key in ids]
        read = self.bench.work("annotations.export_images", items, params=params, job=job)
        assert all(isinstance(each, Done) for each in read)
        parts = self.bench.database.read_now(lambda found: parts_after(found, job, -1, 9))
        found = [each for _, data in parts for each in unpacked(data)]
        return [each for each in found if isinstance(each, ImageDocument)]


def assert_same(before: list[ImageDocument], after: list[ImageDocument]) -> None:
    assert [each.file_name for each in before] == [each.file_name for each in after]
    for old, new in zip(before, after, strict=True):
        assert_kept_or_named(old, new, WITHOUT_LOSS)


def assert_known(
    project: Project, form: Format, before: list[ImageDocument], after: list[ImageDocument]
) -> None:
    """Images that come back with the places that they had are not given their boxes twice."""
    same = [
        back
        for back, old in zip(after, before, strict=True)
        if not codes(form, old, project.labels) & MOVED
    ]
    assert all(isinstance(each, Skipped) for each in project.take(same))


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@given(images=several_images.filter(bool))
@settings(STEADY, max_examples=25)
def test_an_export_of_an_import_is_imported_as_the_same(
    shared_bench: Workbench, form: Format, images: list[ImageDocument]
) -> None:
    labels = tuple(dict.fromkeys(box.label for image in images for box in image.boxes))
    first, _ = good_and_bad(form, written(form, images, labels))
    project = Project.of(shared_bench, first)
    ids = [document(each)["id"] for each in project.take(first)]
    out = project.give(form, ids)
    assert_same(first, out)

    again, rejected = good_and_bad(form, written(form, out, project.labels))
    assert rejected == []
    copy = Project.of(shared_bench, again)
    ids = [document(each)["id"] for each in copy.take(again)]
    back = copy.give(form, ids)
    for old, new in zip(out, back, strict=True):
        assert_kept_or_named(old, new, codes(form, old, project.labels))

    # Once more into where it came from: what is there is known again, and nothing is doubled.
    assert_known(project, form, out, again)


@st.composite
def marked(draw: st.DrawFn) -> dict[str, Any]:
    """An image as it is made by hand, with boxes at any place of it."""
    # No coordinate is beyond a million: a corner may be half a pixel outside of its image.
    width, height = draw(st.tuples(*[st.integers(1, 999_999)] * 2))
    sides = st.tuples(*[st.floats(0, side + TOLERANCE) for side in (width, height)] * 2)
    boxes = [
        [min(a, c), min(b, d), max(a, c) - min(a, c), max(b, d) - min(b, d)]
        for a, b, c, d in draw(st.lists(sides, max_size=4))
        if abs(a - c) > 1e-3 < abs(b - d)
    ]
    corners = st.tuples(st.floats(0, width + TOLERANCE), st.floats(0, height + TOLERANCE))
    outlines = st.none() | st.lists(corners, min_size=3, max_size=5)
    marks = [{"bbox": box, "polygon": draw(outlines)} for box in boxes]
    return {"width": width, "height": height, "boxes": [*marks, *marks[:1]]}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@given(image=marked())
@settings(STEADY, max_examples=60)
def test_boxes_that_were_made_by_hand_are_known_in_the_file_of_them(
    shared_bench: Workbench, form: Format, image: dict[str, Any]
) -> None:
    project = Project.of(shared_bench, [ImageDocument("a", 1, 1, (Box(0, 0, 1, 1, "car"),))])
    size = {name: image[name] for name in ("width", "height")}
    home = {"project_id": project.number}
    (key,) = shared_bench.make(
        "annotations.create_images", [{**home, "file_name": "a.png", **size}]
    )
    drawn = [{"image_id": key, "label": "car", **mark} for mark in image["boxes"]]
    shared_bench.make("annotations.create_boxes", drawn, params=home)
    out = project.give(form, [key])
    again, _ = good_and_bad(form, written(form, out, project.labels))
    assert_known(project, form, out, again)
