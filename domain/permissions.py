"""Permissions: what callers may do with the jobs of their tenant, and roles. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final


class Permission(StrEnum):
    """What may be allowed or not; all but ``operate`` within one tenant."""

    VIEW = "view"
    SUBMIT = "submit"
    RUN_DESTRUCTIVE = "run_destructive"
    """Besides ``submit``, for operations that are declared destructive."""
    APPROVE = "approve"
    UNDO = "undo"
    EXPORT = "export"
    """Besides ``view``: everything in one stream, not page by page."""
    PARTICIPATE = "participate"
    """In the projects of systems that have some, as far as one's role in each of them allows."""
    ADMINISTER = "administer"
    """Who else may do what, by the tenant's API keys; and what is kept of its jobs."""
    OPERATE = "operate"
    """The installation that all tenants share: its workers, and whose work goes first."""


class CallerRole(StrEnum):
    """A name for permissions that go together."""

    MEMBER = "member"
    VIEWER = "viewer"
    AUDITOR = "auditor"
    EDITOR = "editor"
    STEWARD = "steward"
    APPROVER = "approver"
    ADMIN = "admin"
    OPERATOR = "operator"


EVERY_PERMISSION: Final = frozenset(Permission)

_MEMBER = frozenset({Permission.PARTICIPATE})
_VIEWER = _MEMBER | {Permission.VIEW}
_EDITOR = _VIEWER | {Permission.SUBMIT, Permission.UNDO, Permission.EXPORT}

HELD: Final[Mapping[CallerRole, frozenset[Permission]]] = {
    CallerRole.MEMBER: _MEMBER,
    CallerRole.VIEWER: _VIEWER,
    CallerRole.AUDITOR: _VIEWER | {Permission.EXPORT},
    CallerRole.EDITOR: _EDITOR,
    CallerRole.STEWARD: _EDITOR | {Permission.RUN_DESTRUCTIVE},
    CallerRole.APPROVER: _VIEWER | {Permission.APPROVE},
    CallerRole.ADMIN: EVERY_PERMISSION - {Permission.OPERATE},
    CallerRole.OPERATOR: frozenset({Permission.OPERATE}),
}
"""Who administers a tenant has no say over the others: ``operate`` is a role of its own.

A ``member`` does in a project what their role there allows, and sees nothing else of the tenant:
all the others may do what they may with every job and record of it.
"""

GRANTS: Final[Mapping[str, frozenset[Permission]]] = {
    **{role.value: held for role, held in HELD.items()},
    **{one.value: frozenset({one}) for one in Permission},
}
"""What can be granted by its name: a role, or a permission by itself."""


def granted(names: Iterable[str]) -> frozenset[Permission]:
    """The permissions of roles and of permissions by their names; other names grant nothing.

    An identity provider's tokens carry roles of other programs as well.
    """
    return frozenset[Permission]().union(*(GRANTS.get(name, ()) for name in names))


def roles_with(permission: Permission) -> list[str]:
    """The roles that hold a permission."""
    return [role.value for role, held in HELD.items() if permission in held]
