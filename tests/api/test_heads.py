"""HEAD: what GET would answer, to the same callers, without the body."""

from __future__ import annotations

from typing import Any

from api.app import ROUTES
from api.documents import SOCKET
from api.systems.annotations.operation_documents import SOCKET as OPERATIONS_SOCKET
from tests.api.conftest import Site
from tests.api.matrix import Request, requests
from tests.api.shop import Shop
from tests.api.test_tenants import NOBODYS, OURS, THEIRS, _ours, shop

__all__ = ["shop"]

SAME = ("Content-Type", "Content-Security-Policy", "Content-Disposition", "Content-Range", "Allow")
READ = [route for route in ROUTES if route.method == "GET" and not route.rule.late]


async def _asked(shop: Shop, method: str, asked: Request, headers: dict[str, str]) -> Any:
    given = {"headers": {**headers, **asked.headers}, "params": asked.query}
    async with shop.client.request(method, asked.path, **given) as response:
        if method == "HEAD":
            assert await response.read() == b""
        response.close()
        return response.status, [response.headers.get(name) for name in SAME]


async def test_it_says_what_get_says_and_ends(shop: Shop) -> None:
    """Of live streams and exports as well, which GET would go on with."""
    ours = await _ours(shop)
    for route in READ:
        for asked in requests(route, {**NOBODYS, **ours["finished"]}):
            for headers in (OURS, THEIRS):
                said = await _asked(shop, "HEAD", asked, headers)
                assert said == await _asked(shop, "GET", asked, headers), asked


async def test_it_may_have_a_condition(site: Site) -> None:
    async with site.client.head("/api/v1/openapi.json") as response:
        tag, size = response.headers["ETag"], int(response.headers["Content-Length"])
    assert size > 1000
    async with site.client.head("/api/v1/openapi.json", headers={"If-None-Match": tag}) as again:
        assert again.status == 304


async def test_a_websocket_is_opened_by_get_alone(site: Site) -> None:
    wanted = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    wanted["Sec-WebSocket-Key"] = "AQIDBAUGBwgJCgsMDQ4PEA=="
    for path in (SOCKET, OPERATIONS_SOCKET):
        async with site.client.head(path, headers=wanted) as response:
            assert (response.status, response.headers["Allow"]) == (405, "GET")
