"""Callables: what is known of a function before it is called; it may be partial, or an object."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeGuard


def is_async(function: Any) -> TypeGuard[Callable[..., Awaitable[Any]]]:
    """Whether a call gives what is to be awaited."""
    return any(map(inspect.iscoroutinefunction, _run_by(function)))


def yields(function: Any) -> bool:
    """Whether a call gives values one by one, and no result."""
    return any(
        inspect.isgeneratorfunction(run) or inspect.isasyncgenfunction(run)
        for run in _run_by(function)
    )


def takes(function: Callable[..., object], count: int) -> bool:
    """Whether a function can be called with so many values, as far as it tells."""
    try:
        signature = inspect.signature(function)
    except ValueError:
        return True
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def _run_by(function: Any) -> tuple[Any, Any]:
    """What may be running when a function is called, which may be partial, or an object."""
    while isinstance(function, partial):
        function = function.func
    return function, type(function).__call__
