"""JWKS: keys rotate, the issuer may be away for a while, and then nobody is let in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from domain.errors import IdentityUnavailable
from streams.identity import jwks as module
from streams.identity.jwks import FRESH, PAUSE, USABLE, Jwks, from_address, from_file, keys_of
from tests.unit.streams.identity.signing import ec_key, jwk, jwks, rsa_key


class Watch:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds


class Issuer:
    """Publishes keys, or is away."""

    def __init__(self, *kids: str) -> None:
        self.publish(*kids)
        self.asked = 0
        self.away: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    def publish(self, *kids: str) -> None:
        self.document = jwks(*(jwk(rsa_key(kid), kid) for kid in kids))

    async def load(self) -> bytes:
        self.asked += 1
        await self.gate.wait()
        if self.away is not None:
            raise self.away
        return self.document


@pytest.fixture
def watch() -> Watch:
    return Watch()


async def known(keys: Jwks, kid: str | None) -> bool:
    return bool(await keys.candidates(kid))


async def test_keys_are_read_once_and_kept(watch: Watch) -> None:
    issuer = Issuer("one")
    keys = Jwks(issuer.load, watch)

    assert [await known(keys, "one") for _ in range(3)] == [True] * 3
    assert not await known(keys, None)
    assert issuer.asked == 1


async def test_a_new_key_is_found_and_one_that_is_withdrawn_is_refused(watch: Watch) -> None:
    issuer = Issuer("one")
    keys = Jwks(issuer.load, watch)
    await known(keys, "one")
    issuer.publish("two")
    watch.seconds += PAUSE

    assert await known(keys, "two")
    assert not await known(keys, "one")


async def test_unknown_keys_do_not_have_the_issuer_asked_again_and_again(watch: Watch) -> None:
    issuer = Issuer("one")
    keys = Jwks(issuer.load, watch)
    for number in range(50):
        assert not await known(keys, f"guess-{number}")
    assert issuer.asked == 1
    watch.seconds += PAUSE
    assert not await known(keys, "guess")
    assert issuer.asked == 2


async def test_the_last_keys_go_on_for_a_while_and_then_nobody_is_let_in(watch: Watch) -> None:
    issuer = Issuer("one")
    keys = Jwks(issuer.load, watch)
    await known(keys, "one")
    issuer.away = OSError("no route")
    watch.seconds += FRESH + 1
    assert await known(keys, "one")
    watch.seconds += USABLE
    with pytest.raises(IdentityUnavailable):
        await keys.candidates("one")
    issuer.away = None
    watch.seconds += PAUSE
    assert await known(keys, "one")


@pytest.mark.parametrize("document", [b"", b"{", b"[]", b"{}", b'{"keys": 7}'])
async def test_without_any_keys_nobody_is_let_in(watch: Watch, document: bytes) -> None:
    issuer = Issuer()
    issuer.document = document
    with pytest.raises(IdentityUnavailable):
        await Jwks(issuer.load, watch).candidates("one")


async def test_who_has_keys_does_not_wait_for_somebody_elses_question(watch: Watch) -> None:
    issuer = Issuer("one")
    keys = Jwks(issuer.load, watch)
    await known(keys, "one")
    watch.seconds += FRESH + 1
    issuer.gate.clear()
    asking = asyncio.ensure_future(known(keys, "one"))
    await asyncio.sleep(0)
    assert await known(keys, "one")
    issuer.gate.set()
    assert await asking
    assert issuer.asked == 2


async def test_all_who_need_a_new_key_wait_for_the_same_answer(watch: Watch) -> None:
    issuer = Issuer("one")
    keys = Jwks(issuer.load, watch)
    await known(keys, "one")
    issuer.publish("one", "two")
    watch.seconds += PAUSE
    assert await asyncio.gather(*(known(keys, "two") for _ in range(5))) == [True] * 5
    assert issuer.asked == 2


async def test_an_issuer_that_does_not_answer_is_not_waited_for_long(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FETCH", 0.01)
    issuer = Issuer("one")
    issuer.gate.clear()
    with pytest.raises(IdentityUnavailable):
        await Jwks(issuer.load, watch).candidates("one")


PRIVATE = {"d": "AQAB"}
PASSED_OVER = {
    "for encryption": jwk(rsa_key("k"), "k", use="enc"),
    "a secret": {"kty": "oct", "kid": "k", "k": "c2VjcmV0" * 8},
    "a secret that says it is for RS256": {"kty": "oct", "kid": "k", "k": "cw", "alg": "RS256"},
    "a private key": jwk(rsa_key("k"), "k") | PRIVATE,
    "too short": jwk(rsa_key("short", 1024), "k"),
    "for another algorithm": jwk(rsa_key("k"), "k", alg="PS256"),
    "for a secret's algorithm": jwk(rsa_key("k"), "k", alg="HS256"),
    "for none": jwk(rsa_key("k"), "k", alg="none"),
    "of another curve": jwk(ec_key("k", "P-384"), "k"),
    "of an algorithm that does not fit": jwk(ec_key("k"), "k", alg="RS256"),
    "without an id": {**jwk(rsa_key("k"), "k"), "kid": None},
    "damaged": {**jwk(rsa_key("k"), "k"), "n": "?"},
    "no object": "k",
}


@pytest.mark.parametrize("entry", PASSED_OVER.values(), ids=PASSED_OVER.keys())
def test_what_is_no_key_of_ours_is_passed_over(entry: Any) -> None:
    assert list(keys_of(jwks(entry, jwk(ec_key("good"), "good")))) == ["good"]


def test_too_many_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 100"):
        keys_of(jwks(*({} for _ in range(101))))


async def test_a_file_is_read(tmp_path: Path, watch: Watch) -> None:
    file = tmp_path / "jwks.json"
    with pytest.raises(IdentityUnavailable):
        await Jwks(from_file(file), watch).candidates("one")
    file.write_bytes(jwks(jwk(rsa_key("one"), "one")))
    assert await known(Jwks(from_file(file), watch), "one")
    file.write_bytes(b" " * 300_000)
    with pytest.raises(IdentityUnavailable):
        await Jwks(from_file(file), watch).candidates("one")


@asynccontextmanager
async def answering(answer: web.Response) -> AsyncIterator[str]:
    async def handle(_request: web.BaseRequest) -> web.Response:
        return answer

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/jwks"
    finally:
        await runner.cleanup()


async def test_an_address_is_read(watch: Watch) -> None:
    body = jwks(jwk(rsa_key("one"), "one"))
    async with answering(web.Response(body=body)) as url:
        assert await known(Jwks(from_address(url), watch), "one")


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}),
        lambda: web.Response(status=500),
        lambda: web.Response(body=b" " * 300_000),
    ],
    ids=["sent elsewhere", "broken", "too much"],
)
async def test_an_address_of_no_use_lets_nobody_in(watch: Watch, answer: Any) -> None:
    async with answering(answer()) as url:
        with pytest.raises(IdentityUnavailable):
            await Jwks(from_address(url), watch).candidates("one")
    with pytest.raises(IdentityUnavailable):
        await Jwks(from_address("http://127.0.0.1:1/"), watch).candidates("one")
