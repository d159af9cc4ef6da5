"""JWKS: the public keys of an issuer, read from its address or from a file, and kept for a while.

Keys that are fresh cost nothing. A key that is not known yet makes them be read again, at most
once in a while, so that nobody can have the issuer asked by sending tokens. While the issuer is
away its last keys go on for an hour; then tokens cannot be checked, and nobody is let in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp
import jwt
import orjson
import structlog
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from domain.errors import IdentityUnavailable
from domain.ports import Clock
from streams.identity.tokens import VerifyingKey

FRESH: Final = 300.0
USABLE: Final = 3600.0
PAUSE: Final = 10.0
"""Seconds between two times that the keys are asked for, at least."""
FETCH: Final = 5.0
MAX_BYTES: Final = 256_000
MAX_KEYS: Final = 100
MIN_RSA_BITS: Final = 2048

Load = Callable[[], Awaitable[bytes]]
"""Brings the document; raises OSError, or what aiohttp raises, when it cannot be had."""

_log = structlog.get_logger("countermand.identity")


class Jwks:
    """The keys of one issuer, by their ids."""

    def __init__(self, load: Load, clock: Clock) -> None:
        self._load = load
        self._clock = clock
        self._keys: Mapping[str, VerifyingKey] | None = None
        self._loaded = self._tried = float("-inf")
        self._loading = asyncio.Lock()

    async def candidates(self, kid: str | None) -> Sequence[VerifyingKey]:
        """The key of that id; none for an id that the issuer does not have."""
        keys = self._usable()
        lacking = keys is None or (kid is not None and kid not in keys)
        if lacking or self._age > FRESH:
            await self._refresh(waited_for=lacking)
            keys = self._usable()
        if keys is None:
            raise IdentityUnavailable(
                "the keys of the issuer of tokens cannot be had; try again, and see the log"
            )
        found = keys.get(kid) if kid is not None else None
        return [] if found is None else [found]

    @property
    def _age(self) -> float:
        return self._clock.monotonic() - self._loaded

    def _usable(self) -> Mapping[str, VerifyingKey] | None:
        return self._keys if self._age <= USABLE else None

    async def _refresh(self, *, waited_for: bool) -> None:
        """Read them again; who can do without does not wait for somebody else's attempt."""
        if self._loading.locked() and not waited_for:
            return
        async with self._loading:
            if self._clock.monotonic() - self._tried < PAUSE:
                return
            self._tried = self._clock.monotonic()
            try:
                async with asyncio.timeout(FETCH):
                    self._keys = keys_of(await self._load())
            except (OSError, TimeoutError, ValueError, aiohttp.ClientError) as error:
                _log.error("jwks_unavailable", reason=str(error) or type(error).__name__)
            else:
                self._loaded = self._clock.monotonic()


def keys_of(document: bytes) -> dict[str, VerifyingKey]:
    """The keys that a document has for us; raises ValueError when it is none."""
    found = orjson.loads(document)
    listed = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(listed, list) or len(listed) > MAX_KEYS:
        raise ValueError(f"it is no JWKS of at most {MAX_KEYS} keys")
    pairs = [(entry.get("kid"), _key_of(entry)) for entry in listed if isinstance(entry, dict)]
    return {kid: key for kid, key in pairs if isinstance(kid, str) and key is not None}


def _key_of(entry: dict[str, Any]) -> VerifyingKey | None:
    """A public key that signs; what is for something else, or too weak, is passed over."""
    if entry.get("use", "sig") != "sig" or "d" in entry or entry.get("kty") not in ("RSA", "EC"):
        return None
    said = entry.get("alg")
    try:
        material = jwt.PyJWK.from_dict(entry).key
    except (jwt.PyJWTError, ValueError, TypeError, NotImplementedError):
        return None
    match material:
        case RSAPublicKey(key_size=bits) if bits >= MIN_RSA_BITS and said in (None, "RS256"):
            return VerifyingKey(material, "RS256")
        case EllipticCurvePublicKey(curve=SECP256R1()) if said in (None, "ES256"):
            return VerifyingKey(material, "ES256")
    return None


def from_address(url: str) -> Load:
    """Over HTTPS, without redirects and no more than is plausible."""

    async def load() -> bytes:
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise ValueError(f"the issuer answers with status {response.status}")
            content = bytearray()
            async for block in response.content.iter_any():
                content += block
                if len(content) > MAX_BYTES:
                    raise ValueError(f"the issuer sends more than {MAX_BYTES} bytes")
            return bytes(content)

    return load


def from_file(path: Path) -> Load:
    """From a file that somebody else keeps up to date."""
    return lambda: asyncio.to_thread(_read, path)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"the file has more than {MAX_BYTES} bytes")
    return content
