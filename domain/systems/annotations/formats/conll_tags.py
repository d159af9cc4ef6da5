"""Tags of tokens, and the entities that they stand for, in the three schemes in use.

IOB1 begins an entity with I-, and with B- only behind another of the same label; BIO begins
each with B-; BIOES marks its end as well, and an entity of one token with S-. The letters of
BILOU and BMEWO are understood as those of BIOES.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum

from domain.systems.annotations.formats.contract import FileRefused

TAG = re.compile(r"O|[BIESLUMW]-\S.*", re.DOTALL)
_SAME = {"L": "E", "U": "S", "W": "S", "M": "I"}

Entity = tuple[int, int, str]
"""The first token, the one after the last, and the label."""


class Scheme(StrEnum):
    """How entities are written as tags."""

    IOB1 = "iob1"
    BIO = "bio"
    BIOES = "bioes"


def scheme_named(name: str | None) -> Scheme | None:
    """The scheme of that name; raises FileRefused for one that is not known."""
    if name is None:
        return None
    try:
        return Scheme({"iob2": "bio", "iob": "iob1", "bilou": "bioes"}.get(name, name))
    except ValueError:
        names = ", ".join(Scheme)
        raise FileRefused(f"scheme {name!r} is not known; choose one of {names}") from None


def scheme_of(sentences: Iterable[Sequence[str]]) -> Scheme:
    """The scheme of tags, by how entities begin and end."""
    as_iob1 = as_bio = 0
    for tags in sentences:
        before = ("O", "")
        for tag in tags:
            letter, label = _parted(tag)
            if letter in ("E", "S"):
                return Scheme.BIOES
            begins = before[1] != label
            as_iob1 += letter == "I" and begins
            as_bio += letter == "B" and begins
            before = letter, label
    return Scheme.IOB1 if as_iob1 > as_bio else Scheme.BIO


def entities(tags: Sequence[str], scheme: Scheme) -> list[Entity]:
    """The entities of a sentence; raises Faulty for tags that the scheme does not allow."""
    found: list[Entity] = []
    open_at: int | None = None
    before = ""
    for at, tag in enumerate([*tags, "O"]):
        letter, label = _parted(tag)
        goes_on = letter in ("I", "E") and open_at is not None and label == before
        if open_at is not None and not goes_on:
            if scheme is Scheme.BIOES:
                raise Faulty(at - 1, f"{tags[at - 1]} is not followed by E-{before}")
            found.append((open_at, at, before))
            open_at = None
        if letter in ("I", "E") and not goes_on and scheme is not Scheme.IOB1:
            raise Faulty(at, f"{tag} begins an entity, which {scheme} begins with B-")
        if open_at is None and letter != "O":
            open_at, before = at, label
        if letter in ("E", "S") and open_at is not None:
            found.append((open_at, at + 1, label))
            open_at = None
    return found


def tags_of(count: int, marked: Iterable[Entity], scheme: Scheme) -> list[str]:
    """The tags of a sentence of ``count`` tokens."""
    tags = ["O"] * count
    before: Entity = (0, 0, "")
    for start, end, label in marked:
        tags[start:end] = [f"I-{label}"] * (end - start)
        adjoins = before[1] == start and before[2] == label
        if scheme is not Scheme.IOB1 or adjoins:
            tags[start] = f"B-{label}"
        if scheme is Scheme.BIOES:
            tags[end - 1] = f"E-{label}" if end - start > 1 else f"S-{label}"
        before = start, end, label
    return tags


class Faulty(Exception):
    """A tag that cannot stand where it stands."""

    def __init__(self, at: int, why: str) -> None:
        super().__init__(why)
        self.at = at
        self.why = why


def _parted(tag: str) -> tuple[str, str]:
    if tag == "O":
        return "O", ""
    return _SAME.get(tag[0], tag[0]), tag[2:]
