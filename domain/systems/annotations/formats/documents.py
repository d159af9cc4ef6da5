"""What every format is read into and written from. Pure values; nothing here knows a database.

Offsets of spans count Unicode code points, the end not included. Boxes are in pixels, from the
upper left corner of the image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Span:
    """A labelled part of a text: ``content[start:end]``."""

    start: int
    end: int
    label: str
    confidence: float | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Box:
    """A labelled rectangle of an image; ``polygons`` are its outlines, ``(x, y)`` each.

    ``crowd`` marks a region of many objects, as COCO has it.
    """

    x: float
    y: float
    width: float
    height: float
    label: str
    confidence: float | None = None
    polygons: tuple[tuple[tuple[float, float], ...], ...] = ()
    crowd: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TextDocument:
    """A text with its spans; ``key`` is what the file calls it, if it has a name for it.

    ``labels`` are those of the whole text, as text classification gives them.
    """

    content: str
    spans: tuple[Span, ...] = ()
    key: str | None = None
    labels: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImageDocument:
    """An image with its boxes. ``file_name`` is a relative name, and is never opened."""

    file_name: str
    width: int
    height: int
    boxes: tuple[Box, ...] = ()
    key: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


Document = TextDocument | ImageDocument


@dataclass(frozen=True, slots=True)
class Rejected:
    """A piece of a file that cannot be taken, with where it stands and why.

    ``line`` counts from 1 (in a binary or a nested file: the number of the object); ``file``
    is the member of an archive. ``raw`` is the piece as it stood, to be written into the
    file of rejects, corrected and read again; ``message`` says the remedy. ``cause`` is the
    error behind one that nobody foresaw: whoever reads the file logs it.
    """

    line: int
    code: str
    message: str
    raw: bytes
    file: str | None = None
    cause: Exception | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Loss:
    """What a format cannot keep of a document; ``code`` is stable, people read ``message``."""

    code: str
    message: str
