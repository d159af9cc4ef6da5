"""Files of boxes through the platform: what came in goes out, and comes in again as it was."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings

from domain.outcomes import Done, Result, Skipped
from domain.systems.annotations.export_documents import unpacked
from domain.systems.annotations.formats import coco, yolo
from domain.systems.annotations.formats.contract import Format
from domain.systems.annotations.formats.documents import ImageDocument
from domain.systems.annotations.intakes import image_item
from streams.stores.job_parts import parts_after
from tests.formats.data import STEADY
from tests.formats.images import (
    assert_kept_or_named,
    codes,
    good_and_bad,
    near,
    several_images,
    written,
)
from tests.systems.bench import Workbench, document

WITHOUT_LOSS: set[str] = set()


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


@pytest.mark.parametrize("form", [coco.FORMAT, yolo.FORMAT], ids=lambda form: form.name)
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
    same = [
        each
        for each, old in zip(again, out, strict=True)
        if not codes(form, old, project.labels) and near(each.boxes, old.boxes, 0)
    ]
    assert all(isinstance(each, Skipped) for each in project.take(same))
