"""Pascal VOC: an XML file an image, one by itself or many in an archive. It is only read.

Corners are pixels counted from 1, both of them inside of the box, as VOC has it: 1 to 10 is a
box of 10 pixels at 0. Tools that count from 0 say so with the scheme ``zero_based``.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, BinaryIO
from xml.sax.saxutils import escape

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
from domain.systems.annotations.formats.rejecting import rejection
from domain.systems.annotations.formats.validity import Unfit, shown
from domain.systems.annotations.formats.voc_images import SAME_NAME, Images, name_of_its_own
from domain.systems.annotations.formats.voc_xml import Element, root_of

ONE_BASED, ZERO_BASED = "one_based", "zero_based"

_NUMBER = re.compile(r"^[-+]?\d{1,9}(?:\.\d{0,20})?(?:[eE][-+]?\d{1,2})?$", re.ASCII)
_POINT = re.compile(r"^[xy]([0-9]{1,5})$", re.ASCII)
_FLAGS = ("truncated", "difficult", "occluded")
_LISTS = re.compile(r"(^|/)ImageSets/", re.I)
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
    yield from _document(root, content, None, Images(None), options)


def read_members(members: Members, options: ReadOptions) -> Iterator[Document | Rejected]:
    """The images of a data set, wherever its files are."""
    files = [one for one in members.names if one.lower().endswith(".xml") and not is_hidden(one)]
    if not files:
        raise FileRefused("there is no XML file in the archive; pack the folder Annotations")
    images = Images(members)
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
    images, writer = Images(members), ArchiveWriter()
    for file, several in groupby(rejected, key=lambda one: one.file or ""):
        pieces = [one for one in several if one.raw]
        if pieces and file not in writer:
            content = members.read(file, options.bounds.line)
            renamed = any(one.code == SAME_NAME for one in pieces)
            yield from writer.add(
                file,
                _renamed(content, file, images, options)
                if renamed
                else _corrigible(pieces, content, options),
            )
    yield from writer.close()


def likeness(head: bytes, name: str) -> float:
    """By its elements, or by the names of the first members."""
    if head.startswith((MAGIC, EMPTY_MAGIC)):
        return _likeness_of_members(names_at_start(head))
    plain = head.replace(b"\0", b"")
    if not re.search(rb"<annotation[\s>]", plain):
        return 0.0
    known = any(sign in plain for sign in (b"<bndbox", b"<filename", b"<segmented"))
    return 0.95 if known else 0.2 + 0.1 * name.lower().endswith(".xml")


def _likeness_of_members(names: Iterable[str]) -> float:
    """By how many files of XML there are: an archive of rows of YOLO may have some by the way."""
    ends = Counter(
        name.lower().rpartition(".")[2]
        for name in names
        if not is_hidden(name) and not _LISTS.search(name)
    )
    if not ends["xml"]:
        return 0.0
    return 0.9 if ends["xml"] >= ends["txt"] else 0.2


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
    root: Element, content: bytes, file: str | None, images: Images, options: ReadOptions
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


def _image(root: Element, file: str | None, images: Images) -> ImageDocument:
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
    return _whole([*around, *objects], options)


def _renamed(content: bytes, file: str, images: Images, options: ReadOptions) -> bytes:
    """A whole file, of an image that no other of its archive is taken for when it is read again."""
    root = _annotation(content, options)
    name = name_of_its_own(file, _image(root, file, images).file_name)
    kept = [one.raw for one in root.children if one.tag != "filename"]
    return _whole([f"<filename>{escape(name)}</filename>".encode(), *kept], options)


def _whole(pieces: list[bytes], options: ReadOptions) -> bytes:
    # It is UTF-8 whatever the file was in, and is read with what was said of the file.
    mark = b"" if options.encoding is None else codecs.BOM_UTF8
    return mark + b"\n".join([b"<annotation>", *pieces, b"</annotation>", b""])


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
