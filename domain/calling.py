"""Calling: the functions of an operation for one item, its validation first."""

from __future__ import annotations

import importlib
from typing import Any

from domain.errors import PluginInvalid
from domain.execution import failure_of
from domain.operation import Context, Operation
from domain.outcomes import Failed
from domain.returned import verdict_of


def refusal(declared: Operation, context: Context, item: Any) -> Failed | None:
    """What ``validate`` has against an item, checked (:func:`~domain.returned.verdict_of`)."""
    if declared.validate is None:
        return None
    return verdict_of(declared, declared.validate(context, item))


def validated(declared: Operation, context: Context, item: Any) -> Any:
    """What ``apply`` returns for an item, unless ``validate`` refuses it.

    What would end a thread or a process is a failure already here: thrown into whoever waits for
    it, it could be taken for the end of that.
    """
    try:
        return refusal(declared, context, item) or declared.apply(context, item)
    except Exception:
        raise
    except BaseException as escaped:
        return failure_of(escaped)


def apply_by_name(module: str, name: str, context: Context, item: Any) -> Any:
    """Call an operation's function in another process, to which only its name travels.

    Raises PluginInvalid when no operation stands under that name at the module's top level.
    """
    found = getattr(importlib.import_module(module), name, None)
    if not isinstance(found, Operation):
        raise PluginInvalid(
            f"{module}.{name} is no operation; declare a cpu_bound one at a module's top level"
        )
    return validated(found, context, item)
