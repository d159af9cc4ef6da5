"""Permissions: what callers may do with the jobs of their tenant, and roles. Pure.

A grant is the name of a role or of a permission, and holds in the whole tenant; ``editor@letters``
holds for the jobs of the project ``letters`` alone, which are those with the tag
``project:letters``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
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


PROJECT: Final = "project:"
"""What the tag begins with that says of which project a job is."""
_IN_PROJECT: Final = re.compile(r"(?P<name>[a-z_]+)@(?P<project>[^\s@\x00-\x1f\x7f]{1,80})")

Held = frozenset[tuple[str, Permission]]
"""Permissions, each with the project for whose jobs it holds."""


def granted(names: Iterable[str]) -> frozenset[Permission]:
    """The permissions of roles and of permissions by their names; other names grant nothing.

    An identity provider's tokens carry roles of other programs as well.
    """
    return frozenset[Permission]().union(*(GRANTS.get(name, ()) for name in names))


def granted_in_projects(names: Iterable[str]) -> Held:
    """What grants such as ``editor@letters`` hold; other names, again, grant nothing."""
    return frozenset(_held_in_projects(names))


def _held_in_projects(names: Iterable[str]) -> Iterator[tuple[str, Permission]]:
    for found in filter(None, map(_IN_PROJECT.fullmatch, names)):
        for permission in GRANTS.get(found["name"], ()):
            yield found["project"], permission


def is_grant(name: str) -> bool:
    """Whether something can be granted by this name."""
    found = _IN_PROJECT.fullmatch(name)
    return (name if found is None else found["name"]) in GRANTS


def projects_of(tags: Iterable[str]) -> frozenset[str]:
    """The projects that a job with these tags is of; few jobs are of several."""
    return frozenset(tag.removeprefix(PROJECT) for tag in tags if tag.startswith(PROJECT))


def roles_with(permission: Permission) -> list[str]:
    """The roles that hold a permission."""
    return [role.value for role, held in HELD.items() if permission in held]
