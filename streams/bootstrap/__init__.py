"""Bootstrap: the one place where everything is made and put together.

:func:`embedded` is the whole engine in one process; its parts in processes of their own are
in :mod:`streams.bootstrap.scaled`, which is imported only where Kafka is spoken.
"""

from streams.bootstrap.embedded import embedded
from streams.bootstrap.parts import Engine
from streams.bootstrap.plugins import installed_operations, migrated, prepare

__all__ = ["Engine", "embedded", "installed_operations", "migrated", "prepare"]
