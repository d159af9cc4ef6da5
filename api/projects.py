"""Projects: callers some of whose permissions hold for the jobs of some projects alone.

What a request may do is settled before its handler runs: where the path names jobs, by the tags
of those; else the permission must hold in the whole tenant, but for the few routes whose handlers
narrow what they show (``scope``) or take (``submitting``).
"""

from __future__ import annotations

from dataclasses import replace

from aiohttp import web

from api.edge import IDENTITY, caller, edge
from domain.commands import JobSpec
from domain.errors import InvalidCommand, JobNotFound, PermissionLacking
from domain.permissions import PROJECT, Permission, projects_of
from streams.callers import Caller

_IN_PATH = ("job_id", "other")


async def as_of_jobs(request: web.Request, permission: Permission) -> None:
    """Take the caller for what they are to the jobs in the path.

    Raises JobNotFound for one that they may neither see nor do that to, as if it were not there.
    """
    identity = request[IDENTITY]
    who = identity.caller
    if not who.in_projects:
        return
    allowed = who.of(project for project, _ in who.in_projects).permissions
    for name in _IN_PATH:
        if name in request.match_info:
            held = (await _towards(request, request.match_info[name])).permissions
            if held.isdisjoint({Permission.VIEW, permission}):
                raise JobNotFound.of(request.match_info[name])
            allowed &= held
    request[IDENTITY] = replace(identity, caller=replace(who, permissions=allowed))


def scope(request: web.Request) -> frozenset[str]:
    """Tags of which a job must have one to be shown to the caller; empty for all that there is."""
    who = caller(request)
    projects = who.projects_with(Permission.VIEW)
    if not projects or Permission.VIEW in who.permissions:
        who.demand(Permission.VIEW)
        return frozenset()
    return frozenset(PROJECT + project for project in projects)


async def submitting(request: web.Request, spec: JobSpec) -> Caller:
    """The caller as they are to a job that they are about to submit.

    Raises PermissionLacking unless they may submit to each project that it names, and there is
    one, or to the whole tenant; and InvalidCommand for a job to come after that is not theirs.
    """
    who, projects = caller(request), projects_of(spec.tags)
    if not who.in_projects:
        return who
    if Permission.SUBMIT not in who.permissions:
        for project in sorted(projects):
            who.of({project}).demand(Permission.SUBMIT)
        if not projects:
            own = ", ".join(PROJECT + name for name in sorted(who.projects_with(Permission.SUBMIT)))
            raise PermissionLacking(
                f"{who.actor} may submit to some projects alone; give the job one of the tags "
                f"{own}",
                permission=Permission.SUBMIT.value,
            )
    await _check_sources(request, spec)
    return who.of(projects)


async def _check_sources(request: web.Request, spec: JobSpec) -> None:
    """What a job waits for, takes its items from or does for good is something that one may see."""
    if Permission.VIEW in caller(request).permissions:
        return
    for number, each in enumerate(spec.options.after):
        if not await _is_seen(request, each.job_id):
            raise InvalidCommand(
                f"there is no job {each.job_id} to come after; submit that one first",
                pointer=f"/options/after/{number}/job_id",
            )
    plan = spec.options.plan
    if plan is not None and not await _is_seen(request, plan.job_id):
        raise JobNotFound.of(plan.job_id)


async def _is_seen(request: web.Request, job_id: str) -> bool:
    try:
        return Permission.VIEW in (await _towards(request, job_id)).permissions
    except JobNotFound:
        return False


async def _towards(request: web.Request, job_id: str) -> Caller:
    """The caller as they are to a job."""
    who = caller(request)
    job = await edge(request).queries.job(who.tenant, job_id)
    return who.of(projects_of(job.spec.tags))
