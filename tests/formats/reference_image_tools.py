"""Has Label Studio's converter make COCO and Pascal VOC of the tasks in a folder.

    PYTHON tests/formats/reference_image_tools.py FOLDER LABELS

It is run by the interpreter of an environment that has it, and knows nothing of ours.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from label_studio_sdk.converter import Converter


def config(labels: list[str]) -> str:
    """What a project with these labels is configured with."""
    known = "".join(f'<Label value="{label}"/>' for label in labels)
    return (
        f'<View><RectangleLabels name="label" toName="image">{known}</RectangleLabels>'
        f'<PolygonLabels name="polygon" toName="image">{known}</PolygonLabels>'
        '<Image name="image" value="$image"/></View>'
    )


def main(folder: Path, labels: list[str]) -> None:
    """Convert in both ways."""
    for name, call in (("COCO", "convert_to_coco"), ("VOC", "convert_to_voc")):
        converter = Converter(config(labels), str(folder), download_resources=False)
        getattr(converter, call)(str(folder / "tasks.json"), str(folder / name), is_dir=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
