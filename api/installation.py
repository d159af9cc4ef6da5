"""Installation: who works in it, and how tenants share its workers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from api import bodies
from api.answers import answer
from api.edge import edge
from api.models import checked
from api.parameters import Parameters
from domain.values import Value
from streams.stores.workers import WorkerRow

MAX_WEIGHT = 1000.0


class Share(Value):
    """The body that gives a tenant another share."""

    weight: Annotated[float, Field(gt=0, le=MAX_WEIGHT, allow_inf_nan=False)]


async def workers(request: web.Request) -> web.Response:
    """The workers that are alive, with what they use of the machine."""
    own = edge(request)
    Parameters(request, ())
    found = await own.situation.workers()
    return answer({"items": [_worker(row) for row in found]})


async def weights(request: web.Request) -> web.Response:
    """The tenants that have another share than 1."""
    own = edge(request)
    Parameters(request, ())
    found = sorted((await own.situation.weights()).items())
    return answer({"items": [{"tenant": name, "weight": weight} for name, weight in found]})


async def weigh(request: web.Request) -> web.Response:
    """Another share for a tenant, from now on."""
    own = edge(request)
    Parameters(request, ())
    body = await bodies.read_optional(request, own.limits)
    weight = checked(Share, body, own.limits.json_depth).weight
    tenant = request.match_info["tenant"]
    await own.situation.weigh(tenant, weight)
    return answer({"tenant": tenant, "weight": weight})


def moment_of(seconds: float) -> str:
    """Seconds since the epoch as ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _worker(row: WorkerRow) -> dict[str, Any]:
    alive = max(row.seen_at - row.started_at, 0.0)
    return {
        "name": row.name,
        "systems": list(row.systems),
        "slots": row.slots,
        "host": row.host,
        "process": row.process,
        "memory_bytes": row.rss,
        "memory_budget_bytes": row.memory_budget,
        "held_since": None if row.held_since is None else moment_of(row.held_since),
        "cpu_seconds": round(row.cpu_seconds, 2),
        "cpu_percent": round(100 * row.cpu_seconds / alive, 1) if alive else None,
        "alive_seconds": round(alive, 1),
    }
