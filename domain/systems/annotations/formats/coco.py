"""COCO instances: one JSON object with the lists ``images``, ``annotations``, ``categories``.

The lists may come in any order and annotations in any order of images, so a file is taken into
a temporary database first, and comes out of it image by image.
"""

from __future__ import annotations

import codecs
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO

from domain.systems.annotations.formats import coco_values as values
from domain.systems.annotations.formats.box_losses import differences, loss
from domain.systems.annotations.formats.boxes import label_name, require_room
from domain.systems.annotations.formats.contract import (
    Bounds,
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
from domain.systems.annotations.formats.json_heads import LOOKED_AT, begun_with, text_of
from domain.systems.annotations.formats.json_pieces import Cutter, Piece, parsed, parsed_leniently
from domain.systems.annotations.formats.rejecting import rejection
from domain.systems.annotations.formats.spill import Spill
from domain.systems.annotations.formats.validity import Unfit, shown

SECTIONS = ("categories", "images", "annotations")
_IN_MEMORY = 1024 * 1024
_SIGN = {"categories": "name", "images": "file_name", "annotations": "image_id"}
"""What each element of a list has, by which a file is known."""
_OF_TEXTS = ("text", "content")
"""What our own files have, which may have a list that is called like one of these."""

_SCHEMA = """
CREATE TABLE categories (id TEXT PRIMARY KEY, name TEXT);
CREATE TABLE images (number INTEGER PRIMARY KEY, id TEXT UNIQUE, raw BLOB);
CREATE TABLE annotations (number INTEGER PRIMARY KEY, id TEXT UNIQUE, image TEXT, raw BLOB);
"""
_REJECTED = """
CREATE TABLE rejected (section TEXT, number INTEGER, raw BLOB, PRIMARY KEY (section, number));
CREATE TABLE wanted (image TEXT PRIMARY KEY);
"""


def read(stream: BinaryIO, options: ReadOptions) -> Iterator[Document | Rejected]:
    """The images of a file in its order, after what can be rejected before they are known.

    What is rejected counts its element in its list, ``file`` being the name of the list.
    """
    with Spill(_SCHEMA) as kept:
        cutter = Cutter(stream, options.bounds, options.encoding)
        for piece in cutter.pieces():
            if piece.section not in SECTIONS:
                continue
            try:
                _keep(piece, kept)
            except Exception as error:
                yield rejection(piece.number, error, piece.raw, piece.section)
        _require_dataset(cutter.rest)
        kept.execute("CREATE INDEX of_image ON annotations (image)")
        for _, identity, raw in kept.execute("SELECT number, id, raw FROM images ORDER BY number"):
            yield from _image(values.image_of(parsed(raw)), identity, kept, options.bounds)
        yield from _without_image(kept)


def write(documents: Iterable[Document], options: WriteOptions) -> Iterator[bytes]:
    """A data set: categories in the project's order, from 1; annotations and images from 1."""
    categories = {
        label: number for number, label in enumerate(dict.fromkeys(options.labels), start=1)
    }
    annotations = 0
    with SpooledTemporaryFile(max_size=_IN_MEMORY) as images:
        yield b'{"info": {}, "licenses": [], "annotations": ['
        for number, document in enumerate(documents, start=1):
            if not isinstance(document, ImageDocument):
                raise FileRefused("COCO holds images, and this is a text; choose another format")
            images.write(b",\n" if number > 1 else b"\n")
            images.write(_json(values.image_fields(document, number)))
            pieces = []
            for box in document.boxes:
                annotations += 1
                category = categories.setdefault(box.label, len(categories) + 1)
                pieces.append(b",\n" if annotations > 1 else b"\n")
                pieces.append(
                    _json({"id": annotations, **values.box_fields(box, number, category)})
                )
            if pieces:
                yield b"".join(pieces)
        yield b'\n], "images": ['
        images.seek(0)
        while piece := images.read(_IN_MEMORY):
            yield piece
        listed = [{"id": place, "name": name} for name, place in categories.items()]
        yield b'\n], "categories": ' + _json(listed) + b"}\n"


def rejects(
    rejected: Iterable[Rejected], stream: BinaryIO, options: ReadOptions
) -> Iterator[bytes]:
    """A data set of what was rejected, with the categories and images that it names."""
    with Spill(_REJECTED) as kept:
        for one in rejected:
            kept.execute(
                "INSERT OR IGNORE INTO rejected VALUES (?, ?, ?)", (one.file, one.line, one.raw)
            )
            image = _image_named(one.raw) if one.file == "annotations" else None
            if image is not None:
                kept.execute("INSERT OR IGNORE INTO wanted VALUES (?)", (image,))
        _add_named(stream, options, kept)
        # It is UTF-8 whatever the file was in, and is read with what was said of the file.
        yield b"" if options.encoding is None else codecs.BOM_UTF8
        for place, section in enumerate(SECTIONS):
            yield (b", " if place else b"{") + json.dumps(section).encode() + b": ["
            before = b"\n"
            query = "SELECT raw FROM rejected WHERE section = ? AND raw <> x'' ORDER BY number"
            for (raw,) in kept.execute(query, (section,)):
                yield before + raw
                before = b",\n"
            yield b"\n]"
        yield b"}\n"


def losses(document: Document, options: WriteOptions) -> Iterable[Loss]:
    """What a file would drop; next to nothing, since others ignore fields they do not know."""
    del options
    if not isinstance(document, ImageDocument):
        return [loss("document")]
    try:
        image = values.image_of(_again(values.image_fields(document, 1)))
    except (Unfit, ValueError):
        return [loss("document")]
    boxes = [_box_again(box, image) for box in document.boxes]
    return differences(document, image, boxes)


def likeness(head: bytes, _name: str) -> float:
    """An object whose lists are called as those of a data set, and have what those have."""
    begun = begun_with(text_of(head))
    if begun is None:
        return 0.0
    lists = {one: begun.value[one] for one in SECTIONS if isinstance(begun.value.get(one), list)}
    alike = {name for name, found in lists.items() if _has_sign(name, found)}
    if len(alike) < 2 and not begun.value.keys().isdisjoint(_OF_TEXTS):
        return 0.0
    if not alike.isdisjoint(("images", "annotations")):
        return 1.0
    # Of a file that goes on behind its head, an element may as well.
    cut_off = 0 if begun.whole else 1
    unknown = {name for name, found in lists.items() if len(found) <= cut_off}
    if not lists.keys() <= alike | unknown:
        return 0.0
    return 0.6 if alike or len(lists) > 1 else 0.0


def _has_sign(name: str, found: list[Any]) -> bool:
    """Whether any of the first elements is one of that list: a wrong one costs itself only."""
    begun = (one for one in found[:LOOKED_AT] if isinstance(one, dict))
    return any(_SIGN[name] in one for one in begun)


def _keep(piece: Piece, kept: sqlite3.Connection) -> None:
    value = piece.value()
    if not isinstance(value, dict):
        raise Unfit("not_an_object", f"{shown(value)} where an object must be; give an object")
    if piece.section == "categories":
        _keep_category(value, kept)
        return
    if piece.section == "images":
        values.image_of(value)
        row: tuple[Any, ...] = (piece.number, values.identity(value.get("id"), "id"), piece.raw)
    else:
        own = value.get("id")
        row = (
            piece.number,
            None if own is None else values.identity(own, "id"),
            values.identity(value.get("image_id"), "image_id"),
            piece.raw,
        )
    try:
        # The name is one of SECTIONS.
        marks = ", ".join("?" * len(row))
        kept.execute(f"INSERT INTO {piece.section} VALUES ({marks})", row)  # noqa: S608
    except sqlite3.IntegrityError:
        raise Unfit(
            "duplicate_id",
            f"another one of {piece.section} before it has the id {row[1]}; give it an id of its"
            " own, or remove it if it is the same",
        ) from None


def _keep_category(value: Mapping[str, Any], kept: sqlite3.Connection) -> None:
    identity, name = values.identity(value.get("id"), "id"), label_name(value.get("name"))
    known = kept.execute("SELECT name FROM categories WHERE id = ?", (identity,)).fetchone()
    if known is not None and known[0] != name:
        raise Unfit(
            "duplicate_id",
            f"the category {shown(known[0])} before it has the id {identity}; give it an id of its"
            " own",
        )
    kept.execute("INSERT OR IGNORE INTO categories VALUES (?, ?)", (identity, name))


def _image(
    image: ImageDocument, identity: str, kept: sqlite3.Connection, bounds: Bounds
) -> Iterator[Document | Rejected]:
    """The image, after those of its annotations that are none, or more than memory may take."""
    boxes: list[Box] = []
    size = 0
    found = kept.execute(
        "SELECT number, raw FROM annotations WHERE image = ? ORDER BY number", (identity,)
    )
    for number, raw in found:
        try:
            require_room(boxes)
            size += len(raw)
            _require_bound(size, bounds)
            value = parsed(raw)
            boxes.append(values.box_of(value, image, _label(value, kept)))
        except Exception as error:
            yield rejection(number, error, raw, "annotations")
    yield ImageDocument(
        image.file_name, image.width, image.height, tuple(boxes), image.key, image.metadata
    )


def _require_bound(size: int, bounds: Bounds) -> None:
    """Refuse one more annotation of an image than may be held: each may be long."""
    if size > bounds.line:
        raise Unfit(
            "too_large",
            f"the annotations of the image have more than {bounds.line:,} bytes with this one;"
            " give the boxes of the image in several files",
        )


def _label(value: Mapping[str, Any], kept: sqlite3.Connection) -> str:
    identity = values.identity(value.get("category_id"), "category_id")
    found = kept.execute("SELECT name FROM categories WHERE id = ?", (identity,)).fetchone()
    if found is None:
        raise Unfit(
            "unknown_category",
            f"category {identity} is not among the categories of the file; add it",
        )
    return str(found[0])


def _without_image(kept: sqlite3.Connection) -> Iterator[Rejected]:
    left = kept.execute(
        "SELECT number, image, raw FROM annotations"
        " WHERE image NOT IN (SELECT id FROM images) ORDER BY number"
    )
    for number, image, raw in left:
        error = Unfit(
            "unknown_image",
            f"image {image} is not among the images of the file, or was rejected itself; add or"
            " correct it",
        )
        yield rejection(number, error, raw, "annotations")


def _require_dataset(rest: Any) -> None:
    """The lists were emptied: what is left of each is an empty one."""
    if not isinstance(rest, dict):
        raise FileRefused(
            "the file is no COCO data set but a list, as results are; give the data set, an object"
            " with images, annotations and categories"
        )
    for section in SECTIONS:
        if rest.get(section, None if section == "images" else []) != []:
            raise FileRefused(f'a COCO data set has a list of "{section}"; give one')


def _add_named(stream: BinaryIO, options: ReadOptions, kept: sqlite3.Connection) -> None:
    """Add all categories of the file, and those of its images that annotations name."""
    for piece in Cutter(stream, options.bounds, options.encoding).pieces():
        if piece.section == "categories" or (
            piece.section == "images" and _is_wanted(piece.raw, kept)
        ):
            kept.execute(
                "INSERT OR IGNORE INTO rejected VALUES (?, ?, ?)",
                (piece.section, piece.number, piece.raw),
            )


def _is_wanted(raw: bytes, kept: sqlite3.Connection) -> bool:
    try:
        identity = values.identity(parsed_leniently(raw)["id"], "id")
    except (Unfit, KeyError, TypeError):
        return False
    query = "SELECT 1 FROM wanted WHERE image = ?"
    return kept.execute(query, (identity,)).fetchone() is not None


def _image_named(raw: bytes) -> str | None:
    try:
        return values.identity(parsed_leniently(raw)["image_id"], "image_id")
    except (Unfit, KeyError, TypeError):
        return None


def _json(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise FileRefused(
            f"an image or a box has a value that JSON cannot hold: {error}; correct it"
        ) from error


def _again(value: Any) -> Any:
    return parsed(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())


def _box_again(box: Box, image: ImageDocument) -> Box | None:
    try:
        fields = _again(values.box_fields(box, 1, 1))
        return values.box_of(fields, image, label_name(box.label))
    except (Unfit, TypeError, ValueError):
        return None


FORMAT = Format(
    name="coco",
    title="COCO instances (JSON)",
    subject=Subject.IMAGE,
    media_type="application/json",
    suffix=".json",
    read=read,
    rejects=rejects,
    likeness=likeness,
    write=write,
    losses=losses,
)
