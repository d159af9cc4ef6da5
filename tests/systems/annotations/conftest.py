"""A project with two texts and two labels, and another tenant's."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from domain.systems.annotations import operations
from streams.stores.database import Database
from tests.databases import database, database_url, shared_database
from tests.systems.bench import Workbench

__all__ = ["bench", "database", "database_url", "ground", "shared_bench", "shared_database"]

TEXT = "Ada wrote to Charles. 🐍 bites."
OTHER = "naïve"


@dataclass(frozen=True)
class Ground:
    """Ids of what is there at first."""

    project: int
    text: int
    other: int
    person: int
    thing: int
    foreign_project: int
    foreign_text: int
    foreign_label: int


@pytest.fixture
def bench(database: Database) -> Workbench:
    return Workbench(database, operations)


@pytest.fixture(scope="module")
def shared_bench(shared_database: Database) -> Workbench:
    """One for all examples of a property."""
    return Workbench(shared_database, operations)


@pytest.fixture
def ground(bench: Workbench) -> Ground:
    (project,) = bench.make("annotations.create_projects", [{"name": "letters"}])
    text, other = bench.make(
        "annotations.create_texts",
        [{"project_id": project, "content": content} for content in (TEXT, OTHER)],
    )
    person, thing = bench.make(
        "annotations.create_labels",
        [{"project_id": project, "name": name} for name in ("person", "thing")],
    )
    return Ground(project, text, other, person, thing, *_foreign(bench))


def _foreign(bench: Workbench) -> tuple[int, int, int]:
    """Another tenant's project, text and label."""
    (project,) = bench.make("annotations.create_projects", [{"name": "x"}], tenant="other")
    (text,) = bench.make(
        "annotations.create_texts", [{"project_id": project, "content": TEXT}], tenant="other"
    )
    (label,) = bench.make(
        "annotations.create_labels", [{"project_id": project, "name": "theirs"}], tenant="other"
    )
    return project, text, label
