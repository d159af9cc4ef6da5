"""Keys and tokens, good ones and forged ones."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from functools import cache
from typing import Any

import jwt
import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

SECRET = "s" * 32
OTHER_SECRET = "o" * 32
ISSUER = "https://id.example"
AUDIENCE = "countermand"


@cache
def rsa_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """One for each name."""
    assert name
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def ec_key(name: str, curve: str = "P-256") -> ec.EllipticCurvePrivateKey:
    """One for each name."""
    assert name
    return ec.generate_private_key(ec.SECP256R1() if curve == "P-256" else ec.SECP384R1())


def public_pem(key: rsa.RSAPrivateKey) -> str:
    """What an attacker can have as well."""
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, kind).decode()


def jwk(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    """The public key as an issuer publishes it."""
    kind = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else None
    algorithm = kind or jwt.algorithms.ECAlgorithm
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig", **more}


def jwks(*keys: dict[str, Any]) -> bytes:
    """A document of keys."""
    return orjson.dumps({"keys": keys})


def claims(**other: Any) -> dict[str, Any]:
    """What a good token says; None takes a claim away."""
    now = int(time.time())
    said = {"iss": "countermand", "aud": AUDIENCE, "sub": "ada", "tenant": "acme"}
    said |= {"roles": ["editor"], "iat": now, "exp": now + 86_400, **other}
    return {name: value for name, value in said.items() if value is not None}


def token(
    key: Any = SECRET, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **other: Any
) -> str:
    """A signed token."""
    return jwt.encode(claims(**other), key, algorithm=algorithm, headers=headers)


def part(value: Any) -> str:
    """A part of a token, in its alphabet."""
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def by_hand(header: Any, payload: Any, signature: bytes = b"") -> str:
    """A token that no library would make."""
    return f"{part(header)}.{part(payload)}.{part(signature)}"


def signed(payload: Any, key: Any = SECRET, algorithm: str = "HS256", **headers: Any) -> str:
    """A token with a good signature over whatever one likes."""
    text = payload if isinstance(payload, bytes) else orjson.dumps(payload)
    return jwt.PyJWS().encode(text, key, algorithm=algorithm, headers=headers or None)


def with_header(header: Any, payload: Any, secret: str = SECRET) -> str:
    """A token with a good HS256 signature, whatever its header says."""
    said = f"{part(header)}.{part(payload)}"
    return f"{said}.{part(hmac.digest(secret.encode(), said.encode(), hashlib.sha256))}"
