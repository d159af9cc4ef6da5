"""Our own operations keep the contract that the kit asks of everybody's."""

from __future__ import annotations

import pytest

from countermand_testing import Case, Given
from countermand_testing.generated import undo_restores
from countermand_testing.suite import ContractSuite
from domain.systems.annotations import operations
from streams.bootstrap.plugins import installed_operations

TEXT = "Ada wrote to Charles."
SPANS = [(0, 3), (4, 9), (10, 12), (13, 20), (20, 21)]
PROJECT = Given("annotations.create_projects", [{"name": "letters"}])
TEXTS = Given("annotations.create_texts", [{"project_id": 1, "content": TEXT}])
LABELS = Given(
    "annotations.create_labels", [{"project_id": 1, "name": name} for name in ("person", "thing")]
)
NEW = [{"text_id": 1, "label": "person", "start_char": s, "end_char": e} for s, e in SPANS]
IN_PROJECT = {"project_id": 1}
MORE = [{"project_id": 1, "name": f"l{n}"} for n in range(3)]
MADE = Given("annotations.create", NEW, IN_PROJECT)
FILES = [{"project_id": 1, "file_name": f"{n}.png", "width": 640, "height": 480} for n in range(5)]
IMAGES = Given("annotations.create_images", FILES)
PEOPLE = [{"project_id": 1, "subject": f"p{n}", "role": "viewer"} for n in range(5)]
MEMBERS = Given("annotations.create_members", PEOPLE)
NEW_BOXES = [{"image_id": n, "label": "person", "bbox": [n, 0.5, 10, 20]} for n in range(1, 6)]
BOXES = Given("annotations.create_boxes", NEW_BOXES, IN_PROJECT)


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
        items=[{"id": n, "colour": "red"} for n in (1, 2)] * 2,
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


class TestCreateProjects(ContractSuite):
    case = Case(
        kind="annotations.create_projects",
        operations=operations,
        items=[{"name": f"p{n}", "description": "é" * n} for n in range(5)],
    )


class TestUpdateProjects(ContractSuite):
    case = Case(
        kind="annotations.update_projects",
        operations=operations,
        given=[Given("annotations.create_projects", [{"name": f"p{n}"} for n in range(4)])],
        items=[{"id": n, "description": f"{n}"} for n in range(1, 5)],
        failing=[{"id": 9, "name": "x"}, {"id": 1, "name": "x", "version": 2}],
    )


class TestUpdateTexts(ContractSuite):
    case = Case(
        kind="annotations.update_texts",
        operations=operations,
        given=[PROJECT, TEXTS, TEXTS, TEXTS, TEXTS],
        items=[{"id": n, "content": f"{n}", "metadata": {"n": n}} for n in range(1, 5)],
        failing=[{"id": 9, "content": "x"}],
    )


class TestDeleteTexts(ContractSuite):
    case = Case(
        kind="annotations.delete_texts",
        operations=operations,
        given=[PROJECT, TEXTS, TEXTS, TEXTS, TEXTS, LABELS, MADE],
        items=[{"id": n} for n in range(2, 5)],
        failing=[{"id": 1}, {"id": 9}],
    )


class TestCreateLabels(ContractSuite):
    case = Case(
        kind="annotations.create_labels",
        operations=operations,
        given=[PROJECT],
        items=[{"project_id": 1, "name": f"l{n}", "colour": "red"} for n in range(5)],
        failing=[{"project_id": 9, "name": "x"}],
    )


class TestDeleteLabels(ContractSuite):
    case = Case(
        kind="annotations.delete_labels",
        operations=operations,
        given=[PROJECT, LABELS, Given("annotations.create_labels", MORE), TEXTS, MADE],
        items=[{"id": n} for n in range(2, 6)],
        failing=[{"id": 1}, {"id": 99}],
    )


class TestCreateMembers(ContractSuite):
    case = Case(
        kind="annotations.create_members",
        operations=operations,
        given=[PROJECT],
        items=PEOPLE,
        failing=[{"project_id": 9, "subject": "x", "role": "viewer"}, {"project_id": 1}],
    )


class TestUpdateMembers(ContractSuite):
    case = Case(
        kind="annotations.update_members",
        operations=operations,
        given=[PROJECT, MEMBERS],
        items=[{"id": n, "role": "manager"} for n in range(1, 6)],
        failing=[{"id": 9, "role": "viewer"}, {"id": 1, "role": "king"}],
    )


class TestDeleteMembers(ContractSuite):
    case = Case(
        kind="annotations.delete_members",
        operations=operations,
        given=[PROJECT, MEMBERS],
        items=[{"id": n} for n in range(1, 6)],
        failing=[{"id": 9}],
    )


class TestCreateImages(ContractSuite):
    case = Case(
        kind="annotations.create_images",
        operations=operations,
        given=[PROJECT],
        items=FILES,
        failing=[FILES[0] | {"project_id": 9}, FILES[0] | {"width": 0}],
    )


class TestUpdateImages(ContractSuite):
    case = Case(
        kind="annotations.update_images",
        operations=operations,
        given=[PROJECT, IMAGES],
        items=[{"id": n, "width": n} for n in range(1, 6)],
        failing=[{"id": 9, "width": 1}, {"id": 1, "file_name": "1.png"}],
    )


class TestDeleteImages(ContractSuite):
    case = Case(
        kind="annotations.delete_images",
        operations=operations,
        given=[
            PROJECT,
            IMAGES,
            LABELS,
            Given("annotations.create_boxes", NEW_BOXES[:1], IN_PROJECT),
        ],
        items=[{"id": n} for n in range(2, 6)],
        failing=[{"id": 1}, {"id": 9}],
    )


class TestCreateBoxes(ContractSuite):
    case = Case(
        kind="annotations.create_boxes",
        operations=operations,
        given=[PROJECT, IMAGES, LABELS],
        params=IN_PROJECT,
        items=NEW_BOXES,
        failing=[
            NEW_BOXES[0] | {"bbox": [600, 0, 41, 1]},
            NEW_BOXES[0] | {"image_id": 9},
            NEW_BOXES[0] | {"label": "place"},
            NEW_BOXES[0] | {"polygon": [[0, 0], [1, 1], [641, 0]]},
        ],
    )


class TestUpdateBoxes(ContractSuite):
    case = Case(
        kind="annotations.update_boxes",
        operations=operations,
        given=[PROJECT, IMAGES, LABELS, BOXES],
        items=[{"id": n, "label": "thing", "bbox": [0, 0, n, n]} for n in range(1, 6)],
        failing=[{"id": 9, "label_id": 1}, {"id": 1, "version": 7}, {"id": 1, "label": "place"}],
    )


class TestDeleteBoxes(ContractSuite):
    case = Case(
        kind="annotations.delete_boxes",
        operations=operations,
        given=[PROJECT, IMAGES, LABELS, BOXES],
        items=[{"id": n} for n in range(1, 6)],
        failing=[{"id": 9}, {"id": 1, "version": 7}],
    )


class TestValidate(ContractSuite):
    case = Case(
        kind="annotations.validate",
        operations=operations,
        given=[PROJECT, TEXTS, LABELS, MADE],
        params=IN_PROJECT,
        items=[{"id": 1}, {"id": 2, "end_char": 8}, NEW[3], NEW[4]],
        failing=[{"id": 99}, NEW[0] | {"end_char": 99}],
    )


RANGE = {"kind": "range", "field": "length", "maximum": 9}
RULES = Given(
    "annotations.create_validation_rules",
    [{"project_id": 1, "name": f"r{n}", "definition": RANGE} for n in range(4)],
)


class TestCreateRules(ContractSuite):
    case = Case(
        kind="annotations.create_validation_rules",
        operations=operations,
        given=[PROJECT],
        items=[
            {"project_id": 1, "name": f"r{n}", "definition": RANGE, "labels": ["person"]}
            for n in range(4)
        ],
        failing=[{"project_id": 9, "name": "x", "definition": RANGE}],
    )


class TestUpdateRules(ContractSuite):
    case = Case(
        kind="annotations.update_validation_rules",
        operations=operations,
        given=[PROJECT, RULES],
        items=[{"id": n, "enabled": False, "severity": "info"} for n in range(1, 5)],
        failing=[{"id": 9, "enabled": True}, {"id": 1, "version": 7}],
    )


class TestDeleteRules(ContractSuite):
    case = Case(
        kind="annotations.delete_validation_rules",
        operations=operations,
        given=[PROJECT, RULES],
        items=[{"id": n} for n in range(1, 5)],
        failing=[{"id": 9}],
    )


PROJECTS = Given("annotations.create_projects", [{"name": f"p{n}"} for n in range(4)])
DEMANDS = Given(
    "annotations.create_validation_thresholds",
    [{"project_id": n, "threshold": 0.5} for n in range(1, 5)],
)


class TestCreateThresholds(ContractSuite):
    case = Case(
        kind="annotations.create_validation_thresholds",
        operations=operations,
        given=[PROJECTS],
        items=[
            {"project_id": n, "allow_overlaps": False, "severities": {"cut_word": "off"}}
            for n in range(1, 5)
        ],
        failing=[{"project_id": 9}],
    )


class TestUpdateThresholds(ContractSuite):
    case = Case(
        kind="annotations.update_validation_thresholds",
        operations=operations,
        given=[PROJECTS, DEMANDS],
        items=[{"id": n, "max_span": n} for n in range(1, 5)],
        failing=[{"id": 9, "max_span": 1}],
    )


class TestDeleteThresholds(ContractSuite):
    case = Case(
        kind="annotations.delete_validation_thresholds",
        operations=operations,
        given=[PROJECTS, DEMANDS],
        items=[{"id": n} for n in range(1, 5)],
        failing=[{"id": 9}],
    )


FOUND = [{"start_char": s, "end_char": e, "label": "thing"} for s, e in SPANS]
READ = {"content": TEXT, "key": "a", "annotations": FOUND}


class TestImportTexts(ContractSuite):
    case = Case(
        kind="texts.import",
        operations=operations,
        given=[PROJECT, LABELS],
        params=IN_PROJECT,
        items=[READ | {"content": f"{TEXT} {n}", "labels": [f"l{n}"]} for n in range(5)],
        failing=[
            READ | {"annotations": [*FOUND, FOUND[0] | {"label": "place"}]},
            READ | {"annotations": [FOUND[0] | {"end_char": 99}]},
            READ | {"annotations": [FOUND[0] | {"selected_text": "Bob"}]},
            READ | {"metadata": {"_file": {}}},
            READ | {"content": ""},
        ],
    )


DRAWN = {"bbox": [1, 2, 30, 40], "label": "thing", "polygons": [[[1, 2], [31, 2], [31, 42]]]}
SHOWN = {"file_name": "x.png", "width": 640, "height": 480, "boxes": [DRAWN, DRAWN]}


class TestImportImages(ContractSuite):
    case = Case(
        kind="annotations.import_images",
        operations=operations,
        given=[PROJECT, LABELS, IMAGES],
        params=IN_PROJECT,
        # Two of them are there already.
        items=[SHOWN | {"file_name": f"{n}.png", "key": f"{n}"} for n in (3, 4, 5, 6, 7)],
        failing=[
            SHOWN | {"boxes": [DRAWN, DRAWN | {"label": "place"}]},
            SHOWN | {"boxes": [DRAWN | {"bbox": [600, 0, 41, 1]}]},
            SHOWN | {"metadata": {"_file": {}}, "key": "x"},
            SHOWN | {"width": 0},
            SHOWN | {"file_name": "0.png", "width": 9},
        ],
    )


class TestExport(ContractSuite):
    case = Case(
        kind="annotations.export",
        operations=operations,
        given=[PROJECT, TEXTS, TEXTS, TEXTS, LABELS, MADE],
        params=IN_PROJECT | {"format": "conll"},
        items=[{"id": n} for n in (1, 2, 3)],
    )


class TestExportImages(ContractSuite):
    case = Case(
        kind="annotations.export_images",
        operations=operations,
        given=[PROJECT, IMAGES, LABELS, BOXES],
        params=IN_PROJECT | {"format": "yolo"},
        items=[{"id": n} for n in range(1, 6)],
    )


MAPPINGS = [{"project_id": 1, "name": f"m{n}", "mapping": {"content": "text"}} for n in range(4)]
MAPPED = Given("annotations.create_mappings", MAPPINGS)


class TestCreateMappings(ContractSuite):
    case = Case(
        kind="annotations.create_mappings",
        operations=operations,
        given=[PROJECT],
        items=MAPPINGS,
        failing=[MAPPINGS[0] | {"project_id": 9}, MAPPINGS[0] | {"mapping": {"x": {"y": 1}}}],
    )


class TestUpdateMappings(ContractSuite):
    case = Case(
        kind="annotations.update_mappings",
        operations=operations,
        given=[PROJECT, MAPPED],
        items=[{"id": n, "mapping": {"key": {"constant": n}}} for n in range(1, 5)],
        failing=[{"id": 9, "name": "x"}, {"id": 1, "name": "m1"}],
    )


class TestDeleteMappings(ContractSuite):
    case = Case(
        kind="annotations.delete_mappings",
        operations=operations,
        given=[PROJECT, MAPPED],
        items=[{"id": n} for n in range(1, 5)],
        failing=[{"id": 9}],
    )


SUITES = ContractSuite.__subclasses__()


def test_every_operation_that_ships_is_under_the_contract() -> None:
    here = {suite.case.kind for suite in SUITES if suite.__module__ == __name__}
    assert here == {operation.kind for operation in installed_operations()}


@pytest.mark.parametrize(
    "case", [TestCreate.case, TestUpdate.case, TestDelete.case], ids=lambda case: case.kind
)
def test_whatever_the_items_are_undo_restores(case: Case) -> None:
    undo_restores(case, examples=8)
