"""What else the client can ask for: drafts, filters, batches, plans, keys, and a WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from countermand_client import (
    AsyncClient,
    Client,
    ForbiddenError,
    InvalidRequestError,
    Message,
    PlanChangedError,
    ProblemError,
    UnauthenticatedError,
    UnreachableError,
)
from tests.api.shop import Shop
from tests.api.test_tenants import shop
from tests.unit.streams.identity.signing import token

__all__ = ["shop"]

ROOT = token(sub="ada", tenant="acme", roles=["admin"])
THINGS = [{"name": "a"}, {"name": "b"}]
ALL = {"table": "stock", "each": {"amount": 1}, "confirm": "all"}


def _url(shop: Shop) -> str:
    return f"http://127.0.0.1:{shop.port}"


@pytest.fixture
async def client(shop: Shop) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(_url(shop), token=ROOT) as client:
        yield client


async def test_a_draft_gets_its_items_in_parts(client: AsyncClient) -> None:
    draft = await client.draft("stock.create", name="in parts", tags=["t"], priority=7, key="d")
    assert (draft.status, draft.name, draft.tags, draft.priority) == (
        "draft",
        "in parts",
        ("t",),
        7,
    )
    assert (
        await client.draft("stock.create", name="in parts", tags=["t"], priority=7, key="d")
    ) == draft
    for _ in range(2):  # a part that is sent again is there once
        await client.append(draft.job_id, 0, iter(THINGS))
    await client.append(draft.job_id, 1, [{"name": "c"}])
    with pytest.raises(ProblemError):
        await client.seal(draft.job_id, items=4)
    await client.seal(draft.job_id, items=3)
    ended = await client.wait(draft.job_id, timeout=30)
    assert (ended.status, ended.counts.succeeded) == ("completed", 3)


async def test_a_filter_a_plan_and_what_it_does(client: AsyncClient) -> None:
    made = await client.submit("stock.create", THINGS)
    await client.wait(made.job_id, timeout=30)
    with pytest.raises(InvalidRequestError, match="confirm"):
        await client.select("stock.add", {"table": "stock", "each": {"amount": 1}})
    dry = await client.select("stock.add", ALL, options={"dry_run": True})
    await client.wait(dry.job_id, timeout=30)
    plan = await client.plan(dry.job_id)
    assert (plan.counts.total, plan.changed, plan.applied_by) == (2, (), None)
    changed = await client.select("stock.add", ALL)
    await client.wait(changed.job_id, timeout=30)
    plan = await client.plan(dry.job_id)
    assert {(one.table, one.planned, one.version) for one in plan.changed} == {("stock", 1, 2)}
    with pytest.raises(PlanChangedError):
        await client.apply(dry.job_id)
    again = await client.select("stock.add", ALL, options={"dry_run": True})
    await client.wait(again.job_id, timeout=30)
    digest = (await client.plan(again.job_id)).digest
    done = await client.apply(again.job_id, digest=digest)
    assert (await client.wait(done.job_id, timeout=30)).counts.succeeded == 2
    assert (await client.plan(again.job_id)).applied_by == done.job_id


async def test_a_batch_is_one_job_of_several(client: AsyncClient) -> None:
    steps = [
        {"name": "first", "operation": "stock.create", "items": THINGS},
        {"name": "second", "operation": "stock.create", "items": THINGS, "after": ["first"]},
    ]
    batch = await client.batch(steps, name="both", tags=["t"], priority=3, key="b")
    assert (batch.name, batch.tags, batch.priority) == ("both", ("t",), 3)
    assert [step["name"] for step in batch.steps] == ["first", "second"]
    again = await client.batch(steps, name="both", tags=["t"], priority=3, key="b")
    assert again.job_id == batch.job_id
    ended = await client.wait(batch.job_id, timeout=30)
    assert (ended.status, ended.counts.succeeded) == ("completed", 4)


async def test_keys_are_made_rotated_listed_and_revoked(shop: Shop, client: AsyncClient) -> None:
    made = await client.create_key("importer", ["submit", "view"])
    assert made.key
    assert made.key not in repr(made)
    async with AsyncClient(_url(shop), token=made.key) as service:
        job = await service.submit("stock.create", THINGS)
        assert job.created_by == "key:importer"
        with pytest.raises(ForbiddenError):
            await service.create_key("another", ["view"])
    rotated = await client.rotate_key(made.key_id, overlap=60)
    assert (rotated.key_id, rotated.key != made.key) == (made.key_id, True)
    await client.create_key("reader", ["view"])
    listed = [key async for key in client.api_keys(page=1)]
    assert [(key.name, key.key) for key in listed] == [("importer", ""), ("reader", "")]
    assert (await client.revoke_key(made.key_id)).revoked_at is not None
    async with AsyncClient(_url(shop), token=rotated.key) as service:
        with pytest.raises(UnauthenticatedError):
            await service.job(job.job_id)


async def test_a_websocket_follows_several_and_says_when_it_is_lost(
    shop: Shop, client: AsyncClient
) -> None:
    job = await client.submit("stock.create", THINGS, tags=["t"])
    async with asyncio.timeout(30), client.live() as live:
        await live.follow(job_id=job.job_id, after=0, ref="one")
        await live.follow(tag="odd", ref="two")
        await live.follow(tag="odd", ref="again")
        await live.leave(tag="odd", ref="two")
        await live.ask_statistics(ref="figures")
        await live.broadcast("to all")
        seen: dict[str, Message] = {}
        wanted = {"subscribed", "completion", "error", "unsubscribed", "statistics", "broadcast"}
        async for message in live:
            seen[message.type] = message
            if wanted <= seen.keys():
                break
        assert seen["error"].data["code"] == "already_subscribed"
        assert seen["error"].data["ref"] == "again"
        assert seen["completion"].data["job_id"] == job.job_id
        assert seen["statistics"].data["ref"] == "figures"
        assert seen["broadcast"].data["text"] == "to all"
        await shop.close()
        with pytest.raises(UnreachableError, match="position"):
            async for _ in live:
                pass


async def test_a_websocket_is_refused_as_anything_else_is(shop: Shop) -> None:
    async with AsyncClient(_url(shop), token="nonsense") as stranger:
        with pytest.raises(UnauthenticatedError):
            async with stranger.live():
                raise AssertionError("there is none")


async def test_the_client_without_asyncio_has_all_of_it(shop: Shop) -> None:
    def talk() -> list[str]:
        with Client(_url(shop), token=ROOT) as client:
            draft = client.draft("stock.create")
            client.append(draft.job_id, 0, THINGS)
            client.seal(draft.job_id)
            client.wait(draft.job_id, timeout=30)
            dry = client.select("stock.add", ALL, options={"dry_run": True})
            client.wait(dry.job_id, timeout=30)
            client.apply(dry.job_id, digest=client.plan(dry.job_id).digest)
            client.batch([{"name": "a", "operation": "stock.create", "items": THINGS}])
            made = client.create_key("importer", ["view"])
            client.revoke_key(made.key_id)
            client.rotate_key(client.create_key("other", ["view"]).key_id)
            seen = [key.name for key in client.api_keys()]
            with client.live() as live:
                live.follow(job_id=draft.job_id, after=0)
                live.ask_statistics()
                live.leave(job_id=draft.job_id)
                live.broadcast("done")
                for message in live:
                    if message.type == "broadcast":
                        return seen
        return []

    assert await asyncio.to_thread(talk) == ["importer", "other"]
