"""Negotiation: which of the media types on offer the client would rather have."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from api.problems import refused
from api.varying import vary


def preferred(request: web.Request, offers: Sequence[str]) -> str:
    """The offer that ``Accept`` rates highest, the earlier one of equals; 406 when none will do."""
    vary(request, "Accept")
    accept = ",".join(request.headers.getall("Accept", [])) or "*/*"
    ranges = [_range(part) for part in accept.split(",") if part.strip()]
    rated = [(_quality(offer, ranges), -place) for place, offer in enumerate(offers)]
    quality, place = max(rated)
    if quality <= 0:
        raise refused(406, "not_acceptable", f"possible here: {', '.join(offers)}")
    return offers[-place]


def _range(part: str) -> tuple[str, float]:
    """A media range and its quality; one that cannot be read counts as not wanted."""
    name, *parameters = (field.strip().lower() for field in part.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                return name, min(max(float(value), 0.0), 1.0)
            except ValueError:
                return name, 0.0
    return name, 1.0


def _quality(offer: str, ranges: Sequence[tuple[str, float]]) -> float:
    """What the most specific range that covers the offer says."""
    family = offer.partition("/")[0] + "/*"
    for name in (offer, family, "*/*"):
        found = [quality for wanted, quality in ranges if wanted == name]
        if found:
            return max(found)
    return 0.0
