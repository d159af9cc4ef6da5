"""A slow operation whose file another process cannot take in; it finds out by itself."""

from __future__ import annotations

import multiprocessing

from domain.operation import Context, operation
from domain.outcomes import Done, Result
from tests.engine.stock import Number


class AwayError(Exception):
    """Cannot be read back where it did not happen, as its words do not make one."""

    def __init__(self, library: str, path: str) -> None:
        super().__init__(f"{library} is not in {path}")


if multiprocessing.parent_process() is not None:
    raise AwayError("libshy", "/opt")


@operation("calls.shy", item=Number, cpu_bound=True)
def shy(_ctx: Context, item: Number) -> Result:
    """Is never come to."""
    return Done(item.number)
