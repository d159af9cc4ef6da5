"""Moments: seconds since the epoch, as they are stored and as issuers of tokens say them, shown."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from streams.identity.api_keys import LAST_END

_FIRST: Final = datetime(1, 1, 1, tzinfo=UTC).timestamp()


def shown(seconds: float | None) -> str | None:
    """In ISO 8601, None for never. Beyond what dates go to, the last one or the first one.

    What was let in once is listed for good: none of it may be a reason not to answer.
    """
    if seconds is None:
        return None
    # In this order what is no number is the first one as well.
    return datetime.fromtimestamp(min(LAST_END, max(_FIRST, seconds)), UTC).isoformat()
