"""Calling: the functions of an operation for one item, its validation first."""

from __future__ import annotations

import contextvars
import importlib
import sys
from dataclasses import fields
from typing import Any

import orjson

from domain.errors import PluginInvalid
from domain.execution import THROWN, failure_of
from domain.operation import Context, Operation
from domain.outcomes import Done, Failed, Result, Skipped
from domain.returned import results_of, verdict_of


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


def apply_by_name(module: str, name: str, context: Context, item: Any) -> Result:
    """What becomes of an item in another process, to which only the function's name travels.

    Plain data comes back, whatever happens: what the caller cannot read, as an exception with a
    constructor of its own, would end the pool as if the process had died.
    """
    try:
        found = _named(module, name)
        # Empty, as the process works items of others after this one.
        returned = contextvars.Context().run(validated, found, context, item)
        return _plain(results_of(found, returned, 1)[0])
    except THROWN as error:
        return failure_of(error)


def require_name(declared: Operation) -> None:
    """Raise PluginInvalid where another process would not find a ``cpu_bound`` operation.

    Of a module that was made of text, and is nowhere to be found, its first call tells.
    """
    if not declared.cpu_bound or declared.apply.__module__ not in sys.modules:
        return
    module, name = declared.apply.__module__, declared.apply.__name__
    if _named(module, name).apply is not declared.apply:
        raise PluginInvalid(
            f"{declared.kind}: {module}.{name} is another operation by now, which another process "
            "would call; give its function a name of its own"
        )


def _named(module: str, name: str) -> Operation:
    found = getattr(importlib.import_module(module), name, None)
    if not isinstance(found, Operation):
        raise PluginInvalid(
            f"{module}.{name} is no operation; declare a cpu_bound one at a module's top level, "
            "under the name of its function"
        )
    return found


def _plain(result: Result) -> Result:
    """A result as a ledger has it, of nothing that only the plug-in knows."""
    kind = next(each for each in (Done, Failed, Skipped) if isinstance(result, each))
    said = {field.name: getattr(result, field.name) for field in fields(kind)}
    plain = orjson.dumps(said, option=orjson.OPT_NON_STR_KEYS, default=str)
    return kind(**orjson.loads(plain))
