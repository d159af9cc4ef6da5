"""Files of items, as programs write them."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path

import pytest

from countermand_client.bodies import BLOCK, Items, Replay

MARK = b"\xef\xbb\xbf"
LINES = b'{"n": 1}\n{"n": "\xef\xbb\xbf"}\n'


async def _sent(items: Items) -> bytes:
    body = Replay(items)
    try:
        return b"".join([block async for block in body.send()])
    finally:
        await body.close()


@pytest.mark.parametrize("text", [LINES, LINES * BLOCK, b""], ids=["few", "many", "none"])
async def test_a_byte_order_mark_before_them_is_of_no_item(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "items.ndjson").write_bytes(MARK + text)
    assert await _sent(tmp_path / "items.ndjson") == text
    assert await _sent(io.BytesIO(MARK + text)) == text


async def test_a_pipe_that_begins_with_the_mark_alone_has_not_ended() -> None:
    def write() -> None:
        with os.fdopen(begin, "wb", buffering=0) as pipe:
            pipe.write(MARK)
            read.wait(10)
            pipe.write(LINES)

    class Raw(io.FileIO):
        """Tells when it has been read."""

        def read(self, size: int | None = -1, /) -> bytes:
            block = super().read(-1 if size is None else size)
            read.set()
            return block

    end, begin = os.pipe()
    read = threading.Event()
    writing = threading.Thread(target=write)
    writing.start()
    with Raw(end) as pipe:
        assert await _sent(pipe) == LINES  # type: ignore[arg-type]
    writing.join()
