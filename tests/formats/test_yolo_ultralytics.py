"""What Ultralytics itself says of an archive of ours.

It takes 6 GB, so it has an environment of its own, which is made for this proof alone.
"""

from __future__ import annotations

import io
import json
import os
import random
import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from domain.systems.annotations.formats.contract import WriteOptions
from domain.systems.annotations.formats.documents import Box, ImageDocument
from domain.systems.annotations.formats.yolo import write
from tests.formats.images import LABELS
from tests.formats.tools import environment, run
from tests.proof.figures import tell

CHECK = Path(__file__).with_name("ultralytics_check.py")
WIDTH, HEIGHT = 64, 48


def picture() -> bytes:
    """A grey image."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))
        )

    header = struct.pack(">LLBBBBB", WIDTH, HEIGHT, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x80" * WIDTH) * HEIGHT)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def image(number: int, chance: random.Random) -> ImageDocument:
    """Of every kind: empty, rectangles, outlines, both, beyond the image, several outlines."""

    def box(outlines: int) -> Box:
        x, y = chance.uniform(-5, WIDTH - 2), chance.uniform(-5, HEIGHT - 2)
        width, height = chance.uniform(6, WIDTH), chance.uniform(6, HEIGHT)
        outline = ((x, y), (x + width, y), (x + width / 2, y + height))
        return Box(x, y, width, height, chance.choice(LABELS), polygons=(outline,) * outlines)

    kinds = [[], [0], [0, 0, 0], [1, 1], [0, 1], [2], [0] * 20]
    boxes = tuple(box(outlines) for outlines in kinds[number % len(kinds)])
    return ImageDocument(f"{number % 3}/{number}.png", WIDTH, HEIGHT, boxes)


@pytest.mark.proof
@pytest.mark.timeout(3300)
@pytest.mark.parametrize(
    ("scheme", "task"), [(None, "detect"), ("boxes", "detect"), ("polygons", "segment")]
)
def test_ultralytics_finds_nothing_corrupt(scheme: str | None, task: str, tmp_path: Path) -> None:
    chance = random.Random(7)
    images = [image(number, chance) for number in range(140)]
    written = b"".join(write(images, WriteOptions(labels=LABELS, scheme=scheme)))
    with zipfile.ZipFile(io.BytesIO(written)) as archive:
        archive.extractall(tmp_path)
    for one in images:
        file = tmp_path / "images" / one.file_name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture())

    printed = run(
        environment("ultralytics"),
        "-P",
        CHECK,
        tmp_path,
        task,
        environ={**os.environ, "YOLO_OFFLINE": "true", "YOLO_CONFIG_DIR": str(tmp_path)},
    )

    said = json.loads(printed.splitlines()[-1])
    assert (said["missing"], said["found"], said["corrupt"]) == (0, len(images), 0)
    assert said["empty"] == sum(not one.boxes for one in images)
    assert said["said"] == []
    assert said["names"] == list(LABELS)
    assert said["boxes"] == {Path(one.file_name).name: len(one.boxes) for one in images}
    tell(
        "files that Ultralytics' label check finds corrupt",
        said["corrupt"],
        scheme=scheme or "each image decides",
        files=said["found"],
        boxes=sum(said["boxes"].values()),
        version=said["version"],
    )
