"""Signing: messages as the Standard Webhooks scheme has them (standardwebhooks.com, v1).

What is signed is the id, the time and the body together, so that no message can be sent
again later, or as another.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import Final

SECRET_BYTES: Final = 32
SECRET_MARK: Final = "whsec_"  # noqa: S105 - the beginning of every one
"""What a secret begins with, so that scanners for leaked secrets can know one."""


def shown(secret: bytes) -> str:
    """A secret as it is shown to its receiver, once."""
    return SECRET_MARK + base64.b64encode(secret).decode()


def headers(message_id: str, at: float, body: bytes, secrets: Iterable[bytes]) -> Mapping[str, str]:
    """The headers of a message, signed with each secret that counts at the time."""
    moment = str(int(at))
    content = b".".join((message_id.encode(), moment.encode(), body))
    return {
        "webhook-id": message_id,
        "webhook-timestamp": moment,
        "webhook-signature": " ".join(_signature(secret, content) for secret in secrets),
    }


def _signature(secret: bytes, content: bytes) -> str:
    digest = hmac.new(secret, content, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
