"""What reference tools see in our files of images: pycocotools, Label Studio's converter.

The latter has an environment of its own, made for this proof; what Ultralytics says is in
test_yolo_ultralytics.py.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
from pathlib import Path

import pytest

from domain.systems.annotations.formats import coco, label_studio_images, pascal_voc, yolo
from domain.systems.annotations.formats.contract import ReadOptions
from domain.systems.annotations.formats.documents import Box, ImageDocument
from tests.formats.images import LABELS, good_and_bad, near, only, packed, place, written
from tests.formats.tools import environment, run
from tests.proof.figures import tell

pytestmark = [pytest.mark.proof, pytest.mark.timeout(3300)]

SEED = 20261126
COUNT = 2_000
MOST = 1e-6
READER = Path(__file__).with_name("reference_image_tools.py")


def made_up(number: int, chance: random.Random, *, outlined: bool) -> ImageDocument:
    """An image with up to 20 boxes, of which each third one has an outline if any may."""
    width, height = chance.randint(50, 4_000), chance.randint(50, 4_000)
    boxes = []
    for place_ in range(number % 21):
        x, y = chance.uniform(0, width - 10), chance.uniform(0, height - 10)
        across, down = chance.uniform(5, width - x), chance.uniform(5, height - y)
        outline = ((x, y), (x + across, y), (x + across / 3, y + down))
        shape = (outline,) if outlined and place_ % 3 == 2 else ()
        boxes.append(Box(x, y, across, down, chance.choice(LABELS), polygons=shape))
    return ImageDocument(f"{number % 7}/{number}.jpg", width, height, tuple(boxes))


def many(*, outlined: bool) -> list[ImageDocument]:
    chance = random.Random(SEED)
    return [made_up(number, chance, outlined=outlined) for number in range(COUNT)]


def boxes_in(images: list[ImageDocument]) -> int:
    return sum(len(image.boxes) for image in images)


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_pycocotools_counts_the_same_and_finds_all_of_it(kind: str, tmp_path: Path) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images = many(outlined=True)[:500]
    if kind == "segm":
        outlines = [
            ImageDocument(
                image.file_name,
                image.width,
                image.height,
                tuple(box for box in image.boxes if box.polygons),
            )
            for image in images
        ]
        images = [image for image in outlines if image.boxes][:100]
    file = tmp_path / "instances.json"
    file.write_bytes(written(coco.FORMAT, images))

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(file))
        results = [{**found, "score": 0.9} for found in truth.anns.values()]
        judged = COCOeval(truth, truth.loadRes(results), kind)
        judged.evaluate()
        judged.accumulate()
        judged.summarize()

    assert (len(truth.imgs), len(truth.anns)) == (len(images), boxes_in(images))
    assert [one["name"] for one in truth.loadCats(truth.getCatIds())] == list(LABELS)
    for number, image in enumerate(images, start=1):
        assert len(truth.getAnnIds(imgIds=[number])) == len(image.boxes)
    average = float(judged.stats[0])
    tell(
        f"average precision of {kind} against itself, by pycocotools",
        f"{average:.6f}",
        images=len(images),
        boxes=boxes_in(images),
        seed=SEED,
    )
    assert average == pytest.approx(1.0)


def test_from_coco_to_yolo_and_back_within_a_millionth_of_a_pixel() -> None:
    first = only(coco.FORMAT, written(coco.FORMAT, many(outlined=False)))
    through = only(yolo.FORMAT, written(yolo.FORMAT, first))
    back = only(coco.FORMAT, written(coco.FORMAT, through))

    most = 0.0
    assert [image.file_name for image in back] == [image.file_name for image in first]
    for before, after in zip(first, back, strict=True):
        assert [box.label for box in before.boxes] == [box.label for box in after.boxes]
        for old, new in zip(before.boxes, after.boxes, strict=True):
            off = max(abs(a - b) for a, b in zip(place(old), place(new), strict=True))
            most = max(most, off)
    tell(
        "COCO to YOLO to COCO, a box is off by",
        f"{most:.3g} pixels at most",
        images=len(first),
        boxes=boxes_in(first),
        seed=SEED,
    )
    assert boxes_in(back) == boxes_in(first)
    assert most <= MOST


def shapes(image: ImageDocument) -> list[tuple[object, ...]]:
    """What is drawn on an image, in an order of its own."""
    found = [(box.label, place(box), box.polygons) for box in image.boxes]
    return sorted(found, key=lambda each: (each[0], [round(value, 3) for value in each[1]]))


def test_label_studio_converts_every_box_of_ours(tmp_path: Path) -> None:
    images = [image for image in many(outlined=True)[:500] if image.boxes]
    (tmp_path / "tasks.json").write_bytes(written(label_studio_images.FORMAT, images))
    run(environment("reference_tools"), READER, tmp_path, json.dumps(LABELS))

    # Its numbers of pixels are those of ours, through percents and back; names get a digest.
    converted = only(coco.FORMAT, (tmp_path / "COCO" / "result.json").read_bytes())
    for ours, theirs in zip(images, converted, strict=True):
        assert theirs.file_name.endswith(f"__{ours.file_name.partition('/')[2]}")
        assert (ours.width, ours.height) == (theirs.width, theirs.height)
        assert near(tuple(shapes(ours)), tuple(shapes(theirs)))

    # Its XML has whole pixels, and rectangles only.
    files = {
        f"Annotations/{file.name}": file.read_bytes()
        for file in sorted((tmp_path / "VOC" / "Annotations").iterdir())
    }
    options = ReadOptions(scheme="zero_based")
    found, bad = good_and_bad(pascal_voc.FORMAT, packed(files), options)
    plain = sum(not box.polygons for image in images for box in image.boxes)
    assert (len(bad), boxes_in(found)) == (0, plain)
    for name, count in (("COCO", boxes_in(converted)), ("VOC", boxes_in(found))):
        tell(
            f"boxes that come back from Label Studio's converter to {name}",
            count,
            of=boxes_in(images) if name == "COCO" else plain,
            seed=SEED,
        )
