"""Run by a Python that has Ultralytics: what its own check says of a data set, as JSON.

    PYTHON tests/formats/ultralytics_check.py DIRECTORY detect|segment

The last line of what it prints has the counts of its label check (found, empty, corrupt), what it
complains of, and the classes and numbers of labels that its data set loads.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ultralytics import __version__
from ultralytics.data.dataset import YOLODataset
from ultralytics.data.utils import check_det_dataset, img2label_paths, verify_image_label


def main(folder: Path, task: str) -> None:
    data = check_det_dataset(str(folder / "data.yaml"), autodownload=False)
    images = sorted(str(file) for file in Path(data["val"]).rglob("*.png"))
    checked = [
        verify_image_label((image, labels, "", False, len(data["names"]), 0, 0, False))
        for image, labels in zip(images, img2label_paths(images), strict=True)
    ]
    loaded = YOLODataset(img_path=data["val"], data=data, task=task, augment=False).labels
    print(
        json.dumps(
            {
                "version": __version__,
                "missing": sum(one[5] for one in checked),
                "found": sum(one[6] for one in checked),
                "empty": sum(one[7] for one in checked),
                "corrupt": sum(one[8] for one in checked),
                "said": [one[9] for one in checked if one[9]],
                "names": list(data["names"].values()),
                "boxes": {Path(one["im_file"]).name: len(one["cls"]) for one in loaded},
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
