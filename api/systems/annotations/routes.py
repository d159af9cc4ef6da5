"""Routes of the annotation platform, each with its rule.

All of them take ``participate``: what somebody may do in a project, their role there says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from api.rules import Route, insisting, needs
from api.systems.annotations import bulk, exporting, importing, records, reports, socket
from api.systems.annotations.bulk_bodies import OF_ANNOTATIONS, OF_BOXES, Bodies
from api.systems.annotations.operation_documents import OPERATIONS, SOCKET
from domain.permissions import Permission
from domain.systems.annotations.formats.contract import Subject
from domain.systems.annotations.kinds import IN_PROJECTS, PROJECTS, Kind
from domain.systems.annotations.roles import ProjectRole

_TAKING_PART = needs(Permission.PARTICIPATE)
_SENDING = replace(_TAKING_PART, form=True)
_ALL: Final = records.PROJECTS_PATH
_PROJECT: Final = f"{_ALL}/{{project_id:[0-9]{{1,19}}}}"
_OPERATION: Final = f"{OPERATIONS}/{{operation_id:[0-9]{{1,19}}}}"


def _one(kind: Kind, path: str) -> Iterator[Route]:
    yield Route("GET", path, records.show(kind), _TAKING_PART)
    yield Route("PATCH", path, records.change(kind), insisting(_TAKING_PART))
    yield Route("DELETE", path, records.delete(kind), insisting(_TAKING_PART))


def _of(kind: Kind) -> Iterator[Route]:
    path = f"{_PROJECT}/{kind.path}"
    yield Route("GET", path, records.index(kind), _TAKING_PART)
    yield Route("POST", path, records.create(kind), _TAKING_PART)
    yield from _one(kind, f"{path}/{{{kind.one}_id:[0-9]{{1,19}}}}")


def _many(bodies: Bodies) -> Iterator[Route]:
    path = f"/api/v1/batch/{bodies.kind.name}"
    create = bulk.submit(bodies.creates, ProjectRole.ANNOTATOR)
    update = bulk.submit(bodies.updates, ProjectRole.ANNOTATOR)
    delete = bulk.submit(bodies.deletes, ProjectRole.MANAGER)
    yield Route("POST", f"{path}/create", create, _TAKING_PART)
    yield Route("PUT", f"{path}/update", update, _TAKING_PART)
    yield Route("DELETE", f"{path}/delete", delete, _TAKING_PART)


ROUTES: Final[tuple[Route, ...]] = (
    Route("GET", _ALL, records.projects, _TAKING_PART),
    Route("POST", _ALL, records.create_project, needs(Permission.SUBMIT)),
    *_one(PROJECTS, _PROJECT),
    *(route for kind in IN_PROJECTS for route in _of(kind)),
    *_many(OF_ANNOTATIONS),
    *_many(OF_BOXES),
    Route("POST", importing.IMPORT, importing.submit(None), _SENDING),
    Route("POST", importing.IMPORT_IMAGES, importing.submit(Subject.IMAGE), _SENDING),
    Route("POST", exporting.EXPORT, exporting.submit, _TAKING_PART),
    Route("GET", OPERATIONS, bulk.index, _TAKING_PART),
    Route("GET", f"{_OPERATION}/status", bulk.status, _TAKING_PART),
    Route("GET", f"{_OPERATION}/history", bulk.history, _TAKING_PART),
    Route("GET", f"{_OPERATION}/events", bulk.live, _TAKING_PART),
    Route("GET", f"{_OPERATION}/import", importing.summary, _TAKING_PART),
    Route("GET", f"{_OPERATION}/rejects", importing.rejects, _TAKING_PART),
    Route("GET", f"{_OPERATION}/export", exporting.report, _TAKING_PART),
    Route("GET", f"{_OPERATION}/download", exporting.file, _TAKING_PART),
    Route("DELETE", f"{_OPERATION}/cancel", bulk.cancel, insisting(_TAKING_PART)),
    Route("GET", SOCKET, socket.connect, replace(_TAKING_PART, late=True)),
    *(
        Route("GET", f"{_PROJECT}/reports/{name}", reports.report(draw), _TAKING_PART)
        for name, draw in reports.REPORTS.items()
    ),
)
