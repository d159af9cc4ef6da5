"""annotations.create: what is made, what is refused, and that it can be undone."""

from __future__ import annotations

from typing import Any

from domain.outcomes import Conflicted, Restored
from domain.systems.annotations import tables
from streams.stores.records.together import KNOWN_ROWS
from tests.systems.annotations.conftest import TEXT, Ground
from tests.systems.bench import NOW, Workbench, document, fault


def create(bench: Workbench, ground: Ground, *items: Any, **options: Any) -> list[Any]:
    params = {"project_id": ground.project}
    return bench.work("annotations.create", items, params=params, **options)


def span(ground: Ground, **values: Any) -> dict[str, Any]:
    """A right item, some values changed; ``None`` leaves one out."""
    item = {"text_id": ground.text, "label_id": ground.person, "start_char": 0, "end_char": 3}
    return {key: value for key, value in (item | values).items() if value is not None}


def test_an_annotation_is_made_with_all_its_columns(bench: Workbench, ground: Ground) -> None:
    (result,) = create(
        bench,
        ground,
        span(ground, confidence_score=0.5, metadata={"källa": ["b", 1.5, None]}),
        actor="bert",
    )
    key = document(result)["id"]
    assert document(result) == {"id": key}
    assert bench.rows(tables.annotations) == {
        key: {
            "id": key,
            "version": 1,
            "tenant": "local",
            "project_id": ground.project,
            "text_id": ground.text,
            "label_id": ground.person,
            "start_char": 0,
            "end_char": 3,
            "selected_text": "Ada",
            "confidence_score": 0.5,
            "metadata": '{"källa":["b",1.5,null]}',
            "created_by": "bert",
            "created_at": NOW.timestamp(),
            "updated_by": None,
            "updated_at": None,
        }
    }


def test_labels_by_name_and_offsets_in_code_points(bench: Workbench, ground: Ground) -> None:
    start = TEXT.index("🐍")
    results = create(
        bench,
        ground,
        span(ground, label_id=None, label="thing", start_char=start, end_char=start + 1),
        span(ground, text_id=ground.other, start_char=2, end_char=3, selected_text="ï"),
    )
    rows = bench.rows(tables.annotations)
    first, second = (rows[document(result)["id"]] for result in results)
    assert (first["selected_text"], first["label_id"]) == ("🐍", ground.thing)
    assert (second["selected_text"], second["metadata"]) == ("ï", "{}")


def test_each_wrong_item_fails_alone_and_says_how(bench: Workbench, ground: Ground) -> None:
    far = len(TEXT)
    cases: list[tuple[dict[str, Any], tuple[str, str, bool]]] = [
        (span(ground, text_id=999_999), ("text_not_found", "/text_id", True)),
        (span(ground, text_id=ground.foreign_text), ("text_not_found", "/text_id", True)),
        (span(ground, label_id=999_999), ("label_not_found", "/label_id", True)),
        (span(ground, label_id=ground.foreign_label), ("label_not_found", "/label_id", True)),
        (span(ground, label_id=None, label="theirs"), ("label_not_found", "/label", True)),
        (span(ground, label="person"), ("invalid", "/label_id", False)),
        (span(ground, label_id=None), ("invalid", "/label_id", False)),
        (span(ground, end_char=far + 1), ("span_out_of_range", "/end_char", False)),
        (span(ground, start_char=3), ("span_out_of_range", "/start_char", False)),
        (span(ground, selected_text="ada"), ("text_mismatch", "/selected_text", False)),
        (span(ground, start_char=-1), ("invalid", "/start_char", False)),
        (span(ground, confidence_score=1.01), ("invalid", "/confidence_score", False)),
        (span(ground, text_id="1"), ("invalid", "/text_id", False)),
        (span(ground, text_id=2**63), ("invalid", "/text_id", False)),
        (span(ground, colour="red"), ("invalid", "/colour", False)),
    ]
    items = [item for wrong, _ in cases for item in (wrong, span(ground))]
    results = create(bench, ground, *items)
    # Numbers in quotes are read as numbers; the item is right.
    lenient = 12
    for index, (_, expected) in enumerate(cases):
        if index == lenient:
            document(results[2 * index])
        else:
            assert fault(results[2 * index]) == expected
        document(results[2 * index + 1])
    assert len(bench.rows(tables.annotations)) == len(cases) + 1


def test_a_label_of_another_project_is_not_found(bench: Workbench, ground: Ground) -> None:
    (project,) = bench.make("annotations.create_projects", [{"name": "second"}])
    (label,) = bench.make("annotations.create_labels", [{"project_id": project, "name": "place"}])
    by_id = span(ground, label_id=label)
    by_name = span(ground, label_id=None, label="place")
    for result in create(bench, ground, by_id, by_name):
        assert fault(result)[0] == "label_not_found"


def test_a_text_of_another_project_is_not_found(bench: Workbench, ground: Ground) -> None:
    (project,) = bench.make("annotations.create_projects", [{"name": "second"}])
    (result,) = bench.work("annotations.create", [span(ground)], params={"project_id": project})
    assert fault(result)[0] == "text_not_found"


def test_more_texts_than_are_held_in_memory_at_once(bench: Workbench, ground: Ground) -> None:
    count = KNOWN_ROWS + 6
    texts = bench.make(
        "annotations.create_texts",
        [{"project_id": ground.project, "content": f"text {n}"} for n in range(count)],
    )
    items = [
        span(ground, text_id=text, start_char=5, end_char=5 + len(str(n)))
        for n, text in reversed(list(enumerate(texts)))
    ]
    results = create(bench, ground, *items)
    rows = bench.rows(tables.annotations)
    found = [rows[document(result)["id"]]["selected_text"] for result in results]
    assert found == [str(n) for n in reversed(range(count))]


def test_creation_is_undone_but_for_what_changed_since(bench: Workbench, ground: Ground) -> None:
    results = create(bench, ground, span(ground), span(ground, text_id=7_777), span(ground))
    first, last = (document(results[index])["id"] for index in (0, 2))
    bench.work(
        "annotations.update", [{"id": last, "confidence_score": 1}], actor="bert", job="job-2"
    )
    undone = bench.undo(-2)
    assert undone[0] == Restored()
    assert 1 not in undone
    assert isinstance(undone[2], Conflicted)
    assert (undone[2].record, undone[2].by) == (f"annotations/{last}", "job-2")
    assert set(bench.rows(tables.annotations)) == {last}
    assert first not in bench.rows(tables.annotations)


def test_what_was_missing_can_be_made_and_the_item_tried_again(
    bench: Workbench, ground: Ground
) -> None:
    item = span(ground, label_id=None, label="place")
    assert fault(create(bench, ground, item)[0]) == ("label_not_found", "/label", True)
    bench.make("annotations.create_labels", [{"project_id": ground.project, "name": "place"}])
    document(create(bench, ground, item)[0])
