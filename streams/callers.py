"""Callers: who asks something of the engine, and what they may ask."""

from __future__ import annotations

from dataclasses import dataclass

from domain.errors import PermissionLacking
from domain.permissions import EVERY_PERMISSION, Permission, roles_with


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: whose jobs they see, who goes into the audit trail, and what is allowed.

    One that is made without permissions is this process itself, which may do everything.
    """

    tenant: str
    actor: str
    permissions: frozenset[Permission] = EVERY_PERMISSION

    def demand(self, permission: Permission) -> None:
        """Raise PermissionLacking unless the caller has the permission."""
        if permission not in self.permissions:
            raise PermissionLacking(
                f"{self.actor} lacks the permission {permission.value} in tenant {self.tenant}; "
                f"roles that hold it: {', '.join(roles_with(permission))}",
                permission=permission.value,
            )
