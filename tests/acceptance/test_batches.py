"""Batches of jobs and jobs after one another, on a whole installation: order, results, undo."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.acceptance.stack import Stack
from tests.crash.client import JOBS, Client, Document

BATCHES = "/api/v1/batches"


class Project:
    """A project of the platform, and the names of its labels."""

    def __init__(self, client: Client) -> None:
        self.client = client
        made = client.ask("POST", "/api/v1/projects", {"name": uuid.uuid4().hex}, status=201)
        self.number = int(made["project_id"])

    def labels(self, *names: str) -> list[Document]:
        """Items that make labels of these names."""
        return [{"project_id": self.number, "name": name} for name in names]

    @property
    def names(self) -> set[str]:
        """Those that there are."""
        path = f"/api/v1/projects/{self.number}/labels"
        return {label["name"] for label in self.client.ask("GET", path)["items"]}

    def batch(self, *steps: Document) -> Document:
        """A batch that has come to rest."""
        sent = {"name": "Gazetteer", "steps": steps}
        batch = self.client.ask("POST", BATCHES, sent, key=uuid.uuid4().hex, status=202)
        return self.client.settle(batch["job_id"])

    def undo(self, job_id: str, **which: Any) -> Document:
        """The batch once as much of it is undone."""
        assert self.client.attempt(job_id, "undo", uuid.uuid4().hex, document=which)
        return self.client.settle(job_id)


@pytest.fixture
def project(stack: Stack) -> Project:
    return Project(Client(stack.url))


def _made(name: str, items: list[Document], **more: Any) -> Document:
    return {"name": name, "operation": "annotations.create_labels", "items": items, **more}


def test_steps_take_results_and_are_undone_down_to_a_savepoint(project: Project) -> None:
    batch = project.batch(
        _made("labels", project.labels("SEA", "RIVER"), savepoint="labelled"),
        _made("more", project.labels("LAKE"), after=["labels"], priority=8),
        {
            "name": "drop",
            "operation": "annotations.delete_labels",
            "after": ["more", {"step": "labels", "consume": {"id": "id"}}],
        },
    )
    assert batch["status"] == "completed"
    assert [step["status"] for step in batch["steps"]] == ["completed"] * 3
    assert project.names == {"LAKE"}

    project.undo(batch["job_id"], to="labelled")
    assert project.names == {"SEA", "RIVER"}

    assert project.undo(batch["job_id"])["status"] == "rolled_back"
    assert project.names == set()


def test_what_comes_behind_a_failure_is_skipped_and_other_branches_go_on(project: Project) -> None:
    twice = project.labels("SEA", "SEA")
    batch = project.batch(
        _made("broken", twice, options={"tolerate": [{"failed": 0}]}),
        _made("behind", project.labels("LAKE"), after=["broken"]),
        _made("beside", project.labels("HILL")),
    )
    by_name = {step["name"]: step for step in batch["steps"]}
    assert by_name["beside"]["status"] == "completed"
    assert by_name["behind"]["counts"]["skipped"] == 1
    assert "LAKE" not in project.names
    assert "HILL" in project.names

    project.undo(batch["job_id"], branch="beside")
    assert "HILL" not in project.names


def test_a_job_comes_after_another_and_takes_what_has_succeeded(project: Project) -> None:
    client, key = project.client, uuid.uuid4().hex
    made = client.submit(
        f"{key}-made", "annotations.create_labels", project.labels("SEA", "SEA", "LAKE")
    )
    sent = {
        "operation": "annotations.delete_labels",
        "options": {"after": [{"job_id": made, "end": "partly", "consume": {"id": "id"}}]},
    }
    taking = client.ask("POST", JOBS, sent, key=f"{key}-taking", status=202)["job_id"]
    assert client.settle(taking)["counts"]["succeeded"] == 2
    assert client.job(made)["counts"]["failed"] == 1
    assert project.names == set()


def test_steps_that_wait_for_one_another_are_named_and_nothing_is_accepted(
    project: Project,
) -> None:
    steps = [
        _made("one", project.labels("A"), after=["two"]),
        _made("two", project.labels("B"), after=["one"]),
    ]
    refused = project.client.ask("POST", BATCHES, {"steps": steps}, status=422)
    assert "one" in str(refused)
    assert "two" in str(refused)
    assert project.names == set()
