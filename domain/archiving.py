"""Archiving: where that is which an archived job has given up. Pure."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from domain.values import Value

CLEAR = ".ndjson"
SEALED = ".sealed.ndjson"
"""How a file is called, in which what was sent is as it was in the database, which has the keys."""


class ArchiveFile(Value):
    """A file with all that was stored of a job: its name, its digest, its bytes."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0)]

    @property
    def sealed(self) -> bool:
        """Whether nobody can read what was sent, once the keys are destroyed."""
        return self.name.endswith(SEALED)
