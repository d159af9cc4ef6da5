"""API keys: shown once, kept as digests, taken back at once; a tenant's are its own."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from domain.errors import CredentialRefused, InvalidCommand, KeyNotFound, PermissionLacking
from domain.permissions import EVERY_PERMISSION, HELD, CallerRole, Permission
from streams.callers import Caller
from streams.clock import TimeOrderedIds
from streams.identity import ApiKeys, NewKey
from streams.identity.api_keys import MAX_OVERLAP, USED_EVERY
from streams.stores import api_keys as store
from streams.stores.database import Database
from streams.stores.schema_callers import api_keys as table

ADMIN = Caller("acme", "ada", HELD[CallerRole.ADMIN])
OTHER = Caller("other", "eve", HELD[CallerRole.ADMIN])


class Watch:
    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def keys(shared_database: Database, watch: Watch) -> ApiKeys:
    shared_database.write_now(lambda connection: connection.execute(table.delete()))
    return ApiKeys(
        database=shared_database, clock=watch, ids=TimeOrderedIds(), draw=secrets.token_hex
    )


async def made(keys: ApiKeys, name: str = "importer", *roles: str) -> NewKey:
    return await keys.create(ADMIN, name, roles or ("submit", "view"), None)


async def is_let_in(keys: ApiKeys, text: str) -> bool:
    try:
        await keys.identify(text)
    except CredentialRefused:
        return False
    return True


async def test_a_key_says_which_service_calls_and_what_it_may(keys: ApiKeys) -> None:
    key = await made(keys)

    identity = await keys.identify(key.text)

    assert identity.caller == Caller(
        "acme", "key:importer", frozenset({Permission.SUBMIT, Permission.VIEW})
    )
    assert await keys.holds(identity)


async def test_what_is_stored_is_no_key(keys: ApiKeys, shared_database: Database) -> None:
    key = await made(keys)
    rotated = await keys.rotate(ADMIN, key.row.key_id, 60)
    rows = shared_database.read_now(lambda connection: connection.execute(select(table)).all())

    for text in (key.text, rotated.text):
        secret = text.rpartition("_")[2]
        assert secret not in repr(rows)
        assert bytes.fromhex(secret) not in [value for row in rows for value in row]
        assert secret not in repr((await keys.page("acme", "", 10), rotated.row))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1] + ("0" if text[-1] != "0" else "1"),
        lambda text: text[:-1],
        lambda text: text + "0",
        lambda text: text.upper(),
        lambda text: text.replace("_", "-"),
        lambda text: f"cmk_{'0' * 32}_{text[-64:]}",
        lambda text: f"{text[:36]}_{'0' * 64}",
        lambda text: "cmk_" + "' OR 1=1 --",
        lambda text: "cmk_",
    ],
)
async def test_nothing_like_a_key_is_one(keys: ApiKeys, change: object) -> None:
    text = (await made(keys)).text
    assert await is_let_in(keys, text)
    assert callable(change)
    assert not await is_let_in(keys, change(text))


async def test_a_revoked_key_is_refused_for_ever(keys: ApiKeys, watch: Watch) -> None:
    key = await made(keys)
    identity = await keys.identify(key.text)
    gone = await keys.revoke(ADMIN, key.row.key_id)
    watch.seconds += 5

    assert not await is_let_in(keys, key.text)
    assert not await keys.holds(identity)
    again = await keys.revoke(ADMIN, key.row.key_id)
    assert again.revoked_at == gone.revoked_at == 1_800_000_000.0
    with pytest.raises(InvalidCommand, match="was revoked"):
        await keys.rotate(ADMIN, key.row.key_id, 0)


async def test_a_key_ends_when_it_says_so(keys: ApiKeys, watch: Watch) -> None:
    key = await keys.create(ADMIN, "nightly", ["view"], watch.seconds + 60)
    identity = await keys.identify(key.text)
    assert identity.expires_at == watch.seconds + 60
    watch.seconds += 60

    assert not await is_let_in(keys, key.text)
    assert not await keys.holds(identity)
    with pytest.raises(InvalidCommand, match="has expired"):
        await keys.rotate(ADMIN, key.row.key_id, 0)
    with pytest.raises(InvalidCommand, match="expired already"):
        await keys.create(ADMIN, "late", ["view"], watch.seconds)


async def test_a_rotated_key_has_two_secrets_for_a_while(keys: ApiKeys, watch: Watch) -> None:
    old = await made(keys)
    identity = await keys.identify(old.text)
    new = await keys.rotate(ADMIN, old.row.key_id, 60)

    assert new.row.rotated_at == watch.seconds
    assert [await is_let_in(keys, key.text) for key in (old, new)] == [True, True]
    assert await keys.holds(identity)
    watch.seconds += 60
    assert [await is_let_in(keys, key.text) for key in (old, new)] == [False, True]
    assert not await keys.holds(identity), "a stream of the old secret ends as well"


async def test_of_two_rotations_at_once_the_secret_of_neither_is_lost(
    keys: ApiKeys, watch: Watch, shared_database: Database
) -> None:
    """The second has read the key before the first one wrote: PostgreSQL lets it."""
    key = await made(keys)
    read = shared_database.read_now(lambda c: store.find(c, key.row.key_id))
    assert read is not None
    first = await keys.rotate(ADMIN, key.row.key_id, 60)

    now, until = watch.seconds, watch.seconds + 60
    second = b"the digest of another secret...."
    shared_database.write_now(lambda c: store.rotate(c, read, second, now=now, until=until))

    assert await is_let_in(keys, first.text)
    assert not await is_let_in(keys, key.text), "the one before the one before counts no more"


async def test_without_an_overlap_the_old_secret_ends_at_once(keys: ApiKeys) -> None:
    old = await made(keys)
    new = await keys.rotate(ADMIN, old.row.key_id, 0)

    assert [await is_let_in(keys, key.text) for key in (old, new)] == [False, True]


@pytest.mark.parametrize("overlap", [-1, MAX_OVERLAP + 1, float("inf"), float("nan")])
async def test_an_overlap_has_its_limits(keys: ApiKeys, overlap: float) -> None:
    key = await made(keys)
    with pytest.raises(InvalidCommand):
        await keys.rotate(ADMIN, key.row.key_id, overlap)


async def test_the_last_use_is_noted_once_in_a_while(keys: ApiKeys, watch: Watch) -> None:
    key = await made(keys)
    seen = []
    for seconds in (0, USED_EVERY / 2, USED_EVERY):
        watch.seconds += seconds
        await keys.identify(key.text)
        (row,) = await keys.page("acme", "", 10)
        seen.append((row.last_used_at or 0) - 1_800_000_000.0)

    assert seen == [0, 0, 1.5 * USED_EVERY]


async def test_lists_page_and_show_revoked_ones(keys: ApiKeys) -> None:
    names = [f"service-{n}" for n in range(5)]
    rows = [(await made(keys, name)).row for name in names]
    await keys.revoke(ADMIN, rows[1].key_id)
    await keys.create(OTHER, "foreign", ["view"], None)

    first = await keys.page("acme", "", 3)
    rest = await keys.page("acme", first[-1].key_id, 3)

    found = [*first, *rest]
    assert {row.name for row in found} == {*names}
    assert [row.key_id for row in found] == sorted({row.key_id for row in rows})
    assert {row.name for row in found if row.revoked_at} == {"service-1"}


async def test_another_tenant_has_no_such_key(keys: ApiKeys) -> None:
    key = await made(keys)
    for work in (keys.rotate(OTHER, key.row.key_id, 0), keys.revoke(OTHER, key.row.key_id)):
        with pytest.raises(KeyNotFound):
            await work
    assert await is_let_in(keys, key.text)
    assert await keys.page("other", "", 10) == []


async def test_a_name_is_in_use_once(keys: ApiKeys) -> None:
    key = await made(keys)
    with pytest.raises(InvalidCommand, match="a key importer already"):
        await made(keys)
    await keys.create(OTHER, "importer", ["view"], None)
    await keys.revoke(ADMIN, key.row.key_id)

    assert (await made(keys)).row.name == "importer"


@pytest.mark.parametrize("name", ["", " ", "a b", "key:x", "ä", "x" * 101, "a\n", "-a"])
async def test_a_name_is_a_plain_word(keys: ApiKeys, name: str) -> None:
    with pytest.raises(InvalidCommand) as caught:
        await made(keys, name)
    assert caught.value.pointer == "/name"


@pytest.mark.parametrize(
    ("roles", "pointer"), [([], "/roles"), (["view", "root"], "/roles/1"), ([""], "/roles/0")]
)
async def test_what_cannot_be_granted_is_refused(
    keys: ApiKeys, roles: list[str], pointer: str
) -> None:
    with pytest.raises(InvalidCommand) as caught:
        await keys.create(ADMIN, "importer", roles, None)
    assert caught.value.pointer == pointer


async def test_nobody_gives_or_takes_over_what_they_do_not_hold(keys: ApiKeys) -> None:
    mighty = Caller("acme", "root", EVERY_PERMISSION)
    key = await keys.create(mighty, "mighty", ["operate"], None)

    with pytest.raises(PermissionLacking, match="ada lacks the permission operate"):
        await keys.create(ADMIN, "sly", ["view", "operator"], None)
    with pytest.raises(PermissionLacking, match="ada lacks the permission operate"):
        await keys.rotate(ADMIN, key.row.key_id, 0)
    assert (await keys.revoke(ADMIN, key.row.key_id)).revoked_at
