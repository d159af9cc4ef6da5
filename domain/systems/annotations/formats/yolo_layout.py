"""Which files of a YOLO data set belong together: labels, images, and the sizes of these.

``images/train/a.jpg`` has its labels in ``labels/train/a.txt``, or beside it. Rows are in parts
of the image, so its size must be known: from the image itself, or from ``images.jsonl``, which
our writer adds and anybody can write: for each image a line of JSON with ``file_name``, ``width``
and ``height``. A line that does not say where its labels are has those of the file that is called
as its image, wherever that is, unless another line says that it has them.
"""

from __future__ import annotations

import codecs
import json
import re
import sqlite3
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

from domain.systems.annotations.formats.archives import MemberDamaged, Members, is_hidden
from domain.systems.annotations.formats.boxes import (
    image_name,
    image_side,
    key_of,
    metadata_of,
)
from domain.systems.annotations.formats.contract import Bounds, FileRefused
from domain.systems.annotations.formats.documents import ImageDocument, Rejected
from domain.systems.annotations.formats.image_sizes import is_image, size_of
from domain.systems.annotations.formats.json_values import parsed
from domain.systems.annotations.formats.rejecting import rejection
from domain.systems.annotations.formats.validity import Unfit, is_text, shown

SIDECAR = "images.jsonl"
SCHEMA = """
CREATE TABLE sizes (
    line INTEGER PRIMARY KEY, member TEXT UNIQUE, place TEXT, raw BLOB, used INTEGER DEFAULT 0
);
CREATE INDEX of_place ON sizes (place);
CREATE UNIQUE INDEX one_of_place ON sizes (place) WHERE member IS NULL;
CREATE TABLE guessed (line INTEGER PRIMARY KEY, raw BLOB);
"""
"""Lines by the file with their rows, or else by the place where these should be."""
SAME_NAME = "same_name"
"""The code of an image that is called as one before it, and is another one."""

_NO_LABELS = re.compile(
    r"^(classes|_classes|train|val|valid|test|autosplit_\w+|(readme|license|requirements|notice)\b.*)"
    r"\.txt$",
    re.I,
)
_UNSAFE = re.compile(r'[\x00-\x1f\x7f:*?"<>|]')
_LABELS_FOLDER = re.compile(r"(^|/)(labels|obj_[^/]*_data)/", re.I)


def labels_of(file_name: str) -> str:
    """Where the rows of an image are; leads nowhere else, whatever the name."""
    parts = [part for part in re.split(r"[/\\]", file_name) if part not in ("", ".", "..")]
    if len(parts) > 1 and parts[0].lower() == "images":
        del parts[0]
    # A name that begins with a dot is hidden, and nobody reads what is hidden.
    plain = [re.sub(r"^\.", "_", _UNSAFE.sub("_", part)) for part in parts] or ["_"]
    plain[-1] = _stem(plain[-1]) + ".txt"
    return "/".join(["labels", *plain])


def sidecar_line(image: ImageDocument, labels: str) -> bytes:
    """What is kept of an image beside its rows."""
    fields: dict[str, Any] = {
        "file_name": image.file_name,
        "width": image.width,
        "height": image.height,
        "labels": labels,
    }
    if image.key is not None:
        fields["key"] = image.key
    if image.metadata:
        fields["metadata"] = dict(image.metadata)
    try:
        line = json.dumps(fields, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        # Half a character, which only an escape can hold.
        line = json.dumps(fields, allow_nan=False).encode()
    return line + b"\n"


def image_in_sidecar(raw: bytes) -> tuple[str | None, ImageDocument]:
    """The image of a line, and where it says that its rows are; raises Unfit where it is none."""
    try:
        value = parsed(raw.decode(), 64)
    except UnicodeDecodeError as error:
        raise Unfit("not_json", f"not JSON, {error}; correct it") from None
    if not isinstance(value, dict):
        raise Unfit("not_an_object", f"{shown(value)} where an object must be; give an object")
    name = image_name(value.get("file_name"))
    labels, key, metadata = value.get("labels"), value.get("key"), value.get("metadata")
    if isinstance(labels, str) and not is_text(labels):
        raise Unfit("labels", f"the labels are in {shown(labels)}; name a file, or leave it out")
    return labels if isinstance(labels, str) else None, ImageDocument(
        name,
        image_side(value.get("width"), "width"),
        image_side(value.get("height"), "height"),
        key=key_of(key) if isinstance(key, str) else None,
        metadata=metadata_of(metadata) if isinstance(metadata, dict) else {},
    )


class Layout:
    """The files of a data set; ``kept`` holds what the sidecar says, which may be much."""

    def __init__(self, members: Members, bounds: Bounds, kept: sqlite3.Connection) -> None:
        self._members = members
        self._kept = kept
        self._bounds = bounds
        names = [name for name in members.names if not is_hidden(name)]
        self.sidecar = min(
            (name for name in names if name.rsplit("/", 1)[-1].lower() == SIDECAR),
            key=lambda name: (name.count("/"), name),
            default=None,
        )
        self._images: dict[str, str] = {}
        self._doubles = [
            name
            for name in names
            if is_image(name) and self._images.setdefault(_beside(name), name) != name
        ]
        self._texts = [name for name in names if name.lower().endswith(".txt")]
        self._places = {*map(_beside, self._texts), *self._images}
        self._given: set[str] = set()

    def load_sidecar(self) -> Iterator[Rejected]:
        """Take up what the sidecar says; gives the lines that say nothing.

        What a line says of its labels goes before what can be guessed of another line.
        """
        if self.sidecar is None:
            return
        lines = _lines(self._members, self.sidecar, self._bounds.line)
        for number, raw in enumerate(lines, start=1):
            if number > self._bounds.members:
                raise FileRefused(
                    f"{self.sidecar!r} has more than {self._bounds.members} lines; split it"
                )
            try:
                self._keep(number, raw)
            except Exception as error:
                if raw.strip():
                    yield rejection(number, error, raw, self.sidecar)
        yield from self._load_guessed()

    def _load_guessed(self) -> Iterator[Rejected]:
        """Find the labels of the lines that do not say where these are."""
        stated = {place for (place,) in self._kept.execute("SELECT place FROM sizes")}
        left = _Places(self._places - stated)
        for number, raw in self._kept.execute("SELECT line, raw FROM guessed ORDER BY line"):
            where = labels_of(image_in_sidecar(raw)[1].file_name)
            place = left.called(_beside(self._folder + where), _beside(where))
            try:
                if place in stated:
                    raise _same_labels(where)
                self._insert(number, None, place, raw, where)
            except Unfit as error:
                yield rejection(number, error, raw, self.sidecar)

    @property
    def _folder(self) -> str:
        """Where the sidecar lies, as what it says is of the files there."""
        return (self.sidecar or "")[: -len(SIDECAR)]

    def _keep(self, number: int, raw: bytes) -> None:
        """Keep a line by where its rows are; raises Unfit where another one has them."""
        where, _ = image_in_sidecar(raw)
        if where is None:
            self._kept.execute("INSERT INTO guessed VALUES (?, ?)", (number, raw))
            return
        member = self._folder + where
        there = member in self._members and member.lower().endswith(".txt")
        self._insert(number, member if there else None, _beside(member), raw, where)

    def _insert(self, number: int, member: str | None, place: str, raw: bytes, where: str) -> None:
        query = "INSERT OR IGNORE INTO sizes (line, member, place, raw) VALUES (?, ?, ?, ?)"
        if self._kept.execute(query, (number, member, place, raw)).rowcount:
            return
        query = "SELECT raw FROM sizes WHERE member IS ? AND place = ?"
        if self._kept.execute(query, (member, place)).fetchone() != (raw,):
            raise _same_labels(where)

    def give(self, image: ImageDocument) -> ImageDocument:
        """The image, noted as given; raises Unfit where one before it has its name."""
        if image.file_name in self._given:
            raise Unfit(
                SAME_NAME,
                f"an image before this one is called {shown(image.file_name)} as well; rename one"
                f" of them, or give this one another file_name in {SIDECAR}",
            )
        self._given.add(image.file_name)
        return image

    def label_files(self) -> Iterator[str]:
        """The files that have rows, or should, in the order of the archive."""
        in_folders = any(map(_LABELS_FOLDER.search, self._texts))
        for name in self._texts:
            if self._line_of(name) is not None or _beside(name) in self._images:
                yield name
            elif in_folders and not _LABELS_FOLDER.search(name):
                continue
            elif not _NO_LABELS.match(name.rsplit("/", 1)[-1]):
                yield name

    def image_of(self, labels: str) -> ImageDocument | None:
        """The image whose rows a file has; ``None`` where there is none."""
        found, image = self._line_of(labels), self._images.pop(_beside(labels), None)
        if found is not None:
            number, raw = found
            self._kept.execute("UPDATE sizes SET used = 1 WHERE line = ?", (number,))
            return image_in_sidecar(raw)[1]
        return None if image is None else self._measured(image)

    def images_without_rows(self) -> Iterator[ImageDocument | Rejected]:
        """Images that no file of rows belongs to: nothing is to be seen on them."""
        for image in self._doubles:
            yield Rejected(
                1,
                "same_labels",
                "another image differs from this one in nothing but the end of its name, and has"
                " the same labels; name one of them otherwise",
                b"",
                image,
            )
        for place, image in self._images.items():
            if self._has_line(place):
                continue
            try:
                yield self.give(self._measured(image))
            except Unfit as error:
                yield Rejected(1, error.code, error.message, b"", image)
        left = "SELECT line, raw FROM sizes WHERE used = 0 ORDER BY line"
        for line, raw in self._kept.execute(left):
            try:
                yield self.give(image_in_sidecar(raw)[1])
            except Unfit as error:
                yield rejection(line, error, raw, self.sidecar)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing that a data set has."""
        return not (self._images or self.sidecar or any(self.label_files()))

    def _line_of(self, labels: str) -> tuple[int, bytes] | None:
        """The line of a file of rows, with its number: one that names it, or one of its place."""
        query = (
            "SELECT line, raw FROM sizes WHERE member = ? OR (member IS NULL AND place = ?)"
            " ORDER BY member IS NULL LIMIT 1"
        )
        found: tuple[int, bytes] | None = self._kept.execute(
            query, (labels, _beside(labels))
        ).fetchone()
        return found

    def _has_line(self, place: str) -> bool:
        query = "SELECT 1 FROM sizes WHERE place = ?"
        return self._kept.execute(query, (place,)).fetchone() is not None

    def _measured(self, image: str) -> ImageDocument:
        try:
            size = size_of(self._members, image)
        except MemberDamaged:
            size = None
        if size is None:
            raise Unfit(
                "no_image_size",
                f"{image!r} does not tell its size; replace it, or tell it in {SIDECAR}",
            )
        parts = image.split("/")
        places = [place for place, part in enumerate(parts[:-1]) if part.lower() == "images"]
        relative = "/".join(parts[places[-1] + 1 :]) if places else image
        return ImageDocument(
            image_name(relative), image_side(size[0], "width"), image_side(size[1], "height")
        )


class _Places:
    """Places by how they end, of which there may be as many of one name as there are folders."""

    def __init__(self, places: set[str]) -> None:
        self._places = places
        self._backwards = sorted(f"/{place}"[::-1] for place in places)

    def called(self, place: str, where: str) -> str:
        """The place itself if it is among them, else the only one that is called so."""
        if place in self._places:
            return place
        end = f"/{where.removeprefix('labels/')}"[::-1]
        at = bisect_left(self._backwards, end)
        found = [one for one in self._backwards[at : at + 2] if one.startswith(end)]
        return found[0][::-1].removeprefix("/") if len(found) == 1 else place


def name_of_its_own(file_name: str, labels: str) -> str:
    """A name that tells an image from one so called in another folder, by where its rows are."""
    base = re.split(r"[/\\]", file_name)[-1]
    plain = re.sub(r"^((?:.*/)?)labels/", r"\1", _beside(labels)) + base[len(_stem(base)) :]
    return plain if plain != file_name else f"labels/{plain}"


def _same_labels(where: str) -> Unfit:
    return Unfit(
        "same_labels",
        f"another line has the labels {shown(where)} as well; name the file with the rows of"
        ' this image in "labels", or remove the line',
    )


def _lines(members: Members, name: str, limit: int) -> Iterator[bytes]:
    held = b""
    for piece in members.pieces(name):
        *lines, held = (held + piece).split(b"\n")
        yield from map(_plain, lines)
        if len(held) > limit:
            raise FileRefused(f"{name!r} has a line of more than {limit} bytes; shorten it")
    yield _plain(held)


def _plain(line: bytes) -> bytes:
    """A line without its mark and end."""
    return line.removeprefix(codecs.BOM_UTF8).strip()


def _beside(name: str) -> str:
    """What a file of rows and its image have in common."""
    parts = name.split("/")
    folders = [part.lower() for part in parts[:-1]]
    for word in ("images", "labels"):
        if word in folders:
            place = len(folders) - 1 - folders[::-1].index(word)
            parts[place] = "labels"
            break
    return "/".join([*parts[:-1], _stem(parts[-1])])


def _stem(base: str) -> str:
    stem, dot, _ = base.rpartition(".")
    return stem if dot and stem else base
