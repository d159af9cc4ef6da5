"""The audit key: what makes a head's signature ours. Whoever has it can sign."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from domain.errors import DataDirectoryUnusable
from streams.stores import key_files
from streams.stores.chain import Head, framed

KEY_BYTES = 32
FILE_NAME = "audit.key"


@dataclass(frozen=True)
class AuditKey:
    """32 random bytes."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise DataDirectoryUnusable(
                f"the audit key has {len(self.secret)} bytes instead of {KEY_BYTES}; restore it "
                "from a backup: without it no signature can be checked"
            )

    @classmethod
    def from_hex(cls, text: str) -> AuditKey:
        """From settings, as 64 hexadecimal digits."""
        try:
            return cls(bytes.fromhex(text))
        except ValueError:
            raise DataDirectoryUnusable("the audit key must be 64 hexadecimal digits") from None

    @classmethod
    def load(cls, path: Path) -> AuditKey:
        """From a file; raises DataDirectoryUnusable when it is missing or cut."""
        try:
            return cls(path.read_bytes())
        except OSError as error:
            raise DataDirectoryUnusable(
                f"the audit key cannot be read ({error}); restore it from a backup"
            ) from error

    @classmethod
    def load_or_create(cls, path: Path) -> AuditKey:
        """From a file, which is made (mode 0600) when there is none."""
        if not path.exists():
            key_files.create(path, secrets.token_bytes(KEY_BYTES))
        return cls.load(path)

    def sign(self, tag: str, head: Head) -> bytes:
        """HMAC-SHA256 over a head and what is said of it."""
        number, version = b"%d" % head.id, b"%d" % head.version
        message = framed(tag.encode(), head.job_id.encode(), version, number, head.hash)
        # Not in one call, which lets other threads run before it returns.
        signing = self._keyed.copy()
        signing.update(message)
        return signing.digest()

    @cached_property
    def _keyed(self) -> hmac.HMAC:
        return hmac.new(self.secret, digestmod="sha256")
