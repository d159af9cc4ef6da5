"""Sealing: what callers have sent is encrypted where it lies.

Each upload has a data key of its own (AES-256-GCM), which is stored wrapped by the key of the
installation. Whoever destroys a data key, and what copies there are of it, has destroyed what
it sealed. Digests, in events and beside the parts, are of the plain bytes, so that the audit
trail is the same with and without. Uploads without a key are read as they are.

Which key opens what a database holds goes with the connection, as its password does.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, bindparam, delete, func, select, update

from domain.errors import DataDirectoryUnusable, InvalidCommand, WrongState
from streams import secret_files
from streams.stores import job_files, key_files
from streams.stores.schema import payload_keys, payloads, uploads
from streams.stores.schema_items import item_keys, item_marks
from streams.stores.statements import fixed, insertion

FILE_NAME = "payload.key"
OPTION = "countermand_sealing"
"""The execution option of a connection that has the installation's key."""

PLAIN = "none"
AES_GCM = "aes-256-gcm"
SHREDDED = "shredded"
"""Of an upload whose key was destroyed, and with it what it held."""

KEY_BYTES = 32
NONCE_BYTES = 12

_INSERT_KEY = insertion(payload_keys, "upload_id", "algorithm", "key")
_KEY = fixed(
    select(payload_keys.c.algorithm, payload_keys.c.key).where(
        payload_keys.c.upload_id == bindparam("upload")
    )
)
_PART = fixed(
    select(payloads.c.data, payload_keys.c.algorithm, payload_keys.c.key)
    .outerjoin(payload_keys, payload_keys.c.upload_id == payloads.c.upload_id)
    .where(payloads.c.upload_id == bindparam("upload"), payloads.c.part == bindparam("number"))
)
_ANY_SEALED = fixed(
    select(payload_keys.c.upload_id, payload_keys.c.algorithm, payload_keys.c.key)
    .where(payload_keys.c.algorithm == AES_GCM)
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class InstallationKey:
    """32 random bytes that wrap the data keys."""

    secret: bytes = field(repr=False)

    @classmethod
    def load(cls, path: Path) -> InstallationKey:
        """From a file with 64 hexadecimal digits; raises DataDirectoryUnusable for any other."""
        try:
            secret = bytes.fromhex(secret_files.read(path))
        except ValueError as error:
            # What bytes.fromhex() says may repeat a part of the key.
            why = str(error) if "hexadecimal" not in str(error) else "they are no such digits"
            raise DataDirectoryUnusable(
                f"the payload key cannot be read ({why}); restore the file, 64 hexadecimal "
                "digits, from a backup: without it nobody can read what was sent"
            ) from None
        if len(secret) != KEY_BYTES:
            raise DataDirectoryUnusable(
                f"the payload key has {len(secret)} bytes instead of {KEY_BYTES}, as 64 "
                "hexadecimal digits; restore it from a backup, or make another one while nothing "
                "is sealed: openssl rand -hex 32"
            )
        return cls(secret)

    @classmethod
    def load_or_create(cls, path: Path) -> InstallationKey:
        """From a file, which is made (mode 0600) when there is none."""
        if not path.exists():
            key_files.create(path, secrets.token_hex(KEY_BYTES).encode() + b"\n")
        return cls.load(path)

    def new_key(self, upload_id: str) -> bytes:
        """A new data key for an upload, wrapped."""
        return _sealed(self.secret, secrets.token_bytes(KEY_BYTES), upload_id.encode())

    def data_key(self, upload_id: str, wrapped: bytes) -> bytes:
        """The data key of an upload; raises DataDirectoryUnusable when another key wrapped it."""
        try:
            return _opened(self.secret, wrapped, upload_id.encode())
        except InvalidTag:
            raise DataDirectoryUnusable(
                f"the payload key of this installation does not open upload {upload_id}; restore "
                f"the right {FILE_NAME} (or the file that COUNTERMAND_PAYLOAD_KEY_FILE names) "
                "from a backup"
            ) from None


def installed_key(named: Path | None, folder: Path) -> InstallationKey | None:
    """The key in the file that was named, else the one in the data directory, if it has one.

    Raises DataDirectoryUnusable where that may not be looked into.
    """
    path = named or folder / FILE_NAME
    try:
        there = named is not None or path.exists()
    except OSError as error:
        raise DataDirectoryUnusable(
            f"the data directory {folder} cannot be read ({error.strerror}); give it to the "
            "account of this process, or name another one with --data-dir"
        ) from error
    return InstallationKey.load(path) if there else None


def key_of(connection: Connection) -> InstallationKey | None:
    """The installation's key; None where nothing new is sealed."""
    found = connection.get_execution_options().get(OPTION)
    return found if isinstance(found, InstallationKey) else None


StoredKey = tuple[str, bytes]
"""How an upload is sealed, and its data key as it is stored."""


def open_key(connection: Connection, upload_id: str) -> StoredKey:
    """Give a new upload its data key, if this installation seals."""
    key = key_of(connection)
    stored = (PLAIN, b"") if key is None else (AES_GCM, key.new_key(upload_id))
    _INSERT_KEY.send(connection, upload_id=upload_id, algorithm=stored[0], key=stored[1])
    return stored


def sealed(
    connection: Connection,
    upload_id: str,
    parts: list[tuple[int, bytes]],
    stored: StoredKey | None = None,
) -> list[bytes]:
    """Parts of an upload, by number, as they are to be stored.

    Its key is read, unless it is given as ``stored``. Raises InvalidCommand when there is none:
    nothing is stored in the clear because a key is gone.
    """
    algorithm, wrapped = stored or _key(connection, upload_id)
    if algorithm == PLAIN:
        return [data for _, data in parts]
    key = _data_key(connection, upload_id, algorithm, wrapped)
    return [_sealed(key, data, _place(upload_id, number)) for number, data in parts]


def _key(connection: Connection, upload_id: str) -> StoredKey:
    found = _KEY.run(connection, upload=upload_id).first()
    if found is None:
        raise cleaned_away(upload_id)
    algorithm, wrapped = found
    return algorithm, wrapped


def cleaned_away(upload_id: str) -> InvalidCommand:
    """Who still sends an upload of which no row is left is told what to do instead."""
    return InvalidCommand(
        f"upload {upload_id} was cleaned away before all of it was there: what no job has is "
        "kept for a day; send it again within a day, or in parts of a draft",
        pointer="/items",
    )


def stored_part(connection: Connection, upload_id: str, number: int) -> bytes:
    """A part of an upload as it was before it was sealed."""
    data, algorithm, wrapped = _PART.run(connection, upload=upload_id, number=number).rows[0]
    return unsealed(connection, (upload_id, number), data, algorithm, wrapped)


def unsealed(
    connection: Connection, place: tuple[str, int], data: bytes, algorithm: str, wrapped: bytes
) -> bytes:
    """The bytes of a part that was stored at ``place``: its upload and number.

    Raises DataDirectoryUnusable when they cannot be opened, WrongState when they are shredded.
    """
    upload_id, number = place
    if algorithm == PLAIN:
        return bytes(data)
    key = _data_key(connection, upload_id, algorithm, wrapped)
    try:
        return _opened(key, bytes(data), _place(upload_id, number))
    except InvalidTag:
        raise DataDirectoryUnusable(
            f"part {number} of upload {upload_id} was changed after it was sealed; restore the "
            "database from a backup"
        ) from None


def sealed_secret(connection: Connection, place: str, plain: bytes) -> tuple[str, bytes]:
    """A secret of ours as it is to be stored at ``place``, and how that is."""
    key = key_of(connection)
    if key is None:
        return PLAIN, plain
    return AES_GCM, _sealed(key.secret, plain, place.encode())


def opened_secret(connection: Connection, place: str, algorithm: str, stored: bytes) -> bytes:
    """A secret that was stored at ``place``; raises DataDirectoryUnusable."""
    if algorithm == PLAIN:
        return stored
    key = key_of(connection)
    try:
        if key is not None and algorithm == AES_GCM:
            return _opened(key.secret, stored, place.encode())
    except InvalidTag:
        pass
    raise DataDirectoryUnusable(
        f"the secret of {place} cannot be opened by this process; restore the right {FILE_NAME} "
        "(or the file that COUNTERMAND_PAYLOAD_KEY_FILE names) from a backup, or rotate the secret"
    )


def shred(connection: Connection, job_id: str) -> None:
    """Destroy the data keys of a job, and what was sent to it, sealed or not.

    What its items are called goes as well: a digest of something short can be guessed. So does
    what they have said of themselves, and so do its files: both are made of what was sent.
    """
    mine = select(uploads.c.upload_id).where(uploads.c.job_id == job_id).scalar_subquery()
    connection.execute(
        update(payload_keys)
        .where(payload_keys.c.upload_id.in_(mine))
        .values(algorithm=SHREDDED, key=b"")
    )
    connection.execute(update(payloads).where(payloads.c.upload_id.in_(mine)).values(data=b""))
    connection.execute(delete(item_keys).where(item_keys.c.upload_id.in_(mine)))
    connection.execute(delete(item_marks).where(item_marks.c.job_id == job_id))
    job_files.remove_of(connection, job_id)


def is_sealed(connection: Connection, job_id: str) -> bool:
    """Whether nothing that was sent to a job lies in the clear."""
    mine = select(uploads.c.upload_id).where(uploads.c.job_id == job_id)
    open_ones = (
        select(uploads.c.upload_id)
        .outerjoin(payload_keys, payload_keys.c.upload_id == uploads.c.upload_id)
        .where(
            uploads.c.upload_id.in_(mine),
            func.coalesce(payload_keys.c.algorithm, PLAIN).not_in((AES_GCM, SHREDDED)),
        )
        .limit(1)
    )
    return connection.execute(open_ones).first() is None


def require_openable(connection: Connection) -> None:
    """Raise DataDirectoryUnusable if uploads are sealed and this process cannot open them."""
    found = _ANY_SEALED.run(connection).first()
    if found is not None:
        _data_key(connection, *found)


def _data_key(connection: Connection, upload_id: str, algorithm: str, wrapped: bytes) -> bytes:
    if algorithm == SHREDDED:
        raise WrongState("what was sent to the job was shredded; nobody can read it any more")
    if algorithm != AES_GCM:
        raise DataDirectoryUnusable(
            f"upload {upload_id} is sealed in a way that this release does not know "
            f"({algorithm!r}); upgrade countermand, or verify the trail: countermand audit verify"
        )
    key = key_of(connection)
    if key is None:
        raise DataDirectoryUnusable(
            "what was sent is sealed, and this process has no key to open it; name the file with "
            "it in COUNTERMAND_PAYLOAD_KEY_FILE"
        )
    return key.data_key(upload_id, bytes(wrapped))


def _place(upload_id: str, number: int) -> bytes:
    """What a part is bound to, so that none can stand in for another."""
    return f"{upload_id}/{number}".encode()


def _sealed(key: bytes, plain: bytes, place: bytes) -> bytes:
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, place)


def _opened(key: bytes, data: bytes, place: bytes) -> bytes:
    if len(data) < NONCE_BYTES:
        raise InvalidTag
    return AESGCM(key).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], place)
