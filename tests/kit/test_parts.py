"""Parts of exports: whoever dies meanwhile, the file is made of the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from countermand_testing.checks import TROUBLE
from countermand_testing.faults import NONE, Faults
from domain.operation import Context
from domain.outcomes import Result
from domain.systems.annotations.export_documents import unpacked
from domain.systems.annotations.export_terms import Exported
from domain.systems.annotations.exporting import export
from domain.systems.annotations.formats.documents import Document, TextDocument
from streams.stores.job_parts import parts_after
from tests.kit.test_our_operations import LABELS, MADE, PROJECT, TEXTS
from tests.kit.test_our_operations import TestExport as _Export

MANY = replace(
    _Export.case,
    given=[PROJECT, *[TEXTS] * 9, LABELS, MADE],
    items=[{"id": n} for n in (*range(1, 10), 99)],
)


def _exported(faults: Faults) -> list[Document]:
    """What a file would be made of, after such faults."""
    with MANY.bench() as bench:
        MANY.prepare(bench)
        job = MANY.run(bench, faults, chunk_size=2)
        assert (job.counts.succeeded, job.counts.skipped) == (9, 1)
        parts = bench.stages.database.read_now(lambda c: parts_after(c, job.id, -1, 99))
        return [document for _, data in parts for document in unpacked(data)]


def test_whoever_dies_every_text_is_there_once_and_in_order() -> None:
    found = _exported(TROUBLE)
    assert found == _exported(NONE)
    assert [len(text.spans) for text in found if isinstance(text, TextDocument)] == [5, *[0] * 8]


def test_what_is_read_by_a_retry_takes_its_place() -> None:
    broken = {3, 7}

    def apply(ctx: Context, items: Sequence[Exported]) -> list[Result]:
        results: list[Result] = export.apply(ctx, items)
        if broken & {item.id for item in items}:
            raise ValueError("after its parts were added")
        return results

    case = MANY.with_operation(replace(export, apply=apply))
    with case.bench() as bench:
        case.prepare(bench)
        options = {"chunk_size": 4}
        job = bench.run(case.kind, case.items, params=case.params, options=options)
        assert (job.status, job.counts.failed) == ("completed_with_errors", 2)
        broken.clear()
        assert job.retry().status == "completed"
        parts = bench.stages.database.read_now(lambda c: parts_after(c, job.id, -1, 99))
        found = [document for _, data in parts for document in unpacked(data)]
    assert found == _exported(NONE)
