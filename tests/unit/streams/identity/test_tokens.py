"""Tokens: good ones say who calls; every way to forge one is refused."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import jwt
import orjson
import pytest

from domain.errors import CredentialRefused
from domain.permissions import HELD, CallerRole, Permission
from streams.callers import Caller
from streams.identity.jwks import keys_of
from streams.identity.tokens import LEEWAY, Secrets, Tokens, Trust, VerifyingKey, issued
from tests.unit.streams.identity.signing import (
    AUDIENCE,
    ISSUER,
    OTHER_SECRET,
    SECRET,
    by_hand,
    claims,
    ec_key,
    jwk,
    jwks,
    part,
    public_pem,
    rsa_key,
    signed,
    token,
    with_header,
)

NOW = int(time.time())
"""Of the collection, which may be long before the test."""


class Published:
    """The keys of an identity provider."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self._keys = keys_of(jwks(*keys))

    async def candidates(self, kid: str | None) -> Sequence[VerifyingKey]:
        return [self._keys[kid]] if kid in self._keys else []


PROVIDER = Trust(
    issuer=ISSUER,
    keys=Published(jwk(rsa_key("a"), "rsa-a"), jwk(ec_key("a"), "ec-a", alg="ES256")),
    tenant_claim="org",
    roles_claim="realm_access.roles",
)
TOKENS = Tokens(
    AUDIENCE, [Trust(issuer="countermand", keys=Secrets([SECRET, OTHER_SECRET])), PROVIDER]
)


def provided(key: Any, algorithm: str, kid: str | None, **other: Any) -> str:
    """A token of the provider."""
    said = {"iss": ISSUER, "org": "acme", "tenant": None, "roles": None, **other}
    said.setdefault("realm_access", {"roles": ["viewer", "offline_access"]})
    return token(key, algorithm, None if kid is None else {"kid": kid}, **said)


async def test_a_token_says_who_calls_and_what_is_allowed() -> None:
    end = int(time.time()) + 60
    identity = await TOKENS.identify(token(exp=end))

    assert identity.caller == Caller("acme", "ada", HELD[CallerRole.EDITOR])
    assert identity.expires_at == end + LEEWAY
    assert identity.key_id == ""


async def test_what_we_issue_we_take() -> None:
    caller = Caller("acme", "ada", frozenset({Permission.VIEW}))
    text = issued(
        caller, ["view"], secret=SECRET, issuer="countermand", audience=AUDIENCE, exp=NOW + 86_400
    )

    assert (await TOKENS.identify(text)).caller == caller
    assert jwt.get_unverified_header(text)["typ"] == "at+jwt"


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [(rsa_key("a"), "RS256", "rsa-a"), (ec_key("a"), "ES256", "ec-a")],
)
async def test_a_provider_signs_by_its_own_keys(key: Any, algorithm: str, kid: str) -> None:
    identity = await TOKENS.identify(provided(key, algorithm, kid))

    assert identity.caller == Caller("acme", "ada", HELD[CallerRole.VIEWER])


async def test_a_secret_that_is_replaced_still_counts() -> None:
    assert (await TOKENS.identify(token(OTHER_SECRET))).caller.actor == "ada"


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        ("viewer approver", HELD[CallerRole.VIEWER] | {Permission.APPROVE}),
        (["view", "run_destructive"], {Permission.VIEW, Permission.RUN_DESTRUCTIVE}),
        (["somebody-elses-role"], set()),
        ([7, None, ["admin"], {"admin": 1}], set()),
        ({"admin": True}, set()),
        (None, set()),
    ],
)
async def test_roles_are_read_and_never_guessed(roles: Any, expected: set[Permission]) -> None:
    assert (await TOKENS.identify(token(roles=roles))).caller.permissions == expected


GOOD = claims()
STRIPPED = token().rsplit(".", 1)[0]
ELSEWHERE = {"jku": "https://evil.example/jwks", "x5u": "https://evil.example/x"}
OWN_KEY = jwk(rsa_key("evil"), "rsa-a")

FORGED = {
    **{f"alg {alg}": by_hand({"alg": alg}, GOOD) for alg in ("none", "None", "nOnE", "NONE", "")},
    **{f"alg {alg!r}": by_hand({"alg": alg}, GOOD) for alg in (None, 7, ["HS256"], {"a": 1})},
    "no alg": by_hand({"typ": "JWT"}, GOOD),
    "signature stripped": f"{STRIPPED}.",
    "two parts": STRIPPED,
    "four parts": f"{token()}.x",
    "another secret": token("x" * 32),
    "a changed claim": f"{part({'alg': 'HS256'})}.{part({**GOOD, 'sub': 'eve'})}."
    + token().rsplit(".", 1)[1],
    "the public key as secret": with_header(
        {"alg": "HS256", "kid": "rsa-a"}, claims(iss=ISSUER), public_pem(rsa_key("a"))
    ),
    "no alg, well signed": with_header({"typ": "JWT"}, GOOD),
    "our secret for the provider": provided(SECRET, "HS256", "rsa-a"),
    "our issuer by the provider's key": token(rsa_key("a"), "RS256", {"kid": "rsa-a"}),
    "another algorithm of the family": token(SECRET.ljust(64, "s"), "HS512"),
    "PS256 with a key for RS256": provided(rsa_key("a"), "PS256", "rsa-a"),
    "the kid of another key": provided(rsa_key("a"), "RS256", "ec-a"),
    "a key that is not published": provided(rsa_key("evil"), "RS256", "rsa-a"),
    "no kid": provided(rsa_key("a"), "RS256", None),
    **{
        f"kid {kid!r}": provided(rsa_key("evil"), "RS256", kid)
        for kid in ("../../dev/null", "' OR 1=1 --", "https://evil.example/k", "", "x" * 999)
    },
    "a key in the header": token(
        rsa_key("evil"), "RS256", {"kid": "rsa-a", "jwk": OWN_KEY, **ELSEWHERE}, iss=ISSUER
    ),
    "too long": token(pad="x" * 9000),
    "nothing": "",
    "dots": "..",
    "no base64": "ä.ö.ü",
    "no JSON": f"{part(b'{')}.{part(b'{')}.{part(b'x')}",
    "a list": by_hand([], []),
    "a deep header": f"{part(b'[' * 2000)}.{part(GOOD)}.{part(b'x')}",
    "deep claims": f"{part({'alg': 'HS256'})}.{part(b'[' * 2000)}.{part(b'x')}",
}

REFUSED = {
    "crit": (signed(GOOD, crit=["x"], x=1), "cannot be read"),
    "crit of nothing": (signed(GOOD, crit=[]), "cannot be read"),
    "b64": (with_header({"alg": "HS256", "b64": False}, GOOD), "cannot be read"),
    "another type": (token(headers={"typ": "logout+jwt"}), "its header asks"),
    "expired": (token(exp=NOW - 120), "expired"),
    "not yet": (token(nbf=NOW + 86_400), "not valid yet"),
    "made in the future": (token(iat=NOW + 86_400), "not valid yet"),
    **{name: (token(**{name: None}), f"lacks the claim {name}") for name in ("exp", "aud", "sub")},
    "no issuer": (token(iss=None), "its issuer"),
    "no tenant": (token(tenant=None), "no tenant"),
    "exp is text": (signed({**GOOD, "exp": "soon"}), "cannot be read"),
    "exp is endless": (
        signed(orjson.dumps(GOOD | {"exp": 1}).replace(b'"exp":1', b'"exp":1e999')),
        "cannot be read",
    ),
    "another issuer": (token(iss="https://evil.example"), "its issuer"),
    "issuers in a list": (signed({**GOOD, "iss": ["countermand"]}), "its issuer"),
    "another audience": (token(aud="somebody-else"), "another server"),
    "a part of the audience": (token(aud="counter"), "another server"),
    "an ID token": (token(nonce="n-1"), "ID token"),
    "an ID token of a code": (token(at_hash="x"), "ID token"),
    "a subject that is ours": (token(sub="engine"), "no subject"),
    "a subject like that of a key": (token(sub="key:importer"), "no subject"),
    "a subject with a line break": (token(sub="ada\nroot"), "no subject"),
    "a subject too long": (token(sub="x" * 201), "no subject"),
    "a subject that is a number": (signed({**GOOD, "sub": 7}), "cannot be read"),
    "a tenant with a slash": (token(tenant="a/b"), "no tenant"),
    "a tenant that is ours": (token(tenant="engine"), "no tenant"),
    "tenants in a list": (token(tenant=["acme"]), "no tenant"),
    "a tenant too long": (token(tenant="x" * 101), "no tenant"),
    "claims in a list": (signed([GOOD]), "cannot be read"),
}


@pytest.mark.parametrize("text", FORGED.values(), ids=FORGED.keys())
async def test_what_proves_nothing_is_refused(text: str) -> None:
    with pytest.raises(CredentialRefused) as caught:
        await TOKENS.identify(text)

    assert caught.value.message.startswith("the token is not accepted: ")
    assert SECRET not in caught.value.message


@pytest.mark.parametrize(("text", "reason"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_is_signed_and_says_what_it_may_not_is_refused(text: str, reason: str) -> None:
    with pytest.raises(CredentialRefused, match=reason):
        await TOKENS.identify(text)


async def test_watches_may_differ_a_little() -> None:
    assert (await TOKENS.identify(token(exp=int(time.time()) - 5))).caller.actor == "ada"
    assert LEEWAY <= 60


async def test_a_header_that_brings_a_key_along_changes_nothing() -> None:
    """What is signed by the right key is taken, whatever else the header says."""
    text = token(
        rsa_key("a"), "RS256", {"kid": "rsa-a", **ELSEWHERE}, iss=ISSUER, org="acme", tenant=None
    )

    assert (await TOKENS.identify(text)).caller.actor == "ada"
