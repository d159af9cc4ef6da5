"""Callers: who asks something of the engine, and what they may ask."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from domain.errors import PermissionLacking
from domain.permissions import EVERY_PERMISSION, Held, Permission, roles_with


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: whose jobs they see, who goes into the audit trail, and what is allowed.

    One that is made without permissions is this process itself, which may do everything.
    """

    tenant: str
    actor: str
    permissions: frozenset[Permission] = EVERY_PERMISSION
    in_projects: Held = frozenset()
    """What holds for the jobs of some project alone."""

    @property
    def grants(self) -> list[str]:
        """All of it by name, as it can be granted again."""
        projects = (f"{permission.value}@{project}" for project, permission in self.in_projects)
        return sorted([*(permission.value for permission in self.permissions), *projects])

    def projects_with(self, permission: Permission) -> frozenset[str]:
        """The projects in which the caller has the permission."""
        return frozenset(project for project, held in self.in_projects if held is permission)

    def of(self, projects: Iterable[str]) -> Caller:
        """The caller as they stand to a job of these projects."""
        named = set(projects)
        more = {held for project, held in self.in_projects if project in named}
        return replace(self, permissions=self.permissions | more)

    def demand(self, permission: Permission) -> None:
        """Raise PermissionLacking unless the caller has the permission."""
        if permission not in self.permissions:
            raise PermissionLacking(
                f"{self.actor} lacks the permission {permission.value} in tenant {self.tenant}; "
                f"roles that hold it: {', '.join(roles_with(permission))}",
                permission=permission.value,
            )
