"""Seeds: what chance in the crash proofs starts from; COUNTERMAND_TEST_SEED sets another."""

from __future__ import annotations

import os

SEED = int(os.environ.get("COUNTERMAND_TEST_SEED", "20260105"))


def several(count: int) -> list[int]:
    """So many different ones, from ``SEED`` on."""
    return [SEED + index for index in range(count)]
