"""Open file: a file that is being read, in a thread of its own, and how far that has come."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, TypeVar

from domain.systems.annotations.formats.archives import is_archive
from domain.systems.annotations.formats.spill import Spill
from streams.systems.annotations.file_reading import SPILLED, FileReader, Wanted

T = TypeVar("T")


@dataclass(slots=True)
class OpenFile:
    """A file that is recognised, and the thread in which all reading of it happens."""

    reader: FileReader
    pool: ThreadPoolExecutor
    size: int
    packed: bool
    _furthest: int = 0

    @property
    def kind(self) -> str:
        """The operation that its documents are items of."""
        return self.reader.intake.operation.kind

    async def run(self, work: Callable[[], T]) -> T:
        """Done in the thread, after what it was given before."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, work)

    def position(self) -> int:
        """How many bytes are read; of an archive, whose table stands last, where it is read now."""
        now = min(os.lseek(self.reader.file.fileno(), 0, os.SEEK_CUR), self.size)
        if self.packed or not (self.reader.accepted or self.reader.rejected):
            # Before the first piece it may be gone through once, to find out what it is.
            return now
        self._furthest = max(self._furthest, now)
        return self._furthest


@asynccontextmanager
async def opened(file: BinaryIO, wanted: Wanted) -> AsyncGenerator[OpenFile, None]:
    """A file that was recognised; raises FileRefused."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="import")
    spill = Spill(SPILLED)
    try:
        run = partial(asyncio.get_running_loop().run_in_executor, pool)
        packed = await run(is_archive, file)
        reader = await run(FileReader, file, wanted, spill.database)
        yield OpenFile(reader, pool, os.fstat(file.fileno()).st_size, packed)
    finally:
        # After what the thread is at: a reading that is cancelled goes on to the end of its block.
        pool.submit(spill.database.close)
        pool.shutdown(wait=False)
