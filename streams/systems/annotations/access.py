"""Access: who somebody is in a project. What one may not see is not there."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, select

from domain.errors import RecordNotFound, RoleLacking
from domain.permissions import Permission
from domain.systems.annotations import tables
from domain.systems.annotations.roles import ProjectRole, roles_that_cover
from streams.callers import Caller


@dataclass(frozen=True, slots=True)
class Seat:
    """Somebody in a project, and as what."""

    caller: Caller
    project_id: int
    role: ProjectRole

    def demand(self, needed: ProjectRole, what: str) -> None:
        """Raise RoleLacking unless the role will do; ``what`` says what for."""
        if not self.role.covers(needed):
            raise RoleLacking(
                f"{what} takes a role in project {self.project_id} that {self.caller.actor} does "
                f"not have ({self.role.value}); roles that will do: "
                f"{', '.join(roles_that_cover(needed))}"
            )


def seat_of(connection: Connection, caller: Caller, project_id: int) -> Seat:
    """Who the caller is there; raises RecordNotFound for a project that they may not see."""
    projects, members = tables.projects.c, tables.members.c
    there = connection.scalar(
        select(projects.id).where(projects.id == project_id, projects.tenant == caller.tenant)
    )
    role = None
    if there is not None and administers(caller):
        role = ProjectRole.ADMIN.value
    elif there is not None:
        role = connection.scalar(
            select(members.role).where(
                members.tenant == caller.tenant,
                members.project_id == project_id,
                members.subject == caller.actor,
            )
        )
    if role is None:
        raise RecordNotFound(f"there is no project {project_id}; GET /api/v1/projects lists them")
    return Seat(caller, project_id, ProjectRole(role))


def administers(caller: Caller) -> bool:
    """Whether the caller is an administrator of all projects of the tenant."""
    return Permission.ADMINISTER in caller.permissions


def visible(caller: Caller, project_id: ColumnElement[int]) -> ColumnElement[bool]:
    """The condition that a project is one which the caller may see."""
    projects, members = tables.projects.c, tables.members.c
    mine = select(projects.id).where(projects.tenant == caller.tenant)
    if not administers(caller):
        mine = select(members.project_id).where(
            members.tenant == caller.tenant, members.subject == caller.actor
        )
    return project_id.in_(mine)
