"""Reading and writing files in tests."""

from __future__ import annotations

import io
from collections.abc import Iterable

from domain.systems.annotations.formats.contract import Format, ReadOptions, WriteOptions
from domain.systems.annotations.formats.documents import Document, Rejected


def written(
    form: Format, documents: Iterable[Document], options: WriteOptions | None = None
) -> bytes:
    assert form.write is not None
    return b"".join(form.write(documents, options or WriteOptions()))


def everything(
    form: Format, data: bytes, options: ReadOptions | None = None
) -> list[Document | Rejected]:
    return list(form.read(io.BytesIO(data), options or ReadOptions()))


def good_and_bad(
    form: Format, data: bytes, options: ReadOptions | None = None
) -> tuple[list[Document], list[Rejected]]:
    found = everything(form, data, options)
    return (
        [one for one in found if not isinstance(one, Rejected)],
        [one for one in found if isinstance(one, Rejected)],
    )


def only(form: Format, data: bytes, options: ReadOptions | None = None) -> list[Document]:
    good, bad = good_and_bad(form, data, options)
    assert bad == []
    return good


def rejects_file(form: Format, data: bytes, options: ReadOptions | None = None) -> bytes:
    options = options or ReadOptions()
    _, bad = good_and_bad(form, data, options)
    return b"".join(form.rejects(bad, io.BytesIO(data), options))
