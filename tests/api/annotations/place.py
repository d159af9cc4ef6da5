"""Place: a project to try things in, and people of all roles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from tests.api.proofs import bearer
from tests.api.shop import Shop

TEXT = "Ada wrote to Charles."
PROJECTS = "/api/v1/projects"
ROLES = ("viewer", "annotator", "manager", "admin")
BOSS = bearer("acme", "admin", actor="boss")


def by(role: str, tenant: str = "acme") -> dict[str, str]:
    """Somebody of that name, who has this role in the project and none in the tenant."""
    return bearer(tenant, "member", actor=role)


@dataclass
class Place:
    """A served platform with a project."""

    shop: Shop
    path: str

    @classmethod
    async def made(cls, shop: Shop) -> Place:
        place = cls(shop, "")
        project = await place.ask("POST", PROJECTS, {"name": "letters"}, status=201)
        place.path = f"{PROJECTS}/{project['project_id']}"
        await place.add("texts", content=TEXT)
        await place.add("labels", name="PERSON")
        await place.add("labels", name="PLACE")
        await place.add("images", file_name="a.png", width=640, height=480)
        for role in ROLES:
            await place.add("members", subject=role, role=role)
        return place

    @property
    def number(self) -> int:
        """The id of the project."""
        return int(self.path.rpartition("/")[2])

    async def add(self, kind: str, *, status: int = 201, who: Any = BOSS, **fields: Any) -> Any:
        """A new record of the project."""
        return await self.ask("POST", f"{self.path}/{kind}", fields, status=status, who=who)

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        status: int = 200,
        who: Any = BOSS,
        **options: Any,
    ) -> Any:
        """What is answered; ``body`` is JSON."""
        headers = {**who, **options.pop("headers", {})}
        given = {} if body is None else {"json": body}
        async with self.shop.client.request(
            method, path, headers=headers, **given, **options
        ) as response:
            text = await response.read()
            assert response.status == status, text
            return orjson.loads(text)

    async def get(self, kind: str, who: Any = BOSS, **query: Any) -> Any:
        """A page of the project's records."""
        return await self.ask("GET", f"{self.path}/{kind}", who=who, params=query)
