"""How much is tried: a sample with all tests, ten times as much in a proof.

The proof is the same tests under ``--hypothesis-profile=thorough`` (tests/proof/catalogue.py).
"""

from __future__ import annotations

from typing import Final

from hypothesis import settings

THOROUGH: Final = "thorough"
_TIMES: Final = 10


def sampled(amount: int) -> int:
    """That many examples or bytes; in the proof, ten times as many."""
    return amount * (_TIMES if settings.get_current_profile_name() == THOROUGH else 1)
