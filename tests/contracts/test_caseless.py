"""What is looked for is found in upper and in lower case, in any script, on both databases."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select

from domain.systems.annotations import tables
from domain.systems.annotations.kinds import PROJECTS
from streams.stores import migrate
from streams.stores.caseless import contains
from streams.stores.database import Database
from streams.stores.read_model import list_jobs
from streams.stores.schema import job_list
from streams.systems.annotations.reading import page
from tests.databases import database, database_url

__all__ = ["database", "database_url"]

NAMES = [
    "Ärger im Büro",
    "ÄRGER IM BÜRO",
    "Arger",
    "ΟΔΟΣ",
    "οδός und οδος",
    "ЖЁЛТЫЙ",
    "Straße",
    "100 % [roh]* für ^alle?",
    "日本語",
]


FOUND: dict[str, list[int]] = {
    "ärger": [0, 1],
    "ÄRGER IM BÜ": [0, 1],
    "BÜRO": [0, 1],
    "arger": [2],
    "RGER": [0, 1, 2],
    "οδος": [3, 4],
    "ΟΔΟΣ": [3, 4],
    "жёлтый": [5],
    "STRAẞE": [6],
    "straße": [6],
    "% [ROH]* FÜR ^ALLE?": [7],
    "[roh]* f": [7],
    "ü*": [],
    "f?r ü": [],
    "%ü": [],
    "_r ärger": [],
    "ä[r": [],
    "本": [8],
}


def _add_job(number: int, name: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "job_id": f"job-{number}",
        "tenant": "local",
        "name": name,
        "document": json.dumps({"name": name}),
    }
    row |= {
        "operation": "a.b",
        "system": "a",
        "status": "running",
        "tags": "[]",
        "priority": 5,
        "created_by": "eve",
    }
    return {**row, "created_at": float(number), "position": number, "version": 1}


def _fill(connection: Connection) -> None:
    connection.execute(insert(job_list), [_add_job(*one) for one in enumerate(NAMES)])
    made = {"version": 1, "tenant": "local", "created_by": "eve", "created_at": 0.0}
    connection.execute(insert(tables.projects), [{**made, "name": name} for name in NAMES])


@pytest.fixture
def filled(database: Database) -> Database:
    migrate.create_missing(database, [tables.projects])
    database.write_now(_fill)
    return database


def _jobs(database: Database, words: str) -> list[Any]:
    jobs = database.read_now(lambda connection: list_jobs(connection, "local", q=words))
    return [job["name"] for job in reversed(jobs.items)]


def _projects(database: Database, words: str) -> list[Any]:
    found = database.read_now(
        lambda connection: page(connection, PROJECTS, [], {"q": words}, limit=20, offset=0)
    )
    assert found.total == len(found.items)
    return [project["name"] for project in found.items]


@pytest.mark.parametrize("look", [_jobs, _projects])
def test_words_are_found_in_either_case(
    filled: Database, look: Callable[[Database, str], list[Any]]
) -> None:
    expected = {words: [NAMES[n] for n in found] for words, found in FOUND.items()}
    assert {words: look(filled, words) for words in FOUND} == expected


def test_no_alphabet_is_too_long_to_be_looked_for(filled: Database) -> None:
    every = "".join(map(chr, [*range(0xC0, 0x250), *range(0x370, 0x590), *range(0x10A0, 0x1100)]))
    statement = select(job_list.c.name).where(contains(job_list.c.name, every))
    assert filled.read_now(lambda connection: connection.scalars(statement).all()) == []
