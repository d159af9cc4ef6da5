"""Unsealing: an archive as it would be had it been written in the clear.

What was sent to a job stays sealed in its archive where it was sealed in the database, and the
keys stay there. So whoever has database, payload key and file can read it, and nobody once the
job is shredded, however many copies of the file there are.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any, BinaryIO

from sqlalchemy import Connection, select

from domain.errors import InvalidCommand
from streams.stores import sealing
from streams.stores.audit.lines import Written, document_of, lines_of, no_archive
from streams.stores.database import Database
from streams.stores.schema import payload_keys, payloads


def unseal_archive(database: Database, file: BinaryIO, out: BinaryIO) -> int:
    """Write an archive with all that is sealed in it opened; returns how many parts that were.

    Raises WrongState when the job was shredded, DataDirectoryUnusable when the database has
    not the keys, and InvalidCommand for a file that is no whole archive.
    """
    return database.read_now(lambda connection: _unsealed(connection, file, out))


def _unsealed(connection: Connection, file: BinaryIO, out: BinaryIO) -> int:
    """In one transaction; a read that is repeated begins the file anew."""
    file.seek(0)
    out.seek(0)
    out.truncate()
    written, digest, keys, opened = Written(out), hashlib.sha256(), _Keys(connection), 0
    for line in lines_of(file):
        document = document_of(line)
        if "end" in document:
            if document["end"] != {"lines": written.lines, "sha256": digest.hexdigest()}:
                raise no_archive("its lines are not those that its last one names")
            written.end()
            return opened
        digest.update(line)
        opened += keys.open(document)
        written.add(document)
    raise no_archive("its end is missing")


class _Keys:
    """The keys of the uploads that are sealed in an archive."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[str, tuple[str, bytes]] = {}

    def open(self, document: dict[str, Any]) -> bool:
        """Have a line say what is in the clear; whether it was a sealed part."""
        row = document.get("row", {})
        if document.get("table") == payload_keys.name and row["algorithm"] == sealing.AES_GCM:
            self._known[row["upload_id"]] = self._key(row["upload_id"])
            row["algorithm"] = sealing.PLAIN
        elif document.get("table") == payloads.name and row["upload_id"] in self._known:
            place = row["upload_id"], row["part"]
            sealed = base64.b64decode(row["data"])
            algorithm, wrapped = self._known[row["upload_id"]]
            data = sealing.unsealed(self._connection, place, sealed, algorithm, wrapped)
            row["data"] = base64.b64encode(data).decode("ascii")
            return True
        return False

    def _key(self, upload_id: str) -> tuple[str, bytes]:
        found = self._connection.execute(
            select(payload_keys.c.algorithm, payload_keys.c.key).where(
                payload_keys.c.upload_id == upload_id
            )
        ).one_or_none()
        if found is None:
            raise InvalidCommand(
                "this database has no key for what is sealed in the archive; name that of the "
                "installation that has written it"
            )
        if found.algorithm == sealing.PLAIN:
            raise no_archive("it says that something is sealed which never was")
        return found.algorithm, bytes(found.key)
