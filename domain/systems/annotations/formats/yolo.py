"""YOLO data sets: an archive with a file of rows for each image, and the names of classes."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from tempfile import SpooledTemporaryFile
from typing import IO, BinaryIO

from domain.systems.annotations.formats import class_names, yolo_rows
from domain.systems.annotations.formats.archives import (
    EMPTY_MAGIC,
    MAGIC,
    NAME_LENGTH,
    Archive,
    ArchiveWriter,
    MemberDamaged,
    Members,
    names_at_start,
)
from domain.systems.annotations.formats.box_losses import differences, loss
from domain.systems.annotations.formats.boxes import require_room
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
from domain.systems.annotations.formats.rejecting import rejection
from domain.systems.annotations.formats.spill import Spill
from domain.systems.annotations.formats.validity import Unfit
from domain.systems.annotations.formats.yolo_layout import (
    SAME_NAME,
    SCHEMA,
    SIDECAR,
    Layout,
    image_in_sidecar,
    labels_of,
    name_of_its_own,
    sidecar_line,
)

BOXES, POLYGONS = "boxes", "polygons"
"""Schemes of writing: rectangles only, or outlines only. Without one each image decides."""
_IN_MEMORY = 1024 * 1024


def read(stream: BinaryIO, options: ReadOptions) -> Iterator[Document | Rejected]:
    """The images of an archive; what is rejected counts the row in its file."""
    yield from read_members(Archive(stream, options.bounds), options)


def read_members(members: Members, options: ReadOptions) -> Iterator[Document | Rejected]:
    """The images of a data set, wherever its files are."""
    with Spill(SCHEMA) as kept:
        layout = Layout(members, options.bounds, kept)
        if layout.is_empty:
            raise FileRefused(
                "there are neither labels nor images in the archive; pack the folders images and"
                " labels, or classes.txt with a .txt file for each image"
            )
        names = class_names.names_of(members)
        yield from layout.load_sidecar()
        for file in layout.label_files():
            yield from _file(file, layout, members, names, options)
        yield from layout.images_without_rows()


def write(documents: Iterable[Document], options: WriteOptions) -> Iterator[bytes]:
    """An archive: rows below ``labels``, sizes in ``images.jsonl``, names in the order given."""
    classes = {label: place for place, label in enumerate(dict.fromkeys(options.labels))}
    writer = ArchiveWriter()
    with SpooledTemporaryFile(max_size=_IN_MEMORY) as sizes:
        for number, document in enumerate(documents, start=1):
            if not isinstance(document, ImageDocument):
                raise FileRefused("YOLO holds images, and this is a text; choose another format")
            member = _free(labels_of(document.file_name), number, writer)
            rows = _rows(document, classes, options)
            yield from writer.add(member, "".join(row or "" for row in rows).encode())
            sizes.write(_sidecar(document, member))
        yield from _end(writer, sizes, dict(enumerate(classes)))


def rejects(
    rejected: Iterable[Rejected], stream: BinaryIO, options: ReadOptions
) -> Iterator[bytes]:
    """An archive of the rows that were rejected, with sizes and names to read them by."""
    members = Archive(stream, options.bounds)
    names = class_names.names_of(members)
    writer = ArchiveWriter()
    with Spill(SCHEMA) as kept, SpooledTemporaryFile(max_size=_IN_MEMORY) as sizes:
        layout = Layout(members, options.bounds, kept)
        for _ in layout.load_sidecar():
            pass
        for file, several in groupby(rejected, key=lambda one: one.file or ""):
            pieces = [one for one in several if one.raw]
            lines = [one.raw.rstrip(b"\r\n") + b"\n" for one in pieces]
            if file == layout.sidecar:
                sizes.writelines(lines)
                continue
            if not lines or file in writer:
                continue
            yield from writer.add_pieces(file, lines)
            image = _image(layout, file)
            if image is not None:
                renamed = any(one.code == SAME_NAME for one in pieces)
                sizes.write(sidecar_line(_renamed(image, file) if renamed else image, file))
        yield from _end(writer, sizes, names)


def losses(document: Document, options: WriteOptions) -> Iterable[Loss]:
    """What an archive would drop: crowds, confidences, metadata of boxes, second outlines."""
    if not isinstance(document, ImageDocument):
        return [loss("document")]
    try:
        member = labels_of(document.file_name)
        _, image = image_in_sidecar(_sidecar(document, member))
    except (Unfit, FileRefused):
        return [loss("document")]
    classes: dict[str, int] = {}
    rows = _rows(document, classes, options)
    names = {place: name for name, place in classes.items()}
    return differences(document, image, [_again(row, image, names) for row in rows])


def likeness(head: bytes, name: str) -> float:
    """By the names of the first members."""
    if not head.startswith((MAGIC, EMPTY_MAGIC)):
        return 0.0
    names = [one.lower() for one in names_at_start(head)]
    if any("labels/" in one and one.endswith(".txt") for one in names):
        return 0.95
    bases = [one.rsplit("/", 1)[-1] for one in names]
    if {class_names.LISTING, class_names.PLAIN, "obj.names", SIDECAR} & set(bases):
        return 0.8
    if any(one.endswith(".txt") or "images/" in one for one in names):
        return 0.4
    return 0.1 if name.lower().endswith(".zip") else 0.05


def _file(
    file: str, layout: Layout, members: Members, names: Mapping[int, str], options: ReadOptions
) -> Iterator[Document | Rejected]:
    """The image of one file of rows, after the rows that are none."""
    try:
        content = members.read(file, options.bounds.line)
    except MemberDamaged as error:
        yield Rejected(1, "damaged", str(error), b"", file)
        return
    lines = _lines(content)
    try:
        image = layout.give(_sized(layout, file, lines))
    except Exception as error:
        yield rejection(1, error, b"\n".join(lines), file)
        return
    boxes: list[Box] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            require_room(boxes)
            boxes.append(yolo_rows.box_of(line, image.width, image.height, names))
        except Exception as error:
            yield rejection(number, error, line, file)
    yield ImageDocument(
        image.file_name, image.width, image.height, tuple(boxes), image.key, image.metadata
    )


def _sized(layout: Layout, file: str, lines: list[bytes]) -> ImageDocument:
    image = layout.image_of(file)
    if image is not None:
        return image
    if any(line.strip() for line in lines) and not any(map(yolo_rows.looks_like_row, lines)):
        raise Unfit("not_labels", "the file has no rows of labels; leave it out of the labels")
    raise Unfit(
        "no_image_size",
        f"nothing tells the size of the image; add the image, or to {SIDECAR} a line with"
        f' file_name, width, height and "labels": "{file}"',
    )


def _lines(content: bytes) -> list[bytes]:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        content = content.decode("utf-16", "replace").encode()
    return content.removeprefix(codecs.BOM_UTF8).splitlines()


def _image(layout: Layout, file: str) -> ImageDocument | None:
    try:
        return layout.image_of(file)
    except Unfit:
        return None


def _renamed(image: ImageDocument, file: str) -> ImageDocument:
    """The image, which no other of its archive is taken for when it is read again."""
    return replace(image, file_name=name_of_its_own(image.file_name, file))


def _rows(
    document: ImageDocument, classes: dict[str, int], options: WriteOptions
) -> list[str | None]:
    """For each box its row; rectangles are outlines as well where the image has any of these.

    Training tools take a file with one outline for a file of outlines.
    """
    outlined = options.scheme == POLYGONS or (
        options.scheme != BOXES and any(map(yolo_rows.has_outline, document.boxes))
    )
    return [
        None
        if box.crowd
        else yolo_rows.row_of(
            box,
            document.width,
            document.height,
            classes.setdefault(box.label, len(classes)),
            outlined=outlined,
        )
        for box in document.boxes
    ]


def _again(row: str | None, image: ImageDocument, names: Mapping[int, str]) -> Box | None:
    if row is None:
        return None
    try:
        return yolo_rows.box_of(row.encode(), image.width, image.height, names)
    except Unfit:
        return None


def _sidecar(document: ImageDocument, member: str) -> bytes:
    try:
        return sidecar_line(document, member)
    except (TypeError, ValueError) as error:
        raise FileRefused(
            f"the metadata of an image have a value that JSON cannot hold: {error}; correct it"
        ) from error


def _free(member: str, number: int, writer: ArchiveWriter) -> str:
    """The name, or another one where it is taken or too long; the sidecar tells whose it is."""
    if len(member.encode()) > NAME_LENGTH:
        member = f"labels/{number}.txt"
    while member in writer:
        member = f"{member.removesuffix('.txt')}-{number}.txt"
    return member


def _end(writer: ArchiveWriter, sizes: IO[bytes], names: Mapping[int, str]) -> Iterator[bytes]:
    sizes.seek(0)
    yield from writer.add_pieces(SIDECAR, iter(lambda: sizes.read(_IN_MEMORY), b""))
    plain = class_names.as_lines(names)
    if plain is not None:
        yield from writer.add(class_names.PLAIN, plain)
    yield from writer.add(class_names.LISTING, class_names.as_yaml(names))
    yield from writer.close()


FORMAT = Format(
    name="yolo",
    title="YOLO (ZIP of labels)",
    subject=Subject.IMAGE,
    media_type="application/zip",
    suffix=".zip",
    read=read,
    rejects=rejects,
    likeness=likeness,
    write=write,
    losses=losses,
)
