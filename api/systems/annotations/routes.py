"""Routes of the annotation platform, each with its rule.

All of them take ``participate``: what somebody may do in a project, their role there says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from api.rules import Route, needs
from api.systems.annotations import records, reports
from domain.permissions import Permission
from domain.systems.annotations.kinds import IN_PROJECTS, PROJECTS, Kind

_TAKING_PART = needs(Permission.PARTICIPATE)
_ALL: Final = records.PROJECTS_PATH
_PROJECT: Final = f"{_ALL}/{{project_id:[0-9]{{1,19}}}}"


def _one(kind: Kind, path: str) -> Iterator[Route]:
    yield Route("GET", path, records.show(kind), _TAKING_PART)
    yield Route("PATCH", path, records.change(kind), _TAKING_PART)
    yield Route("DELETE", path, records.delete(kind), _TAKING_PART)


def _of(kind: Kind) -> Iterator[Route]:
    path = f"{_PROJECT}/{kind.name}"
    yield Route("GET", path, records.index(kind), _TAKING_PART)
    yield Route("POST", path, records.create(kind), _TAKING_PART)
    yield from _one(kind, f"{path}/{{{kind.one}_id:[0-9]{{1,19}}}}")


ROUTES: Final[tuple[Route, ...]] = (
    Route("GET", _ALL, records.projects, _TAKING_PART),
    Route("POST", _ALL, records.create_project, needs(Permission.SUBMIT)),
    *_one(PROJECTS, _PROJECT),
    *(route for kind in IN_PROJECTS for route in _of(kind)),
    *(
        Route("GET", f"{_PROJECT}/reports/{name}", reports.report(draw), _TAKING_PART)
        for name, draw in reports.REPORTS.items()
    ),
)
