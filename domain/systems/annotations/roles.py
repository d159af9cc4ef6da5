"""Roles: what somebody may do in a project. Each may do what the ones before it may. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class ProjectRole(StrEnum):
    """As what somebody takes part in a project."""

    VIEWER = "viewer"
    """Reads."""
    ANNOTATOR = "annotator"
    """Writes annotations, one by one and in bulk."""
    MANAGER = "manager"
    """Has a say over texts, images, labels and members, and deletes in bulk."""
    ADMIN = "admin"
    """Has a say over the project itself, and over managers."""

    def covers(self, needed: ProjectRole) -> bool:
        """Whether who has this role may do what takes the other one."""
        return _RANK[self] >= _RANK[needed]


_RANK: Final = {role: rank for rank, role in enumerate(ProjectRole)}


def roles_that_cover(needed: ProjectRole) -> list[ProjectRole]:
    """The roles that will do where one is needed, the least first."""
    return [role for role in ProjectRole if role.covers(needed)]
