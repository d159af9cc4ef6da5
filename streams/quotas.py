"""Quotas: what each tenant may have, all of them the same or some of them other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from domain.values import Value

Most = Annotated[int, Field(ge=0)] | None


class Quotas(Value):
    """What a tenant may have; None is no limit. A day is one of UTC."""

    items_a_day: Most = None
    open_jobs: Most = None
    stored_bytes: Most = None
    streams: Most = None
    """Live ones, in one process."""

    @property
    def of_items(self) -> bool:
        """Whether anything limits what is stored."""
        return self.items_a_day is not None or self.stored_bytes is not None


@dataclass(frozen=True, slots=True)
class QuotaTable:
    """The quotas of everybody, and of those who have others.

    What is not said of one of those is as it is for everybody.
    """

    everybody: Quotas = field(default_factory=Quotas)
    others: Mapping[str, Quotas] = field(default_factory=dict)

    def of(self, tenant: str) -> Quotas:
        """What a tenant may have."""
        own = self.others.get(tenant)
        if own is None:
            return self.everybody
        said = {name: getattr(own, name) for name in own.model_fields_set}
        return self.everybody.model_copy(update=said)


UNBOUNDED = QuotaTable()
