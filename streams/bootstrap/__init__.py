"""Bootstrap: the one place where everything is made and put together.

:func:`embedded` is the whole engine in one process.
"""

from streams.bootstrap.embedded import embedded
from streams.bootstrap.parts import Engine
from streams.bootstrap.plugins import installed_operations, prepare

__all__ = ["Engine", "embedded", "installed_operations", "prepare"]
