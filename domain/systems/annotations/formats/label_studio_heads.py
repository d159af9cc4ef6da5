"""What files of Label Studio are known by, and those of texts are told from those of images by."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from domain.systems.annotations.formats.image_sizes import is_image
from domain.systems.annotations.formats.json_heads import Begun, objects_of

ANNOTATED: Final = ("annotations", "completions", "predictions")
"""The fields of a task that have results."""
_TEXT: Final = ("text", "content")
_IMAGE: Final = ("image", "img", "url")
SHAPES: Final = frozenset({"rle", "radiusX", "keypointlabels", "brushlabels", "ellipselabels"})
"""What regions without corners have."""


def as_texts(head: bytes) -> float:
    """How much a file looks like tasks, whatever they are about."""
    return _surest(list(objects_of(head)))


def as_images(head: bytes) -> float:
    """How much a file looks like tasks about images."""
    tasks = list(objects_of(head))
    if not _surest(tasks):
        return 0.0
    for task in tasks:
        for result in _results(task.value):
            value = result.get("value", result)
            if "original_width" in result or (isinstance(value, dict) and is_region(value)):
                return 1.0
            if isinstance(value, dict) and "start" in value:
                return 0.0
    return 0.97 if _name_images(tasks) else 0.0


def is_region(value: dict[str, Any]) -> bool:
    """Whether the value of a result is a part of the image, whatever shape it has."""
    return "points" in value or {"x", "y"} <= value.keys() or bool(SHAPES & value.keys())


def without_query(address: str) -> str:
    """An address up to what is asked of it."""
    return re.split(r"[?#]", address, maxsplit=1)[0]


def _surest(tasks: list[Begun]) -> float:
    """By the surest task, since any may be wrong.

    Those that are annotated tell before the others: elements of another format may have the
    fields of a task that nobody annotated, where what is annotated shows that they are none. Of
    one that is cut off less is known, so it tells by its results, or where it is the first.
    """
    annotated = [
        task
        for task in tasks
        if _annotations(task.value) and (task.whole or _has_results(task.value))
    ]
    known = tasks[:1] + [task for task in tasks[1:] if task.whole]
    return max(map(_sureness, annotated or known), default=0.0)


def _sureness(task: Begun) -> float:
    """By fields of the task itself: within its data and results anything may be called so."""
    fields = task.value
    of_results = _has_results(fields)
    if _annotations(fields) and not of_results:
        return 0.0
    if isinstance(fields.get("data"), dict) or (of_results and not task.whole):
        known = not task.whole or any(isinstance(fields.get(name), list) for name in ANNOTATED)
        return 0.95 if known and not any(name in fields for name in _TEXT) else 0.0
    return 0.9 if {"annotation_id", "annotator"} <= fields.keys() else 0.0


def _has_results(task: dict[str, Any]) -> bool:
    return any(isinstance(one.get("result"), list) for one in _annotations(task))


def _results(task: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The results of a task; of JSON_MIN the values that they have."""
    if {"annotation_id", "annotator"} <= task.keys():
        found = [one for field in task.values() for one in _listed(field)]
    else:
        found = [each for one in _annotations(task) for each in _listed(one.get("result"))]
    yield from (one for one in found if isinstance(one, dict))


def _annotations(task: dict[str, Any]) -> list[dict[str, Any]]:
    found = [one for name in ANNOTATED for one in _listed(task.get(name))]
    return [one for one in found if isinstance(one, dict)]


def _name_images(tasks: list[Begun]) -> bool:
    """Whether half of those that have any text among their data name an image."""
    found = [task.value.get("data", task.value) for task in tasks]
    known = [
        _names_image(data)
        for data in found
        if isinstance(data, dict) and any(isinstance(part, str) for part in data.values())
    ]
    return any(known) and sum(known) * 2 >= len(known)


def _names_image(data: dict[str, Any]) -> bool:
    """Whether the data name an image before they have a text: ours have their own field first."""
    for name, part in data.items():
        if name in _TEXT and isinstance(part, str):
            return False
        if name in _IMAGE and isinstance(part, str):
            sized = name == "image" and {"width", "height"} <= data.keys()
            return sized or is_image(without_query(part))
    return _has_one_image([part for part in data.values() if isinstance(part, str)])


def _has_one_image(texts: list[str]) -> bool:
    """Whether one is the address of an image, and none of the others is of several words."""
    others = [text for text in texts if not is_image(without_query(text))]
    return len(others) == len(texts) - 1 and not any(len(text.split()) > 1 for text in others)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
