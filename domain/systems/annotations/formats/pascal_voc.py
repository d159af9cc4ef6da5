"""Pascal VOC: an XML file an image, one by itself or many in an archive. It is only read.

Corners are pixels counted from 1, both of them inside of the box, as VOC has it: 1 to 10 is a
box of 10 pixels at 0. Tools that count from 0 say so with the scheme ``zero_based``.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, BinaryIO

from domain.systems.annotations.formats.archives import (
    EMPTY_MAGIC,
    MAGIC,
    Archive,
    ArchiveWriter,
    MemberDamaged,
    Members,
    is_archive,
    is_hidden,
    names_at_start,
)
from domain.systems.annotations.formats.boxes import (
    Outline,
    image_name,
    image_side,
    label_name,
    number,
    require_room,
    within,
)
from domain.systems.annotations.formats.contract import (
    FileRefused,
    Format,
    ReadOptions,
    Subject,
)
from domain.systems.annotations.formats.documents import Box, Document, ImageDocument, Rejected
from domain.systems.annotations.formats.image_sizes import is_image, size_of
from domain.systems.annotations.formats.rejecting import rejection
from domain.systems.annotations.formats.validity import Unfit, shown
from domain.systems.annotations.formats.voc_xml import Element, root_of

ONE_BASED, ZERO_BASED = "one_based", "zero_based"

_NUMBER = re.compile(r"^[-+]?\d{1,9}(?:\.\d{0,20})?(?:[eE][-+]?\d{1,2})?$", re.ASCII)
_POINT = re.compile(r"^[xy]([0-9]{1,5})$", re.ASCII)
_FLAGS = ("truncated", "difficult", "occluded")
_OF_IMAGES = re.compile(r"images/[^/]*$", re.I)
_BESIDE = 2
"""How many folders a file and its image have apart at most where others are called as it is."""
_OBJECT = re.compile(rb"^<object[\s/>]")


def read(stream: BinaryIO, options: ReadOptions) -> Iterator[Document | Rejected]:
    """The images of a file; what is rejected has the line in its XML."""
    if options.scheme not in (None, ONE_BASED, ZERO_BASED):
        raise FileRefused(
            f"scheme {options.scheme!r} is not known; corners are {ONE_BASED} or {ZERO_BASED}"
        )
    if is_archive(stream):
        yield from read_members(Archive(stream, options.bounds), options)
        return
    content = _alone(stream, options)
    try:
        root = _annotation(content, options)
    except Unfit as error:
        raise FileRefused(f"the file is no annotation of Pascal VOC: {error.message}") from None
    yield from _document(root, content, None, _Images(None), options)


def read_members(members: Members, options: ReadOptions) -> Iterator[Document | Rejected]:
    """The images of a data set, wherever its files are."""
    files = [one for one in members.names if one.lower().endswith(".xml") and not is_hidden(one)]
    if not files:
        raise FileRefused("there is no XML file in the archive; pack the folder Annotations")
    images = _Images(members)
    for file in files:
        content = b""
        try:
            content = members.read(file, options.bounds.line)
            root = _annotation(content, options)
        except MemberDamaged as error:
            yield Rejected(1, "damaged", str(error), b"", file)
        except Exception as error:
            yield rejection(1, error, content, file)
        else:
            yield from _document(root, content, file, images, options)


def rejects(
    rejected: Iterable[Rejected], stream: BinaryIO, options: ReadOptions
) -> Iterator[bytes]:
    """The same kind of file: what was rejected, and what is around it."""
    if not is_archive(stream):
        stream.seek(0)
        yield _corrigible(list(rejected), _alone(stream, options), options)
        return
    members = Archive(stream, options.bounds)
    writer = ArchiveWriter()
    for file, several in groupby(rejected, key=lambda one: one.file or ""):
        pieces = [one for one in several if one.raw]
        if pieces and file not in writer:
            content = members.read(file, options.bounds.line)
            yield from writer.add(file, _corrigible(pieces, content, options))
    yield from writer.close()


def likeness(head: bytes, name: str) -> float:
    """By its elements, or by the names of the first members."""
    if head.startswith((MAGIC, EMPTY_MAGIC)):
        return 0.9 if any(one.lower().endswith(".xml") for one in names_at_start(head)) else 0.0
    plain = head.replace(b"\0", b"")
    if not re.search(rb"<annotation[\s>]", plain):
        return 0.0
    known = any(sign in plain for sign in (b"<bndbox", b"<filename", b"<segmented"))
    return 0.95 if known else 0.2 + 0.1 * name.lower().endswith(".xml")


@dataclass(frozen=True, slots=True)
class _Given:
    """A file, the image in the archive that belongs to it, and the size that it has."""

    file: str | None
    member: str | None
    size: tuple[int, int]

    def may_be(self, other: _Given) -> bool:
        """Whether two files whose images have one name are of the same image."""
        if self is other or (self.member and other.member):
            return self.member == other.member
        own, others = (each.rsplit("/", 1)[-1] for each in (self.file or "", other.file or ""))
        # Two that are called alike in two folders are of the images of these folders.
        return self.size == other.size and own != others


class _Images:
    """The images that lie in the same archive, for their sizes and names."""

    def __init__(self, members: Members | None) -> None:
        self._members = members
        self._by_stem: dict[str, list[str]] = {}
        for name in () if members is None else members.names:
            if is_image(name) and not is_hidden(name):
                self._by_stem.setdefault(_stem(name), []).append(name)
        self._given: dict[str, _Given] = {}

    def give(self, image: ImageDocument, file: str | None) -> None:
        """Note what image a file is of; raises Unfit where one before is of another so called."""
        size = (image.width, image.height)
        given = _Given(file, self.named(file, image.file_name) or self.named(file), size)
        if not given.may_be(self._given.setdefault(image.file_name, given)):
            raise Unfit(
                "same_name",
                f"a file before this one is of another image {shown(image.file_name)}; put the"
                " folder of this one before its name in filename",
            )

    def named(self, file: str | None, called: str | None = None) -> str | None:
        """The image that belongs to a file, or is called so there, whatever its suffix is.

        The one in its folder or in one beside that; one from elsewhere if no other has its name.
        """
        alike = [] if file is None else self._by_stem.get(_stem(called or file), [])
        alike = [one for one in alike if one.rsplit("/", 1)[-1] == called] or alike
        if file is None or len(alike) < 2:
            return next(iter(alike), None)
        least = min(_apart(file, one) for one in alike)
        nearest = [one for one in alike if least <= _BESIDE and _apart(file, one) == least]
        # Masks lie beside the photographs, and are called as these are.
        nearest = [one for one in nearest if _OF_IMAGES.search(one)] or nearest
        return nearest[0] if len({tuple(_folders(one)) for one in nearest}) == 1 else None

    def size(self, file: str | None, called: str | None = None) -> tuple[int, int] | None:
        """The size of the image that belongs to a file, or is called so there."""
        name = self.named(file, called)
        if name is None or self._members is None:
            return None
        try:
            return size_of(self._members, name)
        except MemberDamaged:
            return None


def _alone(stream: BinaryIO, options: ReadOptions) -> bytes:
    content = stream.read(options.bounds.line + 1)
    if len(content) > options.bounds.line:
        raise FileRefused(
            f"the XML file has more than {options.bounds.line} bytes; one file is for one image"
        )
    return content


def _annotation(content: bytes, options: ReadOptions) -> Element:
    root = root_of(content, options.bounds.depth, options.encoding)
    if root.tag != "annotation":
        raise Unfit(
            "not_annotation", f"the outermost element is {shown(root.tag)}; give annotation"
        )
    return root


def _document(
    root: Element, content: bytes, file: str | None, images: _Images, options: ReadOptions
) -> Iterator[Document | Rejected]:
    try:
        image = _image(root, file, images)
        images.give(image, file)
    except Exception as error:
        yield rejection(1, error, content, file)
        return
    boxes: list[Box] = []
    for element in root.children:
        if element.tag != "object":
            continue
        try:
            require_room(boxes)
            box = _box(element, origin=0 if options.scheme == ZERO_BASED else 1)
            boxes.append(within(box, image.width, image.height))
        except Exception as error:
            yield rejection(element.line, error, element.raw, file)
    yield ImageDocument(
        image.file_name, image.width, image.height, tuple(boxes), image.key, image.metadata
    )


def _image(root: Element, file: str | None, images: _Images) -> ImageDocument:
    name = root.words("filename")
    if not name:
        beside = images.named(file)
        name = "" if beside is None else beside.rsplit("/", 1)[-1]
    name = image_name(name)
    size = root.child("size")
    stated = (size.words("width"), size.words("height")) if size is not None else ("", "")
    # Some tools write zeros where they did not open the image.
    if {*stated} & {"", "0"}:
        found = images.size(file, name) or images.size(file)
        if found is None:
            raise Unfit(
                "image_size", "nothing tells the size of the image; give width and height in size"
            )
        stated = (str(found[0]), str(found[1]))
    folder = root.words("folder")
    return ImageDocument(
        name,
        image_side(_number(stated[0], "width"), "width"),
        image_side(_number(stated[1], "height"), "height"),
        metadata={"folder": folder} if folder else {},
    )


def _box(element: Element, *, origin: int) -> Box:
    label = label_name(element.words("name"))
    corners = element.child("bndbox")
    if corners is None:
        raise Unfit("bbox", "the object has no bndbox; give xmin, ymin, xmax and ymax")
    # By their names: some files have the larger one first, and some have them the wrong way round.
    left, right = sorted(_number(corners.words(tag), tag) for tag in ("xmin", "xmax"))
    top, bottom = sorted(_number(corners.words(tag), tag) for tag in ("ymin", "ymax"))
    outline = _outline(element.child("polygon"), origin)
    return Box(
        left - origin,
        top - origin,
        right - left + origin,
        bottom - top + origin,
        label,
        polygons=() if outline is None else (outline,),
        metadata=_described(element),
    )


def _outline(element: Element | None, origin: int) -> Outline | None:
    if element is None or not element.children:
        return None
    places: dict[int, dict[str, float]] = {}
    for child in element.children:
        matched = _POINT.match(child.tag)
        if matched is not None:
            point = places.setdefault(int(matched[1]), {})
            point[child.tag[0]] = _number(child.text.strip(), child.tag) - origin
    points = [places[place] for place in sorted(places)]
    if len(points) < 3 or any(len(point) < 2 for point in points):
        raise Unfit("polygon", "the polygon has fewer than three points x1, y1, ...; correct it")
    return tuple((point["x"], point["y"]) for point in points)


def _described(element: Element) -> Mapping[str, Any]:
    """What else is said of an object."""
    said: dict[str, Any] = {}
    pose = element.words("pose")
    if pose and pose != "Unspecified":
        said["pose"] = pose
    for flag in _FLAGS:
        words = element.words(flag)
        if words:
            said[flag] = words.lower() in ("1", "true", "yes")
    return said


def _number(words: str, where: str) -> float:
    if not _NUMBER.match(words):
        raise Unfit("not_a_number", f"{where} is {shown(words)}; give a number")
    return number(float(words), where)


def _corrigible(pieces: list[Rejected], content: bytes, options: ReadOptions) -> bytes:
    """A whole file as it was, or a file of objects with all that is around them."""
    objects = [one.raw for one in pieces if _OBJECT.match(one.raw)]
    if len(objects) < len(pieces):
        return content
    root = _annotation(content, options)
    around = [one.raw for one in root.children if one.tag != "object"]
    # It is UTF-8 whatever the file was in, and is read with what was said of the file.
    mark = b"" if options.encoding is None else codecs.BOM_UTF8
    return mark + b"\n".join([b"<annotation>", *around, *objects, b"</annotation>", b""])


def _apart(one: str, other: str) -> int:
    """In how many folders only one of two files is."""
    ours, theirs = Counter(_folders(one)), Counter(_folders(other))
    return ((ours - theirs) + (theirs - ours)).total()


def _folders(name: str) -> list[str]:
    return name.split("/")[:-1]


def _stem(name: str) -> str:
    """A name without folder and suffix."""
    base = re.split(r"[/\\]", name)[-1]
    return base.rpartition(".")[0] or base


FORMAT = Format(
    name="pascal-voc",
    title="Pascal VOC (XML, or ZIP of XML)",
    subject=Subject.IMAGE,
    media_type="application/xml",
    suffix=".xml",
    read=read,
    rejects=rejects,
    likeness=likeness,
)
