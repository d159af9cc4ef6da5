"""Our own operations keep the contract that the kit asks of everybody's."""

from __future__ import annotations

from countermand_testing import Case, Given
from countermand_testing.suite import ContractSuite
from domain.systems.annotations import operations

TEXT = "Ada wrote to Charles."
SPANS = [(0, 3), (4, 9), (10, 12), (13, 20), (20, 21)]
PROJECT = Given("annotations.create_projects", [{"name": "letters"}])
TEXTS = Given("annotations.create_texts", [{"project_id": 1, "content": TEXT}])
LABELS = Given(
    "annotations.create_labels", [{"project_id": 1, "name": name} for name in ("person", "thing")]
)
NEW = [{"text_id": 1, "label": "person", "start_char": s, "end_char": e} for s, e in SPANS]
IN_PROJECT = {"project_id": 1}
MADE = Given("annotations.create", NEW, IN_PROJECT)


class TestCreate(ContractSuite):
    case = Case(
        kind="annotations.create",
        operations=operations,
        given=[PROJECT, TEXTS, LABELS],
        params=IN_PROJECT,
        items=NEW,
        failing=[NEW[0] | {"end_char": 99}, NEW[0] | {"label": "place"}],
    )


class TestUpdate(ContractSuite):
    case = Case(
        kind="annotations.update",
        operations=operations,
        given=[PROJECT, TEXTS, LABELS, MADE],
        items=[{"id": n, "label": "thing", "confidence_score": 0.5} for n in range(1, 6)],
        failing=[{"id": 99, "label_id": 1}, {"id": 1, "version": 7}, {"id": 1, "end_char": 99}],
    )


class TestDelete(ContractSuite):
    case = Case(
        kind="annotations.delete",
        operations=operations,
        given=[PROJECT, TEXTS, LABELS, MADE],
        items=[{"id": n} for n in range(1, 6)],
        failing=[{"id": 99}, {"id": 1, "version": 7}],
    )


class TestCreateTexts(ContractSuite):
    case = Case(
        kind="annotations.create_texts",
        operations=operations,
        given=[PROJECT],
        items=[{"project_id": 1, "content": f"{n} {TEXT}"} for n in range(5)],
        failing=[{"project_id": 9, "content": TEXT}],
    )


class TestUpdateLabels(ContractSuite):
    case = Case(
        kind="annotations.update_labels",
        operations=operations,
        given=[PROJECT, LABELS],
        items=[{"id": n, "colour": c} for c in ("red", "blue") for n in (1, 2)],
        failing=[{"id": 9, "colour": "red"}, {"id": 1, "name": "thing"}],
    )


class TestDeleteProjects(ContractSuite):
    case = Case(
        kind="annotations.delete_projects",
        operations=operations,
        given=[Given("annotations.create_projects", [{"name": f"p{n}"} for n in range(5)]), TEXTS],
        items=[{"id": n} for n in range(2, 6)],
        failing=[{"id": 1}, {"id": 99}],
    )
