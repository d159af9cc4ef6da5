"""Jobs on the records that a filter matches, frozen with their versions: rule 23."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from domain.commands import JobSpec, SubmitJob
from domain.errors import SelectionUnconfirmed
from domain.record_filter import RecordSelection
from tests.model.callers import pick
from tests.model.keeping import KeptMachine
from tests.model.kinds import Kind, selectable, upload
from tests.model.tables import JobTables

filters = st.one_of(
    st.just(("all", "all")),
    st.tuples(
        st.sampled_from(("all", "none", "new", "changed")), st.sampled_from((None, "all", "none"))
    ),
)
"""What is to match, and what is said to be meant: all, or none."""
calms = st.sampled_from((0, 0, 8))


class SelectingMachine(KeptMachine):
    """Jobs whose items are what a filter has found among the records of another one."""

    @precondition(lambda self: self._has_room() and any(map(_has_some, self.store.jobs.values())))
    @rule(which=pick, kind=selectable, wanted=filters, late=st.none() | pick, calm=calms)
    def select(
        self, which: int, kind: Kind, wanted: tuple[str, str | None], late: int | None, calm: int
    ) -> None:
        """``late``: somebody changes a record after the filter was frozen."""
        match, confirm = wanted
        able = [tables for tables in self.store.jobs.values() if _has_some(tables)]
        source = able[which % len(able)]
        found = {n: r.version for n, r in enumerate(source.records) if _meets(match, r.version)}
        selection = RecordSelection.model_validate({"table": "records", "confirm": confirm})
        try:
            selection.require_confirmed(len(found), len(source.records))
        except SelectionUnconfirmed:
            assert confirm != ("none" if not found else "all"), "it was said to be meant"
            return
        manifest = self.store.name("upload")
        self.store.manifests[manifest] = (source.job_id, found)
        tables = self._new_job(self.store.name("job"), replace(kind, items=len(found)))
        spec = JobSpec(operation="model.work", options=kind.options, select=selection)
        sent = upload(len(found)).model_copy(update={"upload_id": manifest})
        if late is not None:
            self._edit(source, late)
        self._ask(SubmitJob, tables.job_id, spec=spec, source=sent)
        self._flow(calm, room=3)


def _has_some(tables: JobTables) -> bool:
    return bool(tables.records) and not tables.steps


def _meets(match: str, version: int) -> bool:
    if match in ("all", "none"):
        return match == "all"
    return (version == 1) == (match == "new")
