"""Setting tables: settings that are one JSON object, in which each name has its own entry."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from domain.buckets import BucketName
from domain.options import Caps
from streams.quotas import Quotas

_LIMITS: TypeAdapter[dict[BucketName, Caps]] = TypeAdapter(dict[BucketName, Caps])
_Tenant = Annotated[str, Field(pattern=r"^[^/\s\x00-\x1f\x7f]{1,100}$")]
_QUOTAS: TypeAdapter[dict[str, Quotas]] = TypeAdapter(dict[_Tenant, Quotas])


def checked_limits(text: str) -> str:
    """Limits of providers and queues; raises ValueError that names the place."""
    return _checked(_LIMITS, text, '{"provider:openai": {"rate": 10}}')


def checked_quotas(text: str) -> str:
    """Quotas of single tenants; raises ValueError that names the place."""
    return _checked(_QUOTAS, text, '{"acme": {"open_jobs": 50, "items_a_day": null}}')


def limits_in(text: str) -> dict[str, Caps]:
    """By the names of providers and queues."""
    return _LIMITS.validate_json(text) if text else {}


def quotas_in(text: str) -> dict[str, Quotas]:
    """By tenant."""
    return _QUOTAS.validate_json(text) if text else {}


def _checked(kind: TypeAdapter[Any], text: str, example: str) -> str:
    try:
        kind.validate_json(text or "{}")
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = "/".join(map(str, first["loc"]))
        raise ValueError(f"{place or 'it'}: {first['msg']}; write {example}") from None
    return text
