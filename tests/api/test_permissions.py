"""Permissions: each route with its own alone, with all but it, and with what it takes besides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import orjson
import pytest

from api.app import ROUTES
from api.dashboard.serving import FILE
from api.ports import Verb
from api.rules import KNOWN, OPEN, Rule
from api.unmatched import PATTERN
from domain.permissions import EVERY_PERMISSION, HELD, CallerRole, Permission
from tests.api.matrix import CLOSED, NEEDING, filled, named, requests
from tests.api.proofs import bearer
from tests.api.shop import Shop
from tests.api.test_tenants import JOBS, NOBODYS, answer_to, shop

__all__ = ["shop"]


def holding(*permissions: Permission) -> dict[str, str]:
    return bearer("acme", *permissions)


def without(permission: Permission) -> dict[str, str]:
    return holding(*sorted(EVERY_PERMISSION - {permission}))


def lacked(body: bytes) -> str:
    """The permission that a problem names; empty for any other answer."""
    problem = orjson.loads(body) if body.startswith(b'{"type"') else {}
    if problem.get("code") != "permission_lacking":
        return ""
    return str(problem["detail"]).partition("lacks the permission ")[2].partition(" ")[0]


def test_every_route_has_a_rule_and_what_is_open_is_named() -> None:
    assert all(isinstance(route.rule, Rule) for route in ROUTES)
    # Whatever nothing answers to is told so, also where a form was sent.
    assert [route.path for route in ROUTES if replace(route.rule, form=False) == OPEN] == [
        "/api/v1/openapi.json",
        "/",
        FILE,
        "/docs",
        "/docs/style.css",
        "/problems",
        "/health/live",
        "/health/ready",
        "/metrics",
        PATTERN,
    ]
    assert [route.path for route in ROUTES if route.rule is KNOWN] == ["/api/v1/me"]
    # A ticket lets somebody see what they may see.
    writing = [r for r in CLOSED if r.method == "POST" and not r.path.endswith("/ticket")]
    assert all(route.rule.permission not in (None, Permission.VIEW) for route in writing)


def test_every_verb_has_its_route() -> None:
    paths = {named(route)[1] for route in CLOSED}
    assert {f"JOB/{verb}" for verb in get_args(Verb)} <= paths


def test_every_permission_is_asked_for_somewhere() -> None:
    asked = {route.rule.permission for route in CLOSED}
    besides = {permission for route in CLOSED for permission in route.rule.also}
    assert (asked | besides) - {None} == EVERY_PERMISSION


def test_what_a_route_takes_besides_is_in_the_matrix() -> None:
    named_besides = {(*named(r), permission) for r in CLOSED for permission in r.rule.also}
    assert named_besides == set(NEEDING)


def test_roles_hold_what_the_guide_says() -> None:
    mine = {Permission.VIEW, Permission.SUBMIT, Permission.UNDO, Permission.EXPORT}
    mine.add(Permission.PARTICIPATE)
    assert HELD[CallerRole.MEMBER] == {Permission.PARTICIPATE}
    assert HELD[CallerRole.EDITOR] == mine
    assert Permission.OPERATE not in HELD[CallerRole.ADMIN]
    assert Permission.APPROVE not in HELD[CallerRole.STEWARD]


async def test_each_route_takes_its_permission_and_no_other_will_do(shop: Shop) -> None:
    for route in CLOSED:
        permission = route.rule.permission
        for asked in requests(route, NOBODYS):
            if permission is None:
                assert (await answer_to(shop, asked, holding()))[0] == 200
                continue
            status, body = await answer_to(shop, asked, without(permission))
            assert (status, lacked(body)) == (403, permission), asked
            enough = holding(permission, *route.rule.also)
            status, body = await answer_to(shop, asked, enough)
            assert status not in (401, 403), f"{asked}: {body!r}"
            assert status < 500, f"{asked}: {body!r}"


async def test_what_takes_more_is_refused_without_it(shop: Shop) -> None:
    """On jobs that destroy: a draft, a finished one and a dry run, made by who may."""
    root = holding(*EVERY_PERMISSION)
    kinds: list[dict[str, Any]] = [
        {"draft": True},
        {"items": [{"id": 1, "amount": 0}]},
        {"items": [{"id": 1, "amount": 0}], "options": {"dry_run": True}},
    ]
    rules = {named(route): route.rule for route in CLOSED}
    for kind in kinds:
        job = await shop.post(JOBS, json={"operation": "stock.wipe", **kind}, headers=root)
        if "draft" not in kind:
            await shop.settled(job, headers=root)
        ids = {**NOBODYS, "JOB": job["links"]["self"], "OTHER": job["job_id"]}
        version = (await shop.get(ids["JOB"], headers=root))["version"]
        for (method, path, permission), how in NEEDING.items():
            asked = filled(method, path, how, ids)
            own = rules[method, path].permission
            assert own is not None
            if _is_of_no_plan(path, job):
                continue
            status, body = await answer_to(shop, asked, without(permission))
            assert (status, lacked(body)) == (403, permission), f"{asked}: {body!r}"
            alone = holding(own)
            status, body = await answer_to(shop, asked, alone)
            assert (status, lacked(body)) == (403, permission), f"{asked}: {body!r}"
        assert (await shop.get(ids["JOB"], headers=root))["version"] == version


def _is_of_no_plan(path: str, job: Any) -> bool:
    """What is applied is a dry run; of any other job it is refused for that."""
    return path.endswith("/apply") and not job["options"].get("dry_run")


@pytest.mark.parametrize("verb", ["pause", "cancel"])
async def test_what_stops_a_job_that_destroys_takes_no_more_than_submit(
    shop: Shop, verb: str
) -> None:
    root = holding(*EVERY_PERMISSION)
    job = await shop.post(JOBS, json={"operation": "stock.wipe", "draft": True}, headers=root)
    asked = filled("POST", f"JOB/{verb}", {}, {"JOB": job["links"]["self"]})
    status, _ = await answer_to(shop, asked, holding(Permission.SUBMIT))
    assert status in (202, 409)
