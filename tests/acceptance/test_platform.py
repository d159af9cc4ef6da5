"""The annotation platform on a whole installation: a project, many annotations, one edit, undo."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from tests.acceptance.stack import Stack

WITHIN = 60.0
COUNT = 3000
WORDS = "Ada wrote to Charles. " * 20
SOCKET = "/api/v1/batch/ws/connect"


class Platform:
    """A client with a project of its own."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.path = ""
        self.text = self.label = self.number = 0

    async def ask(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        given = {} if body is None else {"json": body}
        async with self._session.request(method, path, **given) as response:
            assert response.status == status, await response.text()
            return await response.json()

    async def begin(self) -> None:
        project = await self.ask("POST", "/api/v1/projects", {"name": "letters"}, 201)
        self.number = project["project_id"]
        self.path = f"/api/v1/projects/{self.number}"
        text = await self.ask("POST", f"{self.path}/texts", {"content": WORDS}, 201)
        label = await self.ask("POST", f"{self.path}/labels", {"name": "WORD"}, 201)
        self.text, self.label = text["text_id"], label["label_id"]

    async def create(self, **options: Any) -> Any:
        spans = [
            {"text_id": self.text, "label_id": self.label, "start_char": n % 400, "end_char": 402}
            for n in range(COUNT)
        ]
        body = {"project_id": self.number, "annotations": spans, **options}
        return await self.ask("POST", "/api/v1/batch/annotations/create", body, 202)

    async def followed(self, number: int) -> tuple[str, dict[str, Any]]:
        """The message with which an operation ends, over the WebSocket."""
        async with self._session.ws_connect(SOCKET) as socket:
            await socket.send_json({"action": "subscribe", "operation_id": number})
            while True:
                said = await socket.receive_json()
                if said["type"] in ("operation_completed", "operation_failed"):
                    return said["type"], said["data"]

    async def count(self) -> int:
        page = await self.ask("GET", f"{self.path}/annotations?limit=1")
        return int(page["total"])


async def test_what_is_made_in_bulk_is_undone_but_for_a_single_edit(
    stack: Stack,
) -> None:
    async with asyncio.timeout(WITHIN), aiohttp.ClientSession(stack.url) as session:
        platform = Platform(session)
        await platform.begin()
        operation = await platform.create(chunk_size=50)
        kind, told = await platform.followed(operation["operation_id"])
        assert (kind, told["succeeded"]) == ("operation_completed", COUNT)
        assert await platform.count() == COUNT
        history = await platform.ask("GET", f"{operation['links']['history']}?db_log_interval=0")
        assert history["items"][-1]["processed"] == COUNT
        first = (await platform.ask("GET", f"{platform.path}/annotations?limit=1"))["items"][0]
        path = f"{platform.path}/annotations/{first['id']}"
        await platform.ask("PATCH", path, {"confidence_score": 0.5})
        job = f"/api/v1/jobs/{operation['job_id']}"
        await platform.ask("POST", f"{job}/undo", {}, 202)
        await platform.followed(operation["operation_id"])
        undone = await platform.ask("GET", operation["links"]["status"])
        assert (undone["rolled_back"], undone["conflict"]) == (COUNT - 1, 1)
        assert await platform.count() == 1
        assert (await platform.ask("GET", path))["confidence_score"] == 0.5


async def test_one_failure_undoes_all_that_was_made(stack: Stack) -> None:
    async with asyncio.timeout(WITHIN), aiohttp.ClientSession(stack.url) as session:
        platform = Platform(session)
        await platform.begin()
        body = {
            "project_id": platform.number,
            "annotations": [
                {"text_id": platform.text, "label_id": label, "start_char": 0, "end_char": 3}
                for label in [platform.label] * 500 + [999_999]
            ],
            "rollback_on_error": True,
        }
        path = "/api/v1/batch/annotations/create"
        operation = await platform.ask("POST", path, body, 202)
        kind, told = await platform.followed(operation["operation_id"])
        assert (kind, told["status"], told["succeeded"]) == ("operation_failed", "rolled_back", 0)
        assert await platform.count() == 0
