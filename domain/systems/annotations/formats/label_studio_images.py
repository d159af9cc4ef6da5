"""Label Studio's JSON of images: rectangles and polygons, in percent of the image.

Tasks in full or as JSON_MIN, as those of texts (label_studio.py), from which they are told by
what they hold. The image is named by an address; where it lies here is made of it, and the
address is kept. A region that cannot be taken costs itself, and comes back as a task with
nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, Final
from urllib.parse import unquote

from domain.systems.annotations.formats.box_losses import differences, loss
from domain.systems.annotations.formats.boxes import (
    image_name,
    image_side,
    key_of,
    metadata_of,
    require_room,
)
from domain.systems.annotations.formats.contract import (
    FileRefused,
    Format,
    ReadOptions,
    Subject,
    WriteOptions,
)
from domain.systems.annotations.formats.documents import (
    Box,
    Document,
    ImageDocument,
    Loss,
    Rejected,
)
from domain.systems.annotations.formats.encoding import Encoding, encoding_of
from domain.systems.annotations.formats.image_sizes import is_image
from domain.systems.annotations.formats.json_array import as_list, rejects, value_of
from domain.systems.annotations.formats.json_elements import elements
from domain.systems.annotations.formats.json_lines import too_long
from domain.systems.annotations.formats.json_values import compact, escaped
from domain.systems.annotations.formats.label_studio import (
    FAMILY,
    MIN_FIELDS,
    object_in,
    results_of,
)
from domain.systems.annotations.formats.label_studio_heads import (
    as_images,
    is_region,
    without_query,
)
from domain.systems.annotations.formats.label_studio_regions import (
    boxes_of,
    names_in,
    region_of,
)
from domain.systems.annotations.formats.mapping import mapped, renames
from domain.systems.annotations.formats.records import without_collision
from domain.systems.annotations.formats.rejecting import rejection
from domain.systems.annotations.formats.validity import Unfit, fit_metadata, shown, words

_IMAGE: Final = ("image", "img", "url")
_OWN: Final = ("image", "width", "height")
_ADDRESS: Final = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
_UPLOADED: Final = re.compile(r"^/data/upload/(?:\d+/)?")
_SERVED: Final = re.compile(r"^/data/local-files/?\?d=")


def read(stream: BinaryIO, options: ReadOptions) -> Iterator[Document | Rejected]:
    """The images of a file, after those of their regions that cannot be taken."""
    encoding = encoding_of(stream, options.encoding)
    for element in elements(stream, encoding, options.bounds):
        if element.text is None:
            yield too_long(element.line, options.bounds.line)
            continue
        try:
            image, faults = _image(value_of(element.text, options.bounds.depth), options)
        except Exception as error:
            yield rejection(element.line, error, encoding.raw(element.text))
            continue
        for task, fault in faults:
            yield Rejected(element.line, fault.code, fault.message, _raw(task, encoding))
        yield image


def _raw(task: dict[str, Any], encoding: Encoding) -> bytes:
    """The task as bytes of its file."""
    try:
        return compact(task).encode(encoding.name)
    except UnicodeEncodeError:
        # The file had it as escapes: characters that its encoding lacks, or half of one.
        return encoding.raw(escaped(task))


def write(documents: Iterable[Document], _options: WriteOptions) -> Iterator[bytes]:
    """A list of tasks, numbered from 1; our key is in ``meta``, since theirs are numbers."""
    return as_list(_written(number, one) for number, one in enumerate(documents, start=1))


def losses(document: Document, options: WriteOptions) -> Iterable[Loss]:
    """What is dropped: crowds, second outlines, and boxes around an outline that differ from it."""
    del options
    if not isinstance(document, ImageDocument):
        return [loss("document")]
    try:
        image, _ = _image(_task(1, replace(document, boxes=())), ReadOptions())
    except Unfit:
        return [loss("document")]
    boxes = [_again(box, document) for box in document.boxes]
    return differences(document, image, boxes)


def likeness(head: bytes, _name: str) -> float:
    """Tasks that have regions of an image, or whose data name one."""
    return as_images(head)


def name_of(address: str) -> str:
    """What an image is called here, of how Label Studio addresses it."""
    if _UPLOADED.match(address):
        return _UPLOADED.sub("", address)
    if _SERVED.match(address):
        return unquote(_SERVED.sub("", address)).lstrip("/")
    if _ADDRESS.match(address):
        # The host, or the bucket, is part of it: two of them may have files of one name.
        named = _ADDRESS.sub("", address)
        plain = without_query(named)
        return plain if is_image(plain) else named
    return address


@dataclass(slots=True)
class _Found:
    """What the results of a task come to; what several annotators agree on is taken once."""

    regions: list[dict[str, Any]] = field(default_factory=list)
    others: list[Any] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    """Where the results of the annotations before are."""

    def add(self, results: list[dict[str, Any]], confidence: Any = None) -> None:
        """Take what another annotation has and the ones before have not."""
        labelled = {
            repr(one.get("id")) for one in results if names_in(one.get("value")) is not None
        }
        places: set[str] = set()
        for result in results:
            value, place = result.get("value"), _place(result)
            if place in self.known:
                continue
            if not isinstance(value, dict) or not is_region(value):
                self.others.append(result)
            elif names_in(value) is None and repr(result.get("id", 0)) in labelled:
                # The shape of a region whose labels are a result of their own, with the shape.
                continue
            else:
                scored = "score" in result or confidence is None
                self.regions.append(result if scored else result | {"score": confidence})
            places.add(place)
        self.known |= places


def _place(result: dict[str, Any]) -> str:
    return repr((result.get("type"), result.get("value")))


Faults = list[tuple[dict[str, Any], Unfit]]
"""For each region at fault a task that has nothing else, and why."""


def _image(value: Any, options: ReadOptions) -> tuple[ImageDocument, Faults]:
    if not isinstance(value, dict):
        raise Unfit("not_a_document", f"{shown(value)} where a task must be; give an object")
    data = value.get("data")
    if isinstance(data, dict):
        found, meta = _results(value), object_in(value.get("meta"), "meta")
        key = meta["key"] if "key" in meta else value.get("id")
    else:
        found, meta, key = _Found(), {}, value.get("id")
        data = {name: part for name, part in value.items() if name not in MIN_FIELDS}
        for name in [name for name, part in data.items() if _add_min(found, part)]:
            del data[name]
    given = data
    data = mapped(mapped(given, renames(options.columns)), options.mapping)
    if "key" in data and ("key" in options.columns or "key" in options.mapping):
        key = data.pop("key")
    named, address = _address(data)
    width, height = _size(data, found.regions)
    rest = {name: part for name, part in data.items() if name not in (named, "width", "height")}
    image = ImageDocument(
        image_name(name_of(address)),
        image_side(width, "width"),
        image_side(height, "height"),
        key=_key(key),
        metadata=_metadata(rest, meta, found.others, address),
    )
    # What comes back is mapped again when it is read.
    boxes, faults = _boxes(found.regions, image, {"id": value.get("id"), "data": given})
    return replace(image, boxes=boxes), faults


def _key(given: Any) -> str | None:
    if given is None:
        return None
    key = key_of(words(given, "id"))
    fit_metadata({"key": key}, "the task")
    return key


def _metadata(
    data: dict[str, Any], meta: dict[str, Any], others: list[Any], address: str
) -> Mapping[str, Any]:
    rest = {name: part for name, part in meta.items() if name not in ("key", "metadata")}
    ours = object_in(meta.get("metadata"), "meta.metadata")
    metadata = without_collision(without_collision(data, ours, "meta"), rest, "meta")
    if name_of(address) != address:
        metadata = without_collision(metadata, {"image": address}, "task")
    results = {"results": others} if others else {}
    return metadata_of(without_collision(metadata, results, "task"))


def _boxes(
    regions: list[dict[str, Any]], image: ImageDocument, task: dict[str, Any]
) -> tuple[tuple[Box, ...], Faults]:
    boxes: list[Box] = []
    faults: Faults = []
    for region in regions:
        try:
            found = list(boxes_of(region, image))
            for box in found:
                require_room(boxes)
                boxes.append(box)
        except Unfit as unfit:
            sized = region | {"original_width": image.width, "original_height": image.height}
            faults.append(({**task, "annotations": [{"result": [sized]}]}, unfit))
    return tuple(boxes), faults


def _results(task: dict[str, Any]) -> _Found:
    found = _Found()
    for results, confidence in results_of(task):
        found.add(results, confidence)
    return found


def _add_min(found: _Found, part: Any) -> bool:
    """Take a field of JSON_MIN, whose results stand without what is around them."""
    if not isinstance(part, list) or not part:
        return False
    if not all(isinstance(one, dict) and is_region(one) for one in part):
        return False
    sizes = ("original_width", "original_height")
    found.add(
        [
            {
                "value": {name: one[name] for name in one if name not in sizes},
                **{name: one[name] for name in sizes if name in one},
            }
            for one in part
        ]
    )
    return True


def _address(data: dict[str, Any]) -> tuple[str, str]:
    """Which field of a task's data names its image, and what it says."""
    for name in ("file_name", *_IMAGE):
        if isinstance(data.get(name), str):
            return name, data[name]
    named = [
        name
        for name, part in data.items()
        if isinstance(part, str) and is_image(without_query(part))
    ]
    if len(named) != 1:
        raise Unfit("file_name", "no field of the task's data is known to be its image; map it")
    return named[0], data[named[0]]


def _size(data: dict[str, Any], regions: list[dict[str, Any]]) -> tuple[Any, Any]:
    """What the regions say, which must agree, else the data."""
    sizes = {
        (shown(one["original_width"]), shown(one["original_height"])): (
            one["original_width"],
            one["original_height"],
        )
        for one in regions
        if "original_width" in one and "original_height" in one
    }
    if len(sizes) > 1:
        raise Unfit("image_size", "the regions tell several sizes of the image; correct them")
    if sizes:
        return next(iter(sizes.values()))
    if "width" in data and "height" in data:
        return data["width"], data["height"]
    raise Unfit(
        "image_size",
        "nothing tells the size of the image: no region does; give width and height in data, or"
        " map them",
    )


def _written(number: int, document: Document) -> bytes:
    if not isinstance(document, ImageDocument):
        raise FileRefused("this format holds images, and this is a text; choose another format")
    try:
        return compact(_task(number, document)).encode()
    except (TypeError, ValueError) as error:
        raise FileRefused(
            f"the metadata of an image have a value that JSON cannot hold: {error}; correct it"
        ) from error


def _task(number: int, document: ImageDocument) -> dict[str, Any]:
    results = [region_of(place, box, document) for place, box in enumerate(document.boxes, start=1)]
    address = document.metadata.get("image")
    theirs = isinstance(address, str) and name_of(address) == document.file_name != address
    taken = (*_OWN, "file_name")
    hidden = {name: part for name, part in document.metadata.items() if name in taken}
    if theirs:
        del hidden["image"]
    beside = {name: part for name, part in document.metadata.items() if name not in taken}
    own = (address if theirs else document.file_name, document.width, document.height)
    return {
        "id": number,
        "data": {**dict(zip(_OWN, own, strict=True)), **beside},
        "annotations": [{"result": results}] if results else [],
        "predictions": [],
        "meta": {"key": document.key} | ({"metadata": hidden} if hidden else {}),
    }


def _again(box: Box, image: ImageDocument) -> Box | None:
    try:
        (found,) = boxes_of(region_of(1, box, image), image)
    except Unfit:
        return None
    return found


FORMAT = Format(
    name="labelstudio-images",
    title="Label Studio JSON of images",
    subject=Subject.IMAGE,
    media_type="application/json",
    suffix=".json",
    read=read,
    rejects=rejects,
    likeness=likeness,
    write=write,
    losses=losses,
    family=FAMILY,
)
