"""The work that every contestant does: a project of texts and labels, and items to annotate it.

Items come in the order of the texts, as from somebody who annotates text by text. One in a
hundred is wrong, in one of four ways in turn.
"""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, insert

from domain.outcomes import Failed
from domain.systems.annotations import tables
from domain.systems.annotations.models import NewAnnotation, as_text
from domain.systems.annotations.rules import Labels, selection, text_not_found
from streams.stores import migrate
from streams.stores.database import Database

TENANT, ACTOR = "local", "local"
PROJECT = 1
TEXTS = 1000
TEXT_CHARACTERS = 1000
LABELS = 20
WRONG_EVERY = 100
SEED = 20

COLUMNS = (
    "project_id",
    "text_id",
    "label_id",
    "start_char",
    "end_char",
    "selected_text",
    "confidence_score",
    "metadata",
    "created_by",
    "created_at",
)

Row = tuple[Any, ...]


def contents() -> list[str]:
    """The texts of the project; text ``id`` is at ``id - 1``."""
    source = random.Random(SEED)
    letters = string.ascii_lowercase + "     éö€"
    return ["".join(source.choices(letters, k=TEXT_CHARACTERS)) for _ in range(TEXTS)]


def wrong(count: int) -> int:
    """How many of ``count`` items are wrong."""
    return sum(1 for position in range(count) if is_wrong(position))


def is_wrong(position: int) -> bool:
    """Whether the item at a position is one of those that are wrong."""
    return position % WRONG_EVERY == WRONG_EVERY // 2


def written(folder: Path, count: int) -> Path:
    """A file in the folder with ``count`` items as NDJSON, made when it is not there yet."""
    path = folder / f"{count}.ndjson"
    if not path.exists():
        source, texts = random.Random(SEED), contents()
        with path.open("wb") as file:
            for position in range(count):
                file.write(orjson.dumps(_item(position, count, source, texts)) + b"\n")
    return path


def _item(position: int, count: int, source: random.Random, texts: list[str]) -> dict[str, Any]:
    text_id = position * TEXTS // count + 1
    start = source.randrange(TEXT_CHARACTERS - 20)
    end = start + source.randrange(3, 20)
    item = {
        "text_id": text_id,
        "start_char": start,
        "end_char": end,
        "label_id": source.randrange(LABELS) + 1,
        "selected_text": texts[text_id - 1][start:end],
        "confidence_score": round(source.random(), 3),
    }
    if is_wrong(position):
        faults = ({"start_char": -1}, {"text_id": TEXTS + 1}, {"end_char": 5000}, {"label_id": 99})
        item |= faults[position // WRONG_EVERY % len(faults)]
    return item


def create(database: Database) -> None:
    """Our schema by our migrations, with the project, its texts and its labels."""
    migrate.upgrade(database)
    database.write_now(_fill)


def _fill(connection: Connection) -> None:
    """The database counts from 1 by itself: were it told ids, its first one would be taken."""
    own = {"version": 1, "tenant": TENANT, "created_by": ACTOR, "created_at": 0.0}
    connection.execute(insert(tables.projects), [own | {"name": "benchmark"}])
    connection.execute(
        insert(tables.texts),
        [own | {"project_id": PROJECT, "content": content} for content in contents()],
    )
    connection.execute(
        insert(tables.labels),
        [
            own | {"project_id": PROJECT, "name": f"label {number}"}
            for number in range(1, LABELS + 1)
        ],
    )


@dataclass(frozen=True)
class Rules:
    """What a script loads once, and asks for every item."""

    texts: dict[int, str]
    labels: Labels

    def row(self, line: bytes | str) -> Row | Failed:
        """The row of an item, or what is wrong with it; raises pydantic's ValidationError."""
        item = NewAnnotation.model_validate_json(line)
        content = self.texts.get(item.text_id)
        if content is None:
            return text_not_found(item.text_id, PROJECT)
        selected = selection(content, item.start_char, item.end_char, item.selected_text)
        label = self.labels.resolve(item.label_id, item.label)
        if isinstance(selected, Failed):
            return selected
        if isinstance(label, Failed):
            return label
        return (
            PROJECT,
            item.text_id,
            label,
            item.start_char,
            item.end_char,
            selected,
            item.confidence_score,
            as_text(item.metadata),
            ACTOR,
            0.0,
        )


def lines(path: Path) -> Iterator[bytes]:
    """The items of a file, one at a time."""
    with path.open("rb") as file:
        yield from file
